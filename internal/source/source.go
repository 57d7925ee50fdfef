package source

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// Source is an entry of the configuration on its preset, ready to verify and read requests. It is safe
// for any number of callers at once and never changes.
type Source struct {
	Name string
	// Path is the source's own besides /in/{name}; "" when there is none.
	Path string
	// AllowIPs are the addresses that may send; empty is all. A test source without any takes requests
	// from this machine only.
	AllowIPs []netip.Prefix
	// Methods are those that carry messages; Allow is the header that lists all that are answered.
	Methods []string
	Allow   string
	Answer  Answer
	// EventsPath, where it isn't "", lists KnownTypes to a GET.
	EventsPath string
	KnownTypes []string
	// AlwaysOK answers refusals as if they had been accepted.
	AlwaysOK bool
	// Challenge is the WWW-Authenticate header of a refusal; "" for none.
	Challenge    string
	MaxBodyBytes int64   // 0 as for all sources
	Rate         float64 // of verified requests; 0 is no limit
	Burst        int
	Test         bool
	testKey      []byte // its SHA-256; nil for none

	signature  *signature
	credential *credential
	secrets    []namedSecret // that verify, to sign with
	// secretNames are those of the secrets that verify, in their order; tokens are the secrets that
	// handshakes ask for, by name, and tokenNames where these stand in the query.
	secretNames []string
	tokens      map[string][]string
	tokenNames  []string
	hidden      *strings.Replacer
	keepHeader  func(name string) bool

	formatForm, formatJSON, formatOther formatOf
	refuse                              map[core.RejectReason]int

	types, nativeTypes, dedup []rule
	trial                     []condition // of a message of the provider's test mode
	agree                     [][][]field
	handshakes                []handshake
	signsTexts                bool // a handshake signs what somebody who can't sign asks for
	split                     *split
	stored                    stored
	dedupSeed                 []byte
	dedupBody                 bool // the key is also the message's own
	dedupWindow               time.Duration
	begins                    bool      // it has no secret yet
	readings, envelopes       sync.Pool // *reading
	redact                    redaction
	events                    []EventDoc
	numbered                  bool // the ids of its objects are numbers
}

// Verify tells whether the request comes from who the source says, by its received bytes. The error is
// always a *Rejected.
func (s *Source) Verify(req *Request) error {
	var err *Rejected
	switch {
	case s.signature != nil && s.signsTexts && sendable(req.Body):
		err = errBadSignature // anyone can have it signed
	case s.signature != nil:
		err = s.signature.verify(req)
	case s.credential != nil:
		err = s.credential.verify(req, s.secretNames)
	}
	if err != nil {
		return err
	}
	return nil
}

// Redacts tells whether the source takes anything out of bodies. A body of such a source that was not
// verified can't be relied on to be well formed, and so can't be redacted: it must not be stored.
func (s *Source) Redacts() bool { return len(s.redact) > 0 }

// Retriable tells whether a stored refusal of this source can be verified again: credentials are never
// stored, signatures are.
func (s *Source) Retriable() bool { return s.signature != nil && len(s.redact) == 0 }

// SignsURL tells whether Request.URL is a part of what is signed; where it isn't, it may be left empty.
func (s *Source) SignsURL() bool { return s.signature != nil && signs(s.signature.parts, signedURL) }

// Begins tells whether the source has no secret yet: it answers the handshake by which its provider gives one, and
// refuses everything else.
func (s *Source) Begins() bool { return s.begins }

const authorization = "Authorization"

// HoldsTestKey tells whether a request to a test source carries its key, which any address may send with.
func (s *Source) HoldsTestKey(header http.Header) bool {
	values := header[authorization]
	if s.testKey == nil || len(values) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(values[0], " ")
	sum := sha256.Sum256([]byte(given))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], s.testKey) == 1
}

// Events lists what the provider sends, as its preset knows it.
func (s *Source) Events() []EventDoc { return s.events }

// Sample makes the request that carries the preset's sample of that event type, not yet signed. id is
// the object's; unique makes two samples of the same object different messages.
func (s *Source) Sample(typ, id, unique string, now time.Time) (*Request, error) {
	known := make([]string, 0, len(s.events))
	for i := range s.events {
		doc := &s.events[i]
		if doc.Type == typ {
			if s.numbered && (id == "" || strings.Trim(id, "0123456789") != "") {
				return nil, core.Errorf(core.CodeInvalid, "%q is no id of an object here: it is a number, such as 123", id)
			}
			return doc.sample(s.names(), id, unique, now)
		}
		known = append(known, doc.Type)
	}
	if len(known) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "source %s has no samples: its preset lists none", s.Name)
	}
	return nil, core.Errorf(core.CodeInvalid, "source %s has no sample of %q: there are %s", s.Name, typ, strings.Join(known, ", "))
}

func (d *EventDoc) sample(secrets []string, id, unique string, now time.Time) (*Request, error) {
	for _, text := range append([]string{id, unique}, secrets...) {
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == '"' || c == '\\' }) {
			return nil, core.Errorf(core.CodeInvalid, "%q can't stand in a sample: it holds a quote, a backslash or a control character", text)
		}
	}
	body := strings.NewReplacer("{id}", id, "{unique}", unique, "{timestamp}", strconv.FormatInt(now.Unix(), 10)).Replace(d.naming(secrets))
	if d.Field != "" {
		body = d.Field + "=" + url.QueryEscape(body)
	}
	req := &Request{Method: "POST", Header: map[string][]string{}, Body: []byte(body), Now: now}
	req.Header.Set("Content-Type", d.ContentType)
	for name, value := range d.Header {
		req.Header.Set(name, strings.NewReplacer("{id}", id, "{unique}", unique).Replace(value))
	}
	return req, nil
}

// naming is the sample with the name of one of the secrets where {secret:NAME} stands: NAME, or the first where none
// of them is called so.
func (d *EventDoc) naming(secrets []string) string {
	before, rest, ok := strings.Cut(d.Sample, "{secret:")
	if !ok {
		return d.Sample
	}
	name, after, _ := strings.Cut(rest, "}")
	if len(secrets) > 0 && !slices.Contains(secrets, name) {
		name = secrets[0]
	}
	return before + name + after
}

// Compile makes a source of its entry in the configuration. The error is a core.Error whose Field is the
// entry's key that is wrong.
func Compile(in config.Source, presets Presets) (*Source, error) {
	name := in.Preset
	if name == "" {
		if in.Verify == nil && in.Auth != "none" {
			return nil, invalid("preset", "nothing says how requests are verified: give a preset (there are %s), or verify, or auth: none",
				strings.Join(presets.Names(), ", "))
		}
		name = PlainPreset
	}
	preset, err := presets.Load(name)
	if err != nil {
		return nil, err
	}
	return compileWith(in, preset)
}

func compileWith(in config.Source, preset *Preset) (*Source, error) {
	s := &Source{Name: in.Name, Path: in.Path, AllowIPs: in.AllowIPs, MaxBodyBytes: in.MaxBodyBytes,
		Rate: in.Rate, Burst: in.Burst, Test: in.Test, events: preset.Events, numbered: preset.Numbered}
	if err := s.defaults(preset); err != nil {
		return nil, err
	}
	var err error
	if len(s.AllowIPs) == 0 {
		if s.AllowIPs, err = parsePrefixes(preset.AllowIPs); err != nil {
			return nil, err
		}
	}
	if in.Test && len(s.AllowIPs) == 0 {
		s.AllowIPs = loopback
	}
	if in.TestKey != nil {
		sum := sha256.Sum256([]byte(in.TestKey.Reveal()))
		s.testKey = sum[:]
	}
	switch in.Answer {
	case "":
	case "always-200":
		s.AlwaysOK = true
	default:
		return nil, invalid("answer", "%q: allowed is always-200", in.Answer)
	}
	if err := s.answers(preset); err != nil {
		return nil, err
	}
	if err := s.compileAuth(in, preset); err != nil {
		return nil, err
	}
	if s.testKey != nil && s.proofPlace() == headerPlace(authorization) {
		return nil, invalid("test_key", "its requests carry Authorization already: let allow_ips name who may send")
	}
	if err := s.compileReading(preset, in); err != nil {
		return nil, err
	}
	return s, nil
}

// proofPlace is where the request's own proof stands.
func (s *Source) proofPlace() place {
	switch {
	case s.signature != nil:
		return s.signature.place
	case s.credential != nil:
		return s.credential.place
	}
	return place{}
}

// defaults are what the preset says where the entry says nothing.
func (s *Source) defaults(p *Preset) error {
	switch {
	case s.Path != "":
	case s.Test && p.TestPath != "":
		s.Path = p.TestPath
	default:
		s.Path = p.Path
	}
	if !s.Test {
		s.EventsPath, s.KnownTypes = p.EventsPath, p.KnownTypes()
	}
	if s.Rate == 0 && p.Rate != "" {
		perSecond, count, err := config.ParseRate(p.Rate)
		if err != nil {
			return invalid("rate", "%s", err)
		}
		s.Rate, s.Burst = perSecond, max(1, int(count))
	}
	if s.MaxBodyBytes == 0 && p.MaxBody != "" {
		size, err := config.ParseSize(p.MaxBody)
		if err != nil {
			return invalid("max_body", "%s", err)
		}
		s.MaxBodyBytes = size
	}
	return nil
}

// PlainPreset reads the messages of sources without a preset.
const PlainPreset = "generic"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// RefusalStatus is the status that the provider wants for such a refusal; 0 where it wants none of its own.
func (s *Source) RefusalStatus(reason core.RejectReason) int { return s.refuse[reason] }
