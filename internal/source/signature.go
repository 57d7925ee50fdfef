package source

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// signature verifies what is computed over a request: digests made with a shared secret, and signatures
// that a public key checks.
type signature struct {
	scheme    scheme
	place     place
	numbered  []place // of formatNumbered
	each      *paths  // of the list whose items are signed one by one
	prefix    string
	format    format
	separator string
	item      string
	encodings []encoding
	parts     []signedPart
	paths     *paths
	slots     int

	timestamp       place
	timestampFormat string
	id              place
	choose          place
	bodyDigest      place
	tolerance       time.Duration

	keys        []key
	certificate *certificateRule // where there are no keys
	extendable  bool
	prepared    bool      // some parts are looked up or computed
	work        sync.Pool // *work
}

// work is what one verification needs and the next one can use again.
type work struct {
	states  []hash.Hash // one for each key; one for all public ones
	keys    []key       // the source's, or the one of the certificate that the request names
	named   [1]key
	sum     [sha512.Size]byte
	given   [maxCandidates][]byte
	room    []byte // of given
	n       int
	text    []byte
	slots   []found
	message message
	chosen  string
}

func (v *signature) init() {
	v.extendable = extendable(v.scheme, v.parts)
	for i := range v.parts {
		v.prepared = v.prepared || !v.parts[i].direct()
	}
	if v.format == formatNumbered {
		for n := range maxCandidates {
			v.numbered = append(v.numbered, headerPlace(v.place.name+"-"+strconv.Itoa(n+1)))
		}
	}
	v.work.New = func() any {
		w := &work{room: make([]byte, maxCandidates*v.scheme.longest()), slots: make([]found, v.slots)}
		if v.scheme.public() {
			w.states = []hash.Hash{v.scheme.state(nil)}
			return w
		}
		for i := range v.keys {
			w.states = append(w.states, v.scheme.state(v.keys[i].secret))
		}
		return w
	}
}

// verify checks the request, or each item of its list. Where only a part of the query or of the form is
// signed, the rest is taken off the request: nobody after it may read what nobody signed.
func (v *signature) verify(req *Request) *Rejected {
	if v.each == nil {
		return v.verifyOne(req)
	}
	items, err := elements(req.Body, v.each)
	if err != nil {
		return err
	}
	for _, item := range items {
		one := *req
		one.Body = item
		if err := v.verifyOne(&one); err != nil {
			return err
		}
	}
	return nil
}

func (v *signature) verifyOne(req *Request) *Rejected {
	w := v.work.Get().(*work)
	defer v.release(w)
	return v.verifyWith(w, req)
}

// release forgets the request.
func (v *signature) release(w *work) {
	w.message.clear()
	w.chosen, w.keys, w.named[0] = "", nil, key{}
	v.work.Put(w)
}

func (v *signature) verifyWith(w *work, req *Request) *Rejected {
	if err := v.given(w, req); err != nil {
		return err
	}
	if err := v.fields(w, req); err != nil {
		return err
	}
	if v.certificate != nil && req.certificate == nil {
		return errNoCertificate
	}
	if v.prepared {
		if err := v.prepare(w, req, false); err != nil {
			return err
		}
	}
	match := v.matches(w, req)
	if match < 0 || v.bodyDigest.kind != placeNone && !v.digestMatches(req) {
		return errBadSignature
	}
	// The age is looked at only now: whoever can't sign is told nothing about clocks.
	if v.tolerance > 0 {
		at, ok := parseTimestamp(v.timestampFormat, w.message.timestamp)
		if !ok {
			return errTimestampForm
		}
		if age := req.Now.Sub(at); age > v.tolerance || age < -v.tolerance {
			return errExpired
		}
	}
	if v.extendable && w.message.holdsNUL(req) {
		return errNUL
	}
	if signs(v.parts, signedPreceding) {
		v.place.setRaw(req, v.kept(w, v.place.raw(req)[w.message.alternatives[match].cut:]))
	}
	if v.place.kind == placeParam && !v.place.inQuery(req) {
		req.Query = "" // a rule that misses a field in the form would look for it there
	}
	return nil
}

// kept is the signed text with its signature behind it, in the one way of writing it: a key that holds it
// would else tell a message from itself.
func (v *signature) kept(w *work, text []byte) []byte {
	end := bytes.LastIndexByte(text, '&') + 1
	name, value := url.QueryEscape(v.place.name), url.QueryEscape(v.encodings[0].encode(w.given[0]))
	return append(text[:end:end], name+"="+value...)
}

// ofForm tells whether what is signed are the fields of a form.
func (v *signature) ofForm() bool {
	if v.place.kind == placeForm || v.place.kind == placeParam {
		return true
	}
	return !signs(v.parts, signedBody) && (signs(v.parts, signedForm) || signs(v.parts, signedSortedValues))
}

// holdsNUL looks for what the padding of a length extension always holds, and no provider's text does.
func (m *message) holdsNUL(req *Request) bool {
	if bytes.IndexByte(req.Body, 0) >= 0 || strings.IndexByte(m.timestamp, 0) >= 0 || strings.IndexByte(m.id, 0) >= 0 {
		return true
	}
	for _, text := range m.texts {
		if strings.IndexByte(text, 0) >= 0 {
			return true
		}
	}
	return false
}

// fields reads what stands beside the signature: the timestamp, the id, the name of the secret, its certificate.
func (v *signature) fields(w *work, req *Request) *Rejected {
	w.keys = v.keys
	if v.certificate != nil {
		w.named[0].public = req.certificate
		w.keys = w.named[:]
	}
	var times int
	if v.timestamp.kind != placeNone && v.timestamp.kind != placeItem {
		if w.message.timestamp, times = v.timestamp.read(req); times != 1 {
			return errNoTimestamp
		}
	}
	if v.id.kind != placeNone {
		if w.message.id, times = v.id.read(req); times != 1 {
			return errNoID
		}
	}
	if v.choose.kind != placeNone {
		if w.chosen, times = v.choose.read(req); times > 1 {
			return errPartTwice
		}
	}
	return nil
}

// usable tells whether the request may have been signed with the key. An absent name chooses no named one.
func (w *work) usable(k *key) bool { return k.name == "" || k.name == w.chosen }

// oneChoice is the alternatives of a message in which nothing varies.
var oneChoice = []alternative{{}}

// matches returns the alternative that was signed, the first of several; -1 for none.
func (v *signature) matches(w *work, req *Request) int {
	choices := w.message.alternatives
	if len(choices) == 0 {
		choices = oneChoice
	}
	if v.scheme.public() {
		return v.matchesPublic(w, req, choices)
	}
	// One digest for each key is compared with all candidates, without a stop at the first match: which
	// key signed is nobody's business.
	found := -1
	for n := range choices {
		match := 0
		for i := range w.keys {
			if !w.usable(&w.keys[i]) {
				continue
			}
			sum := v.sum(w, w.states[i], w.keys[i].secret, req, choices[n].text)
			for _, given := range w.given[:w.n] {
				match |= subtle.ConstantTimeCompare(sum, given)
			}
		}
		if match == 1 && found < 0 {
			found = n
		}
	}
	return found
}

// matchesPublic stops at the first match: nothing in it is secret.
func (v *signature) matchesPublic(w *work, req *Request, choices []alternative) int {
	var held [][]byte // by each key, in each signature
	if len(choices) > 1 && v.scheme.kind == rsaPKCS1 {
		held = v.held(w)
	}
	for n := range choices {
		sum := v.sum(w, w.states[0], nil, req, choices[n].text)
		for i := range w.keys {
			if !w.usable(&w.keys[i]) {
				continue
			}
			for j, given := range w.given[:w.n] {
				if held != nil && !bytes.Equal(held[i*w.n+j], sum) {
					continue
				}
				if v.scheme.verify(w.keys[i].public, sum, given) {
					return n
				}
			}
		}
	}
	return -1
}

// held opens each signature once with each key, so that a forged one isn't opened again for each of many
// alternatives. It proves nothing: what has the digest that is held is verified.
func (v *signature) held(w *work) [][]byte {
	out := make([][]byte, len(w.keys)*w.n)
	size := v.scheme.new().Size()
	for i := range w.keys {
		if !w.usable(&w.keys[i]) {
			continue
		}
		for j, given := range w.given[:w.n] {
			out[i*w.n+j] = digestHeld(w.keys[i].public, given, size)
		}
	}
	return out
}

func (v *signature) sum(w *work, state hash.Hash, secret []byte, req *Request, choice []byte) []byte {
	state.Reset()
	v.write(w, state, secret, req, choice)
	return state.Sum(w.sum[:0])
}

// digestMatches tells whether the body is the one whose digest was signed. A body that is no form is not
// among what is signed itself: without a digest only an empty one will do.
func (v *signature) digestMatches(req *Request) bool {
	text, times := v.bodyDigest.read(req)
	if times == 0 {
		return len(req.Body) == 0 || isForm(req)
	}
	given, err := hex.DecodeString(text)
	sum := sha256.Sum256(req.Body)
	return times == 1 && err == nil && subtle.ConstantTimeCompare(given, sum[:]) == 1
}
