package source

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

func payboxVector(t *testing.T, name string) *Request {
	t.Helper()
	preset, err := Embedded().Load("paybox")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range preset.Tests {
		if v.Name == name {
			req, err := v.request()
			if err != nil {
				t.Fatal(err)
			}
			return req
		}
	}
	t.Fatalf("there is no vector %q", name)
	return nil
}

// A provider signs its own parameters and not what stands before them. Who saw one request must not have
// an order of his choice read out of it.
func TestUnsignedParametersAreTakenOff(t *testing.T) {
	src := compile(t, config.Source{Preset: "paybox"})
	req := payboxVector(t, "as published, as a form")
	signed := string(req.Body)
	for _, before := range []string{"Ref=other&", "a=1&Ref=other&b&&", "%52ef=other&Mt=1&", "&", "=&=&"} {
		req.Body = []byte(before + signed)
		if err := src.Verify(req); err != nil {
			t.Errorf("behind %q: %v", before, err)
		} else if string(req.Body) != signed {
			t.Errorf("behind %q: %q is left to be read", before, req.Body)
		}
	}
	for _, text := range []string{
		signed + "&Ref=other", signed + "&", signed + "&K=", strings.Replace(signed, "Ref", "Reg", 1), "K=" + signed,
		strings.Repeat("a=1&", maxParameters) + signed, signed[strings.Index(signed, "&K="):], "K=x", "&K=x", "",
		strings.Replace(signed, "&Auto", "&&Auto", 1),
	} {
		req.Body = []byte(text)
		if err := src.Verify(req); err == nil {
			t.Errorf("%.60q is accepted", text)
		}
	}
	byGet := payboxVector(t, "behind parameters of the merchant's own")
	if err := src.Verify(byGet); err != nil || byGet.Query != signed {
		t.Errorf("by GET: %v, and %q is left to be read", err, byGet.Query)
	}
	// A body takes the place of the query: one that nobody signed must not come along with a signed query.
	byGet.Body = []byte("Mt=1&Ref=other&Erreur=00000")
	if err := src.Verify(byGet); err == nil {
		t.Error("a body that nobody signed is accepted beside a signed query")
	}
}

// Some gateways write anew what the provider encoded.
func TestValuesEncodedAnew(t *testing.T) {
	verify := map[string]any{"variant": "hmac", "key": "text"}
	src := compile(t, config.Source{Preset: "paybox", Secrets: secrets("s3cret"), Verify: verify})
	req := &Request{Method: "POST", Header: http.Header{}, Body: []byte("Mt=1&Ref=caf%C3%A9%20%2B%2F~"), Now: time.Now()}
	if err := src.Sign(req); err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		"Mt=1&Ref=caf%C3%A9%20%2B%2F~": true, "Mt=1&Ref=caf%c3%a9+%2b/%7E": true, "Mt=1&Ref=café+%2B/~": true,
		"Mt=1&Ref=cafe%20%2B%2F~": false, "Mt=1&Ref=caf%C3%A9%20+%2F~": false,
	} {
		one := *req
		one.Body = append([]byte(text), req.Body[bytes.LastIndexByte(req.Body, '&'):]...)
		if err := src.Verify(&one); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A name that a request gives chooses among secrets with names; it can't choose one of another name, and
// what has no name is tried for any.
func TestSecretsChosenByName(t *testing.T) {
	named := config.Source{Preset: "generic-hmac", Verify: map[string]any{"choose": map[string]any{"header": "X-Mode"}},
		NamedSecrets: map[string][]config.Secret{"TEST": secrets("for-tests"), "PRODUCTION": secrets("newer", "older")}}
	both := named
	both.Secrets = secrets("any")
	for _, tc := range []struct {
		in          config.Source
		key, mode   string
		accepted    bool
		description string
	}{
		{named, "for-tests", "TEST", true, "the test key in test mode"},
		{named, "for-tests", "PRODUCTION", false, "the test key in production"},
		{named, "older", "PRODUCTION", true, "the older of two in production"},
		{named, "older", "", false, "a named key, and no mode"},
		{named, "older", "production", false, "a mode in other case"},
		{both, "any", "TEST", true, "a key without a name"},
		{both, "any", "", true, "a key without a name, and no mode"},
		{both, "for-tests", "", false, "a named key beside one without, and no mode"},
	} {
		req := &Request{Method: "POST", Header: http.Header{}, Body: []byte(`{"a":1}`), Now: time.Now()}
		if err := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets(tc.key)}).Sign(req); err != nil {
			t.Fatal(err)
		}
		if tc.mode != "" {
			req.Header.Set("X-Mode", tc.mode)
		}
		if err := compile(t, tc.in).Verify(req); (err == nil) != tc.accepted {
			t.Errorf("%s: %v", tc.description, err)
		}
	}
	if _, err := Compile(config.Source{Name: "x", Preset: "github", NamedSecrets: named.NamedSecrets}, Embedded()); err == nil {
		t.Error("secrets with names are taken where nothing chooses")
	}
}

func TestTimestampsOfAllUnits(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	for _, unit := range []string{"unix", "unix-ms", "unix-us", "unix-ns", "rfc3339"} {
		src := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets("x"), Verify: map[string]any{
			"signed": "{timestamp}.{body}", "timestamp": map[string]any{"header": "X-Time", "format": unit}, "tolerance": "60s"}})
		req := &Request{Method: "POST", Header: http.Header{}, Body: []byte("x"), Now: at}
		if err := src.Sign(req); err != nil {
			t.Fatal(err)
		}
		for after, reason := range map[time.Duration]core.RejectReason{
			0: "", 59 * time.Second: "", -59 * time.Second: "", 62 * time.Second: core.RejectExpired, -62 * time.Second: core.RejectExpired,
		} {
			req.Now = at.Add(after)
			if err := src.Verify(req); reasonOf(err) != reason {
				t.Errorf("%s, %v later: %v", unit, after, err)
			}
		}
		for _, text := range []string{"-1", "9999999999999999999", "1e9", "", " 1", "99999999999999999999999"} {
			if _, ok := parseTimestamp(unit, text); ok {
				t.Errorf("%s: %q is taken for a time", unit, text)
			}
		}
	}
}

// What a template names and a request gives twice is refused: another reader could take the other one.
func TestPartsOfATemplate(t *testing.T) {
	for _, tc := range []struct{ signed, query, header, body, want string }{
		{"{header.x-a}|{header.x-b}", "", "1", "x", "1|"},
		{"{query.a}/{query.b}", "a=%31+2", "", "x", "1 2/"},
		{"{query.a}", "a=1&a=1", "", "x", ""},
		{"{form.a}{form.b}", "", "", "a=%c3%a9", "é"},
		{"{form.a}", "", "", "a=1&%61=2", ""},
		{"{json.a.b}:{json.a.c}:{json.l.1}", "", "", `{"a":{"b":"\u00e9","b":"x\/","c":null},"l":[1,2.50]}`, "x/::2.50"},
		{"{json.a}", "", "", `{"a":1`, ""},
		{"{form.a|unslash}", "", "", `a=x\/y\\/`, `x/y\/`},
		{"{crc32}", "", "", "123456789", "3421780262"},
		{"{sorted-values.v_}", "", "", "v_b=2&V_a=0&v_a=1&v_c=&w=3", "1+2+"},
		{"{sorted-values.v_}", "", "", "v_b=2&v_b=2", ""},
		{"{sorted-values.v_}", "", "", "v_b=%z", ""},
		{"{sorted-form}", "", "", "b=2&a=2&a=1&a=2", "a1a2b2"},
	} {
		src := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets("k"), Verify: map[string]any{"signed": tc.signed}})
		req := &Request{Method: "POST", Query: tc.query, Header: http.Header{"Content-Type": {contentForm}}, Body: []byte(tc.body), Now: time.Now()}
		if tc.header != "" {
			req.Header.Set("X-A", tc.header)
		}
		req.Header.Set("X-Signature", strings.Repeat("0", 64))
		err := src.Verify(req)
		if reasonOf(err) != core.RejectBadSignature {
			t.Fatalf("%s: %v", tc.signed, err)
		}
		if tc.want == "" {
			if err := src.Sign(req); err == nil {
				t.Errorf("%s of %q can be signed", tc.signed, tc.body)
			}
			continue
		}
		if err := src.Sign(req); err != nil {
			t.Fatal(err)
		}
		plain := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets("k")})
		if err := plain.Verify(&Request{Header: req.Header, Body: []byte(tc.want)}); err != nil {
			t.Errorf("%s of %q is not %q", tc.signed, tc.body, tc.want)
		}
		if err := src.Verify(req); err != nil {
			t.Errorf("%s: %v", tc.signed, err)
		}
	}
}

// Only as many items, and as much of each, as one may send are looked at.
func TestItemsSignedOneByOne(t *testing.T) {
	preset, err := Embedded().Load("adyen")
	if err != nil {
		t.Fatal(err)
	}
	v := preset.Tests[0]
	src, err := v.source(preset)
	if err != nil {
		t.Fatal(err)
	}
	item := v.Body[strings.Index(v.Body, "[")+1 : strings.LastIndex(v.Body, "]")]
	for name, tc := range map[string]struct {
		body string
		ok   bool
	}{
		"ten":                  {`{"notificationItems":[` + strings.TrimSuffix(strings.Repeat(item+",", 10), ",") + `]}`, true},
		"more than are taken":  {`{"notificationItems":[` + strings.TrimSuffix(strings.Repeat(item+",", maxItems+1), ",") + `]}`, false},
		"a list in its place":  {`{"notificationItems":[[` + item + `]]}`, false},
		"the list twice":       {`{"notificationItems":[` + item + `],"notificationItems":[{}]}`, false},
		"the list in an other": {`{"a":{"notificationItems":[` + item + `]}}`, false},
		"no list":              {`{"notificationItems":` + item + `}`, false},
		"another name":         {`{"NotificationItems":[` + item + `]}`, false},
		"broken":               {`{"notificationItems":[` + item + `]`, false},
		"nothing":              {``, false},
	} {
		if err := src.Verify(jsonRequest(tc.body)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPublicKeysOfAllKinds(t *testing.T) {
	for text, scheme := range map[string]string{
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n":   "rsa-sha1",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "rsa-sha256",
		"s3cret":                "ed25519",
		strings.Repeat("0", 62): "ed25519",
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==": "rsa-sha256",
		strings.Repeat("ab", 32): "ecdsa-p256-sha256",
	} {
		_, err := Compile(config.Source{Name: "x", Preset: "generic-hmac", Secrets: secrets(text), Verify: map[string]any{"scheme": scheme}}, Embedded())
		if core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s with %.40q: %v", scheme, text, err)
		}
	}
	// Two keys in one text, of which the second signed.
	paybox := payboxVector(t, "as published, by GET")
	preset, err := Embedded().Load("paybox")
	if err != nil {
		t.Fatal(err)
	}
	src := compile(t, config.Source{Preset: "paybox", Secrets: secrets(preset.Verify.PublicKeys[0] + "\n" + preset.Verify.PublicKeys[0])})
	if len(src.signature.keys) != 2 || src.Verify(paybox) != nil {
		t.Error("two keys in one text are not two keys")
	}
}

// HubSpot's second version signs requests without a body too.
func TestPublishedVectorWithoutABody(t *testing.T) {
	src := compile(t, config.Source{Preset: "hubspot", Secrets: secrets("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"), Verify: map[string]any{"variant": "v2"}})
	req := &Request{Method: "GET", URL: "https://www.example.com/webhook_uri", Header: http.Header{}}
	req.Header.Set("X-HubSpot-Signature", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e")
	if err := src.Verify(req); err != nil {
		t.Error(err)
	}
}

// Paybox publishes what signs requests to it: the same digest, key and encoding that its variant hmac has.
func TestPublishedVectorOfPayboxRequests(t *testing.T) {
	const key = "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"
	src := compile(t, config.Source{Preset: "paybox", Secrets: secrets(key), Verify: map[string]any{"variant": "hmac", "param": "PBX_HMAC"}})
	const signed = "PBX_SITE=12345678&PBX_RANG=32&PBX_IDENTIFIANT=12345678&PBX_TOTAL=999&PBX_DEVISE=978&PBX_CMD=appel à Paybox&PBX_PORTEUR=test@paybox.com" +
		"&PBX_RETOUR=Mt:M;Ref:R;Auto:A;Erreur:E&PBX_HASH=SHA512&PBX_TIME=2015-06-08T16:21:16+02:00"
	const mac = "7E74D8E9A0DBB65AAE51C5C50C2668FD98FC99AEDF18244BB1935F602B6C2E953B61FD84364F34FDB88B049901C0A07F6040AF446BBF5589113F48A733D551D4"
	req := &Request{Method: "POST", Header: http.Header{}, Body: []byte(signed + "&PBX_HMAC=" + mac), Now: time.Now()}
	if err := src.Verify(req); err != nil {
		t.Error(err)
	}
	req = &Request{Method: "GET", Header: http.Header{}, Query: signed + "&PBX_HMAC=" + url.QueryEscape(mac), Now: time.Now()}
	if err := src.Verify(req); err != nil {
		t.Error("by GET:", err)
	}
}
