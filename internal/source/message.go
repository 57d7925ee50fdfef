package source

import (
	"bytes"
	"hash"
	"hash/crc32"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxParameters bounds the parameters before a signature: each may be where the signed part begins.
const maxParameters = 32

// maxPreceding bounds their text, which is hashed from each of them on: what goes by GET is shorter.
const maxPreceding = 16 << 10

// maxItems bounds the items of one request that are signed one by one.
const maxItems = 1000

// message is what one request's signature covers, as far as it isn't taken from the request as it is.
type message struct {
	timestamp, id string
	texts         []string // one for each part that is looked up or computed, in order
	// alternatives are what may stand for the one part that varies; the first is tried first.
	alternatives []alternative
}

type alternative struct {
	text []byte
	cut  int // where in the text that holds the signature the signed part begins
}

// clear forgets the request: what is kept for the next one must not hold on to its bytes.
func (m *message) clear() {
	m.timestamp, m.id = "", ""
	clear(m.texts)
	m.texts = m.texts[:0]
	clear(m.alternatives)
	m.alternatives = m.alternatives[:0]
}

// fill writes the source's values into the template and joins the JSON paths, so that one pass over a
// body finds them all.
func (v *signature) fill(values map[string]string) error {
	for i := range v.parts {
		part := &v.parts[i]
		switch part.kind {
		case signedValue:
			text := values[part.name]
			if text == "" {
				return invalid("verify.values", "%s is missing: it is a part of what is signed; fill it in as the provider's settings show it, verify: {values: {%s: …}}", part.name, part.name)
			}
			*part = signedPart{literal: []byte(text)}
		case signedJSON:
			if v.paths == nil {
				v.paths = newPaths()
			}
			part.slot = v.paths.add(part.name, v.slots)
			v.slots = max(v.slots, part.slot+1)
		}
	}
	return nil
}

// prepare looks up and computes what the template names. signing is set where the signature is still to
// be made and so stands nowhere.
func (v *signature) prepare(w *work, req *Request, signing bool) *Rejected {
	if v.paths != nil {
		if err := scan(req.Body, v.paths, w.slots); err != nil {
			return errBadSignature
		}
	}
	for i := range v.parts {
		part := &v.parts[i]
		switch {
		case part.direct():
		case part.kind == signedPreceding:
			if err := v.precedings(w, req, signing); err != nil {
				return err
			}
		case part.filter == filterAnyPort:
			w.message.alternatives = append(w.message.alternatives, alternative{text: []byte(req.URL)})
			if other := otherPort(req.URL); other != "" && !signing {
				w.message.alternatives = append(w.message.alternatives, alternative{text: []byte(other)})
			}
		default:
			text, err := v.text(w, part, req)
			if err != nil {
				return err
			}
			w.message.texts = append(w.message.texts, text)
		}
	}
	return nil
}

// text is a part that is looked up or computed. What is absent is signed as nothing; what is there twice
// is refused, for another reader could take the other one.
func (v *signature) text(w *work, part *signedPart, req *Request) (string, *Rejected) {
	var text string
	times := 0
	switch part.kind {
	case signedURL:
		return decodeReserved(req.URL), nil
	case signedCRC32:
		return strconv.FormatUint(uint64(crc32.ChecksumIEEE(req.Body)), 10), nil
	case signedSortedForm:
		return sortedForm(req)
	case signedSortedValues:
		return sortedValues(req.Body, part.name)
	case signedJSON:
		if slot := w.slots[part.slot]; slot.ok {
			text = slot.string(req.Body)
		}
	case signedHeader:
		at := place{kind: placeHeader, name: part.name}
		text, times = at.read(req)
	case signedQuery:
		text, times = queryValue(req.Query, part.name)
	case signedForm:
		at := place{kind: placeForm, name: part.name}
		text, times = at.read(req)
	}
	if times > 1 {
		return "", errPartTwice
	}
	if part.filter == filterUnslash {
		text = strings.ReplaceAll(text, `\/`, `/`)
	}
	return text, nil
}

// write writes the whole message with one of its alternatives.
func (v *signature) write(w *work, to hash.Hash, secret []byte, req *Request, choice []byte) {
	next := 0
	for i := range v.parts {
		part := &v.parts[i]
		switch {
		case part.varies():
			to.Write(choice)
			continue
		case !part.direct():
			w.text = append(w.text[:0], w.message.texts[next]...)
			to.Write(w.text)
			next++
			continue
		}
		switch part.kind {
		case signedLiteral:
			to.Write(part.literal)
		case signedKey:
			to.Write(secret)
		case signedTimestamp:
			w.write(to, w.message.timestamp)
		case signedID:
			w.write(to, w.message.id)
		case signedMethod:
			w.write(to, req.Method)
		case signedURL:
			w.write(to, req.URL)
		case signedBody:
			to.Write(req.Body)
		}
	}
}

func (w *work) write(to io.Writer, text string) {
	w.text = append(w.text[:0], text...)
	_, _ = to.Write(w.text) // a digest's Write never fails
}

// precedings lists what may be signed of the text before the signature's parameter, which must be the
// last: all of it, or less of its beginning, since a provider doesn't sign the parameters that its user
// wrote into the address. Bytes as received come first, then with their values encoded anew: some
// gateways write %20 where there was a plus.
func (v *signature) precedings(w *work, req *Request, signing bool) *Rejected {
	if v.place.inQuery(req) && len(req.Body) > 0 {
		return errUnsignedBody
	}
	before := v.place.raw(req)
	if !signing {
		end := bytes.LastIndexByte(before, '&')
		name, _, _ := bytes.Cut(before[end+1:], []byte{'='})
		decoded, ok := appendUnescaped(nil, name)
		if end < 0 || !ok || string(decoded) != v.place.name {
			return errNotLast
		}
		before = before[:end]
	}
	if len(before) > maxPreceding || bytes.Count(before, []byte{'&'}) >= maxParameters {
		return errManyParameters
	}
	again, cuts := encodeAgain(before)
	start := len(w.message.alternatives)
	for _, cut := range cuts {
		w.message.alternatives = append(w.message.alternatives, alternative{before[cut.raw:], cut.raw})
	}
	if again != nil && !bytes.Equal(again, before) {
		for _, cut := range cuts {
			w.message.alternatives = append(w.message.alternatives, alternative{again[cut.again:], cut.raw})
		}
	}
	if len(w.message.alternatives) == start {
		return errBadSignature
	}
	return nil
}

// boundary is where a parameter begins, in the text and in the text encoded anew.
type boundary struct{ raw, again int }

// encodeAgain writes each value as RFC 3986 has it; nil for a text that can't be decoded.
func encodeAgain(text []byte) (again []byte, cuts []boundary) {
	sound, at := true, 0
	for pair := range bytes.SplitSeq(text, []byte{'&'}) {
		if at > 0 {
			again = append(again, '&')
		}
		if len(pair) > 0 {
			cuts = append(cuts, boundary{at, len(again)})
		}
		at += len(pair) + 1
		name, value, valued := bytes.Cut(pair, []byte{'='})
		again = append(again, name...)
		if !valued {
			continue
		}
		decoded, ok := appendUnescaped(nil, value)
		sound = sound && ok
		again = append(append(again, '='), strings.ReplaceAll(url.QueryEscape(string(decoded)), "+", "%20")...)
	}
	if !sound {
		return nil, cuts
	}
	return again, cuts
}

// otherPort is the address with its port where it had none, or without the one it had.
func otherPort(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	_, rest, ok := strings.Cut(address, u.Host)
	if !ok {
		return ""
	}
	host := u.Host
	switch {
	case u.Port() != "":
		host = strings.TrimSuffix(host, ":"+u.Port())
	case u.Scheme == "https":
		host += ":443"
	default:
		host += ":80"
	}
	return u.Scheme + "://" + host + rest
}

// reserved are the characters that HubSpot decodes in the address before it signs it.
var reserved = strings.NewReplacer("%3A", ":", "%3a", ":", "%2F", "/", "%2f", "/", "%3F", "?", "%3f", "?", "%40", "@", "%21", "!",
	"%24", "$", "%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%2a", "*", "%2C", ",", "%2c", ",", "%3B", ";", "%3b", ";")

func decodeReserved(address string) string { return reserved.Replace(address) }

// isForm tells whether the body is read as a form's fields.
func isForm(req *Request) bool {
	values := req.Header["Content-Type"]
	if len(values) == 0 {
		return false
	}
	kind, _, _ := strings.Cut(values[0], ";")
	return strings.EqualFold(strings.TrimSpace(kind), contentForm) && !beginsAsJSON(req.Body)
}

type formPair struct{ name, value string }

// formPairs decodes a form whose names begin with the prefix.
func formPairs(body []byte, prefix string) ([]formPair, *Rejected) {
	var out []formPair
	for {
		name, value, rest, ok := nextPair(body)
		if !ok {
			return out, nil
		}
		body = rest
		decodedName, ok := appendUnescaped(nil, name)
		if !ok {
			return nil, errBadSignature
		}
		if !strings.HasPrefix(string(decodedName), prefix) {
			continue
		}
		decoded, ok := appendUnescaped(nil, value)
		if !ok {
			return nil, errBadSignature
		}
		if len(out) == maxSortedFields {
			return nil, errManyParameters
		}
		out = append(out, formPair{string(decodedName), string(decoded)})
	}
}

// maxSortedFields bounds what is sorted before anything is verified.
const maxSortedFields = 1000

// sortedForm is each field's name and value, sorted; of a field that is given twice with one value, one.
// A body that is no form gives nothing.
func sortedForm(req *Request) (string, *Rejected) {
	if !isForm(req) {
		return "", nil
	}
	all, err := formPairs(req.Body, "")
	if err != nil {
		return "", err
	}
	slices.SortFunc(all, func(a, b formPair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var out strings.Builder
	for _, f := range slices.Compact(all) {
		out.WriteString(f.name)
		out.WriteString(f.value)
	}
	return out.String(), nil
}

// sortedValues is the values of the fields whose names begin with the prefix, by the names' bytes, with
// plus signs between them.
func sortedValues(body []byte, prefix string) (string, *Rejected) {
	all, err := formPairs(body, prefix)
	if err != nil {
		return "", err
	}
	slices.SortStableFunc(all, func(a, b formPair) int { return strings.Compare(a.name, b.name) })
	values := make([]string, len(all))
	for i := range all {
		if i > 0 && all[i].name == all[i-1].name {
			return "", errPartTwice
		}
		values[i] = all[i].value
	}
	return strings.Join(values, "+"), nil
}

// elements returns the items of the list at the only path of want, as they stand in the body.
func elements(body []byte, want *paths) ([][]byte, *Rejected) {
	var slots [1]found
	if err := scan(body, want, slots[:]); err != nil {
		return nil, errBadSignature
	}
	at := slots[0]
	if !at.ok || !at.whole || body[at.start] != '[' {
		return nil, errNoSignature
	}
	items, err := cutList(body[at.start:at.end])
	switch {
	case err != nil || len(items) > maxItems:
		return nil, errManyParameters
	case len(items) == 0:
		return nil, errNoSignature
	}
	return items, nil
}
