package source

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// perWay is how many vectors of one preset are changed bit by bit for each way of verifying: more of them tell
// types and results apart, which no signature does.
const perWay = 3

// signedVectors calls visit with accepted vectors whose scheme computes something, of each preset and each way
// of verifying.
func signedVectors(t *testing.T, visit func(t *testing.T, src func() *Source, req func() *Request)) {
	t.Helper()
	presets := Embedded()
	for _, name := range presets.Names() {
		preset, err := presets.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for i := range preset.Tests {
			v := &preset.Tests[i]
			src, err := v.source(preset)
			if err != nil {
				t.Fatal(name, v.Name, err)
			}
			req, err := v.request()
			if err != nil {
				t.Fatal(name, v.Name, err)
			}
			base := *req
			if src.signature == nil || v.Want.Reject != "" || src.Verify(req) != nil {
				continue
			}
			way := fmt.Sprint(v.Verify, v.Method, v.Fields, len(v.Named))
			if seen[way]++; seen[way] > perWay {
				continue
			}
			t.Run(name+"/"+v.Name, func(t *testing.T) {
				visit(t, func() *Source {
					src, err := v.source(preset)
					if err != nil {
						t.Fatal(err)
					}
					return src
				}, func() *Request {
					one := base
					one.Body, one.Header = slices.Clone(base.Body), maps.Clone(base.Header)
					return &one
				})
			})
		}
	}
}

// open takes a request apart as verification does, up to the comparison; each item of a list is one.
func (v *signature) open(t *testing.T, req *Request) []*opened {
	t.Helper()
	items := [][]byte{req.Body}
	if v.each != nil {
		found, err := elements(req.Body, v.each)
		if err != nil {
			return nil
		}
		items = found
	}
	var out []*opened
	for _, item := range items {
		one := *req
		one.Body = item
		o := &opened{signature: v, req: &one, work: v.work.New().(*work)}
		if v.given(o.work, &one) != nil || v.fields(o.work, &one) != nil || v.prepare(o.work, &one, false) != nil {
			return nil
		}
		o.match = v.matches(o.work, &one)
		out = append(out, o)
	}
	return out
}

type opened struct {
	signature *signature
	req       *Request
	work      *work
	match     int
}

// message is the text that was signed.
func (o *opened) message() string {
	choices := o.work.message.alternatives
	if len(choices) == 0 {
		choices = oneChoice
	}
	var all gather
	o.signature.write(o.work, &all, []byte("key"), o.req, choices[max(o.match, 0)].text)
	return string(all)
}

func messages(all []*opened) (out []string) {
	for _, o := range all {
		out = append(out, o.message())
	}
	return out
}

// Whatever is changed, a request passes only when what is signed is still the same: a name in other case
// in a form's escapes is the same value. Where parts are signed as they are received, nothing at all may
// be changed in them.
func TestChangedRequestsAreRefused(t *testing.T) {
	signedVectors(t, func(t *testing.T, compiled func() *Source, request func() *Request) {
		src := compiled()
		want := messages(src.signature.open(t, request()))
		check := func(what string, bit int, literally bool, req *Request) {
			t.Helper()
			again := *req
			if src.Verify(&again) != nil {
				return
			}
			got := src.signature.open(t, req)
			if same := slices.Equal(messages(got), want); !same || literally {
				t.Errorf("accepted with bit %d of the %s changed; the same message: %v", bit, what, same)
			}
		}
		parts := src.signature.parts
		step := 1
		if len(request().Body) > 512 {
			step = 11 // all bits of a byte in turn, in as many bytes as take no seconds
		}
		for bit := 0; bit < 8*len(request().Body); bit += step {
			req := request()
			req.Body[bit/8] ^= 1 << (bit % 8)
			check("body", bit, signs(parts, signedBody), req)
		}
		for bit := range 8 * len(request().URL) {
			req := request()
			text := []byte(req.URL)
			text[bit/8] ^= 1 << (bit % 8)
			req.URL = string(text)
			_, req.Query, _ = strings.Cut(req.URL, "?")
			literally := slices.ContainsFunc(parts, func(p signedPart) bool { return p.kind == signedURL && p.filter == filterNone })
			check("address", bit, literally, req)
		}
		for name, values := range request().Header {
			place := func(p place) bool { return p.kind == placeHeader && p.name == name }
			literally := place(src.signature.timestamp) || place(src.signature.id)
			for bit := range 8 * len(values[0]) {
				req := request()
				text := []byte(values[0])
				text[bit/8] ^= 1 << (bit % 8)
				req.Header[name] = []string{string(text)}
				check(name, bit, literally, req)
			}
		}
	})
}

func TestChangedSignaturesAreRefused(t *testing.T) {
	signedVectors(t, func(t *testing.T, compiled func() *Source, request func() *Request) {
		v := compiled().signature
		for _, o := range v.open(t, request()) {
			matched := false
			for n := range o.work.n {
				// One signature at a time, so that another one can't make up for it.
				one := *o.work
				one.n, one.given[0] = 1, o.work.given[n]
				if v.matches(&one, o.req) < 0 {
					continue
				}
				matched = true
				for bit := range 8 * len(one.given[0]) {
					one.given[0][bit/8] ^= 1 << (bit % 8)
					if v.matches(&one, o.req) >= 0 {
						t.Errorf("accepted with bit %d of the signature changed", bit)
					}
					one.given[0][bit/8] ^= 1 << (bit % 8)
				}
				for short := range one.given[0] {
					whole := one.given[0]
					if one.given[0] = whole[:short]; v.matches(&one, o.req) >= 0 {
						t.Errorf("accepted with %d bytes of the signature", short)
					}
					one.given[0] = whole
				}
			}
			if !matched {
				t.Error("none of its signatures is accepted alone")
			}
		}
	})
}

func TestChangedKeysAreRefused(t *testing.T) {
	signedVectors(t, func(t *testing.T, compiled func() *Source, request func() *Request) {
		src := compiled()
		v := src.signature
		for i := range v.keys {
			// Only this one, and only where it is the one that signed.
			alone := []key{v.keys[i]}
			v.keys = alone
			v.reset()
			if src.Verify(request()) == nil {
				v.eachChangedKey(t, func(bit int) {
					if src.Verify(request()) == nil {
						t.Errorf("accepted with bit %d of the key changed", bit)
					}
				})
			}
			src = compiled()
			v = src.signature
		}
	})
}

func (v *signature) reset() {
	v.work = sync.Pool{}
	v.numbered = nil
	v.init()
}

func (v *signature) eachChangedKey(t *testing.T, visit func(bit int)) {
	t.Helper()
	k := &v.keys[0]
	if !v.scheme.public() {
		for bit := range 8 * len(k.secret) {
			k.secret[bit/8] ^= 1 << (bit % 8)
			v.reset()
			visit(bit)
			k.secret[bit/8] ^= 1 << (bit % 8)
		}
		return
	}
	public := k.public.(interface {
		Equal(other crypto.PublicKey) bool
	})
	text, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(text) {
		changed := slices.Clone(text)
		changed[bit/8] ^= 1 << (bit % 8)
		keys, err := v.scheme.publicKeys("", base64.StdEncoding.EncodeToString(changed))
		if err != nil || public.Equal(keys[0].public) {
			continue
		}
		k.public = keys[0].public
		visit(bit)
	}
}
