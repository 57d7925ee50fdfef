package source

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
)

// TestSourceThatCannotBeVerifiedIsRefused holds that every way to an unverified source but auth: none,
// and every setting that can't work, is an error that names its key.
func TestSourceThatCannotBeVerifiedIsRefused(t *testing.T) {
	key := secrets("s3cret")
	verify := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	for _, tc := range []struct {
		name  string
		in    config.Source
		field string
		says  string
	}{
		{"nothing at all", config.Source{}, "preset", "auth: none"},
		{"no such preset", config.Source{Preset: "selsy", Secrets: key}, "preset", "sellsy"},
		{"no secret", config.Source{Preset: "sellsy"}, "secret", "none is given"},
		{"an empty secret", config.Source{Preset: "sellsy", Secrets: secrets("s3cret", "")}, "secret", "empty"},
		{"nothing behind the prefix", config.Source{Preset: "standard-webhooks", Secrets: secrets("whsec_")}, "secret", "empty"},
		{"no base64", config.Source{Preset: "standard-webhooks", Secrets: secrets("whsec_*")}, "secret", "base64"},
		{"no hexadecimal", config.Source{Preset: "github", Secrets: secrets("xy"), Verify: verify("key", "hex")}, "secret", "hex"},
		{"an empty password", config.Source{Preset: "generic", Secrets: secrets(":"), Verify: verify("scheme", "basic", "header", "Authorization")}, "secret", "user:password"},
		{"a user without a password", config.Source{Preset: "generic", Secrets: key, Verify: verify("scheme", "basic", "header", "Authorization")}, "secret", "user:password"},
		{"another auth", config.Source{Preset: "sellsy", Auth: "maybe"}, "auth", "none"},
		{"auth none and verify", config.Source{Auth: "none", Verify: verify("scheme", "token")}, "auth", "one of them"},
		{"another scheme", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("scheme", "hmac-md5")}, "verify.scheme", "hmac-sha256"},
		{"scheme none", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("scheme", "none")}, "preset", "auth: none"},
		{"an unknown key", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("headr", "x")}, "verify", "headr"},
		{"two places", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("header", "a", "query", "b")}, "verify", "exactly one"},
		{"no place", config.Source{Secrets: key, Verify: verify("scheme", "hmac-sha256")}, "verify", "exactly one"},
		{"a token in the body", config.Source{Secrets: key, Verify: verify("scheme", "token", "form", "token")}, "verify", "stored"},
		{"a hash without its key", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("signed", "{body}")}, "verify.signed", "{key}"},
		{"an unknown part", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("signed", "{key}{bdy}")}, "verify.signed", "{body}"},
		{"a tolerance of nothing", config.Source{Preset: "sellsy", Secrets: key, Verify: verify("tolerance", "5m")}, "verify.tolerance", "timestamp"},
		{"a timestamp that isn't signed", config.Source{Preset: "stripe", Secrets: key, Verify: verify("signed", "{body}")}, "verify.timestamp", "isn't signed"},
		{"another answer", config.Source{Preset: "sellsy", Secrets: key, Answer: "always-201"}, "answer", "always-200"},
		{"a dedup key that doesn't compile", config.Source{Preset: "sellsy", Secrets: key, Dedup: "data."}, "dedup", ""},
		{"a redact path of everything", config.Source{Preset: "sellsy", Secrets: key, Redact: []string{"a.**"}}, "redact", "ends with"},
		{"events that go before their repeats are forgotten", config.Source{Preset: "github", Secrets: key, Retention: config.SourceRetention{Events: time.Hour}},
			"retention.events", "dedup_window"},
	} {
		_, err := Compile(tc.in, Embedded())
		var e *core.Error
		if !errors.As(err, &e) || e.Field != tc.field || !strings.Contains(e.Message, tc.says) || strings.Contains(e.Message, "s3cret") {
			t.Errorf("%s: %v (field %q), want one of %q that says %q", tc.name, err, fieldOf(e), tc.field, tc.says)
		}
		if strings.Contains(e.Message, "\n") {
			t.Errorf("%s: more than one line: %q", tc.name, e.Message)
		}
	}
}

func fieldOf(e *core.Error) string {
	if e == nil {
		return ""
	}
	return e.Field
}

func TestPresetsAreStrict(t *testing.T) {
	good := "name: x\nverify: {scheme: token, header: A}\ndata: json\n"
	for name, text := range map[string]string{
		"an unknown key":       good + "anser: {status: 200}\n",
		"an unknown inner key": "name: x\nverify: {scheme: token, hedr: A}\ndata: json\n",
		"another name":         strings.Replace(good, "x", "y", 1),
		"no data":              "name: x\nverify: {scheme: token, header: A}\n",
		"an unknown format":    strings.Replace(good, "json", "xml", 1),
		"an answer that isn't": good + "answer: {status: 500}\n",
		"a method in lower":    good + "methods: [post]\n",
		"a rule of two kinds":  good + "type: [{is: a, cel: b}]\n",
		"an unknown field":     good + "type: ['{body}']\n",
		"a brace left open":    good + "type: ['{data.a']\n",
		"a bad address":        good + "allow_ips: [here]\n",
		"an event of no key":   good + "events: [{typ: a}]\n",
	} {
		presets := NewPresets(fstest.MapFS{"x.yaml": {Data: []byte(text)}})
		if _, err := presets.Load("x"); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewPresets(fstest.MapFS{"x.yaml": {Data: []byte(good)}}).Load("x"); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func jsonRequest(body string) *Request {
	return &Request{Method: "POST", Header: http.Header{"Content-Type": {contentJSON}}, Body: []byte(body), Now: time.Now()}
}

func TestDedupKeys(t *testing.T) {
	key := func(in config.Source, body string) [16]byte {
		msg, err := compile(t, in).Read(jsonRequest(body))
		if err != nil {
			t.Fatal(err)
		}
		return msg.DedupKey
	}
	sellsy := config.Source{Preset: "sellsy", Secrets: secrets("x")}
	first := key(sellsy, `{"timestamp":"1","event":"a"}`)
	if first == key(sellsy, `{"timestamp":"2","event":"a"}`) {
		t.Error("messages of two times share a key")
	}
	if first != key(sellsy, `{"timestamp":"1","event":"a"}`) {
		t.Error("the same message has two keys")
	}
	other := sellsy
	other.Name = "y"
	if first == key(other, `{"timestamp":"1","event":"a"}`) {
		t.Error("two sources share a key")
	}
	off := sellsy
	off.Dedup = "off"
	if key(off, `{"timestamp":"1","event":"a"}`) != [16]byte{} {
		t.Error("a key though it is off")
	}
	body := config.Source{Preset: "generic", Secrets: secrets("x"), Dedup: "body"}
	if key(body, `{"a":1}`) == key(body, `{"a":2}`) {
		t.Error("two bodies share a key")
	}
	own := config.Source{Preset: "generic", Secrets: secrets("x"), Dedup: `data.order + "/" + string(data.version)`}
	if key(own, `{"order":"7","version":1}`) != key(own, `{"version":1,"order":"7","more":true}`) {
		t.Error("an expression's key depends on more than the expression")
	}
	if _, err := compile(t, own).Read(jsonRequest(`{"order":"7"}`)); reasonOf(err) != core.RejectMalformed {
		t.Errorf("without what the expression reads: %v", err)
	}
}

func TestWindows(t *testing.T) {
	for name, tc := range map[string]struct {
		in   config.Source
		want time.Duration
	}{
		"the preset's":          {config.Source{Preset: "sellsy", Secrets: secrets("x")}, 10 * time.Minute},
		"the source's own":      {config.Source{Preset: "sellsy", Secrets: secrets("x"), DedupWindow: time.Hour}, time.Hour},
		"a body's":              {config.Source{Preset: "github", Secrets: secrets("x"), Dedup: "body"}, 10 * time.Minute},
		"an expression's, 72 h": {config.Source{Preset: "github", Secrets: secrets("x"), Dedup: "data.a"}, 72 * time.Hour},
	} {
		if got := compile(t, tc.in).dedupWindow; got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestRedaction(t *testing.T) {
	for _, tc := range []struct {
		format     core.DataFormat
		paths      string
		body, want string
	}{
		{core.FormatJSON, "a", `{"a":1,"b":2}`, `{"b":2}`},
		{core.FormatJSON, "b", `{"a":1, "b":2 }`, `{"a":1 }`},
		{core.FormatJSON, "b c", `{"a":1,"b":2,"c":3}`, `{"a":1}`},
		{core.FormatJSON, "a b", `{"a":1,"b":2,"c":3}`, `{"c":3}`},
		{core.FormatJSON, "a", `{ "a" : {"x":[1]} }`, `{ }`},
		{core.FormatJSON, "a.*", `{"a":[1,{"x":1}],"b":1}`, `{"a":[null,null],"b":1}`},
		{core.FormatJSON, "**.k", `[{"k":1,"l":{"k":"}"}},"k"]`, `[{"l":{}},"k"]`},
		{core.FormatJSON, `a.b`, `{"\u0061":{"b":1,"c":5.20e+07}}`, `{"\u0061":{"c":5.20e+07}}`},
		{core.FormatJSON, "x", `{"a":1}`, ""},
		{core.FormatJSON, "x", `7`, ""},
		{core.FormatForm, "card", "a=1&c%61rd=4970&b=%20", "a=1&b=%20"},
		{core.FormatForm, "x", "a=1", ""},
		{"form-json:notif", "secret", "a=1&notif=%7B%22secret%22%3A1%2C%22b%22%3A%22%26%22%7D", "a=1&notif=%7B%22b%22%3A%22%26%22%7D"},
	} {
		src := compile(t, config.Source{Preset: "generic", Secrets: secrets("x"), Redact: strings.Fields(tc.paths)})
		got, changed := src.Redact(tc.format, []byte(tc.body))
		want := tc.want
		if want == "" {
			want = tc.body
		}
		if string(got) != want || changed != (tc.want != "") {
			t.Errorf("%s without %s: %s (%v), want %s", tc.body, tc.paths, got, changed, want)
		}
		if _, err := expr.EventData(&core.Event{Format: tc.format, Body: got}); err != nil {
			t.Errorf("%s without %s can't be decoded: %v", tc.body, tc.paths, err)
		}
	}
}

// A request has one Authorization: a test key can't stand where the source's own credentials do.
func TestTestKeyAndCredentialsCanNotBothBeInAuthorization(t *testing.T) {
	key := config.NewSecret("key-of-the-tests-0123")
	for header, refused := range map[string]bool{"Authorization": true, "authorization": true, "X-Token": false} {
		for _, scheme := range []string{"token", "hmac-sha256"} {
			_, err := Compile(config.Source{Name: "x", Test: true, TestKey: &key, Secrets: secrets("token-of-the-tests"),
				Verify: map[string]any{"scheme": scheme, "header": header}}, Embedded())
			if (err != nil) != refused {
				t.Errorf("%s in %s: %v", scheme, header, err)
			}
		}
	}
}
