package source

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
)

func sellsySource(t testing.TB) *Source {
	return compile(t, config.Source{Preset: "sellsy", Secrets: secrets(signKey)})
}

func signedRequest(t testing.TB, src *Source, contentType string, body []byte) *Request {
	req := &Request{Method: "POST", Header: http.Header{"Content-Type": {contentType}}, Body: body, Now: time.Now()}
	if err := src.Sign(req); err != nil {
		t.Fatal(err)
	}
	return req
}

// checkRead holds for everything that Read accepts.
func checkRead(t *testing.T, req *Request, msg Message) {
	if core.NormalizeType(msg.Type) != msg.Type {
		t.Errorf("%q is no event type", msg.Type)
	}
	if !utf8.ValidString(msg.NativeType) {
		t.Errorf("the native type %q is not UTF-8", msg.NativeType)
	}
	if _, err := expr.EventData(&core.Event{Format: msg.Format, Body: req.Body}); err != nil {
		t.Errorf("accepted, and can't be decoded: %v", err)
	}
}

// FuzzSellsyForm holds that a form is accepted only when the standard library sees the same single notif,
// and that a plain form that is accepted can be decoded.
func FuzzSellsyForm(f *testing.F) {
	f.Add([]byte("notif=%7B%22event%22%3A%22step%22%2C%22relatedtype%22%3A%22estimate%22%7D"))
	f.Add([]byte("notif={}&notif={}"))
	f.Add([]byte("notif={}&%6eotif={}"))
	f.Add([]byte("a=1&&notif=%7b%7D&b;c=%zz"))
	f.Add([]byte("notif=%00%80\x80"))
	f.Add([]byte(` {"note":"&notif=%7B%7D&"}`))
	src := sellsySource(f)
	plain := compile(f, config.Source{Preset: "generic-hmac", Secrets: secrets(signKey)})
	f.Fuzz(func(t *testing.T, body []byte) {
		req := signedRequest(t, plain, contentForm, body)
		if msg, err := verifyAndRead(plain, req, false); err == nil {
			checkRead(t, req, msg)
		}
		req = signedRequest(t, src, contentForm, body)
		msg, err := verifyAndRead(src, req, false)
		if err != nil {
			return
		}
		checkRead(t, req, msg)
		if msg.Format == core.FormatJSON {
			if !json.Valid(body) {
				t.Error("accepted as JSON, and isn't")
			}
			return
		}
		// The standard library refuses ";" and broken escapes in other fields, which nobody reads here.
		if values, err := url.ParseQuery(string(body)); err == nil && (len(values["notif"]) != 1 || !json.Valid([]byte(values.Get("notif")))) {
			t.Errorf("accepted with notif = %q", values["notif"])
		}
	})
}

// FuzzSellsyJSON holds that a body is accepted exactly when it is JSON, and that the type is read from
// the same fields that a decoder finds.
func FuzzSellsyJSON(f *testing.F) {
	f.Add([]byte(`{"eventType":"docslog","event":"step","relatedtype":"estimate","relatedobject":{"status":"accepted"}}`))
	f.Add([]byte(`{"event":"a","event":"b\u0041\n","relatedtype":1.5e3}`))
	f.Add([]byte(`{"\u0065vent":"a","relatedobject":{"status":"x"},"relatedobject":{}}`))
	f.Add([]byte(`[1,-0,0.1e+5,"\ud83d\ude00\ud800",true,false,null]`))
	f.Add([]byte(strings.Repeat("[", 201) + strings.Repeat("]", 201)))
	f.Add([]byte("\"\xff\""))
	src := sellsySource(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		req := signedRequest(t, src, contentJSON, body)
		msg, err := verifyAndRead(src, req, false)
		decoded, decodeErr := expr.DecodeJSON(body)
		// One level more or less at the bound is nobody's concern, as long as what is read can be decoded.
		if (err == nil) != (decodeErr == nil) && !errors.Is(err, errDeep) && !errors.Is(err, errEmpty) {
			t.Fatalf("read: %v; decoded: %v", err, decodeErr)
		}
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Error("accepted what encoding/json refuses")
		}
		checkRead(t, req, msg)
		object, _ := decoded.(map[string]any)
		event, isText := object["event"].(string)
		if isText && event != "" && object["relatedtype"] == nil && len(event) < maxNative && msg.NativeType != event {
			t.Errorf("the event is %q, and is read as %q", event, msg.NativeType)
		}
	})
}

// FuzzSignatureHeader holds that nothing but the digest itself, in either case, passes.
func FuzzSignatureHeader(f *testing.F) {
	body := []byte("notif={}")
	sum := sha1.Sum(append([]byte(signKey), body...))
	digest := hex.EncodeToString(sum[:])
	f.Add(digest)
	f.Add(strings.ToUpper(digest))
	f.Add(digest[:20])
	f.Add(digest + "00")
	f.Add("t=1,v1=" + digest)
	f.Add("v1,Zm9v v1," + strings.Repeat("A", 200))
	sellsy := sellsySource(f)
	others := []*Source{
		compile(f, config.Source{Preset: "stripe", Secrets: secrets("x")}),
		compile(f, config.Source{Preset: "standard-webhooks", Secrets: secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}),
		compile(f, config.Source{Preset: "github", Secrets: secrets("x")}),
		compile(f, config.Source{Preset: "generic", Secrets: secrets("user:planted"), Verify: map[string]any{"scheme": "basic", "header": "Authorization"}}),
	}
	f.Fuzz(func(t *testing.T, text string) {
		req := &Request{Method: "POST", Header: http.Header{"X-Webhook-Signature": {text}}, Body: body, Now: time.Now()}
		if err := sellsy.Verify(req); (err == nil) != strings.EqualFold(text, digest) {
			t.Errorf("%q: %v", text, err)
		}
		for _, name := range []string{"Stripe-Signature", "Webhook-Signature", "X-Hub-Signature-256", "Authorization", "Webhook-Id", "Webhook-Timestamp"} {
			req.Header[name] = []string{text}
		}
		for _, src := range others {
			if src.Verify(req) == nil {
				t.Errorf("%q is accepted", text)
			}
		}
	})
}

// FuzzPreset holds that a preset that loads can be used for any request.
func FuzzPreset(f *testing.F) {
	err := fs.WalkDir(embedded, "presets", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(embedded, path)
		f.Add(bytes.Replace(text, []byte("name: "+strings.TrimSuffix(entry.Name(), ".yaml")), []byte("name: x"), 1))
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("name: x\nverify: {scheme: none}\ndata: json\ntype: [{cel: 'data.a + header.b'}]\n"))
	req := &Request{Method: "POST", Header: http.Header{"Content-Type": {contentJSON}}, Query: "a=1", Body: []byte(`{"a":{"b":[1,"x"]}}`), Now: time.Now()}
	f.Fuzz(func(t *testing.T, text []byte) {
		preset, err := ParsePreset("x", text)
		if err != nil {
			return
		}
		src := &Source{Name: "x"}
		if err := src.answers(preset); err != nil {
			t.Fatalf("the preset loads and has no answers: %v", err)
		}
		if err := src.compileReading(preset, config.Source{}); err != nil {
			t.Fatalf("the preset loads and doesn't compile: %v", err)
		}
		if preset.Verify.Scheme != "none" {
			if err := src.compileVerify(&preset.Verify, []namedSecret{{"", "00:00"}}); err == nil {
				_ = src.Verify(req)
			}
		}
		if msg, err := src.Read(req); err == nil {
			checkRead(t, req, msg)
		}
	})
}

// FuzzVerify holds that no request, of whatever form, is accepted by a scheme that it wasn't signed for,
// and that none makes a verifier panic.
func FuzzVerify(f *testing.F) {
	var all []*Source
	presets := Embedded()
	for _, name := range presets.Names() {
		preset, err := presets.Load(name)
		if err != nil {
			f.Fatal(err)
		}
		seen := map[string]bool{}
		for i := range preset.Tests {
			v := &preset.Tests[i]
			src, err := v.source(preset)
			if err != nil {
				f.Fatal(err)
			}
			req, err := v.request()
			if err != nil {
				f.Fatal(err)
			}
			if src.signature == nil {
				continue
			}
			signature, _ := src.signature.place.read(req)
			f.Add(signature, req.URL, req.Header.Get("Content-Type"), req.Body)
			// One with keys that nobody knows, for each way in which the provider signs.
			way := fmt.Sprint(v.Verify)
			if seen[way] {
				continue
			}
			seen[way] = true
			if !src.signature.scheme.public() {
				for k := range src.signature.keys {
					src.signature.keys[k].secret = []byte(rand.Text())
				}
				src.signature.reset()
				all = append(all, src)
			} else if name != "paybox" {
				all = append(all, src)
			}
		}
	}
	f.Add("t=1,v1=aa", "https://a:1/%zz?K=&K=x", contentForm, []byte("&&=&%&K="))
	f.Fuzz(func(t *testing.T, text, address, contentType string, body []byte) {
		_, query, _ := strings.Cut(address, "?")
		for _, src := range all {
			v := src.signature
			req := &Request{Method: "POST", URL: address, Query: query, Header: http.Header{"Content-Type": {contentType}}, Body: bytes.Clone(body), Now: time.Now()}
			for _, at := range []place{v.place, v.timestamp, v.id, v.choose} {
				if at.kind == placeHeader {
					req.Header[at.name] = []string{text}
				}
			}
			for _, at := range v.numbered {
				req.Header[at.name] = []string{text}
			}
			if err := src.Verify(req); err == nil && !v.scheme.public() {
				t.Errorf("%q, %q, %q is accepted by %s", text, address, body, src.Name)
			}
		}
	})
}
