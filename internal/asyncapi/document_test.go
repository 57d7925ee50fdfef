package asyncapi

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"relais/internal/config"
	"relais/internal/source"
)

var update = flag.Bool("update", false, "write the golden file again")

const acme = `name: acme
title: Acme
docs: https://acme.example/docs
verify: {scheme: hmac-sha256, header: X-Acme-Signature, prefix: "v1=", tolerance: 5m, timestamp: {header: X-Acme-Time}, signed: "{timestamp}.{body}"}
data: json
type: ["{data.event}"]
types: [{of: [order], is: [placed, paid]}]
events:
  - type: order.placed
    doc: "An order was placed: its id is a number."
    content_type: application/json
    header: {X-Acme-Event: "{unique}"}
    sample: '{"event":"order.placed","id":{id},"at":{timestamp},"day":"2026-01-01","flags":["on",null,true,[],{}],"big":52437688123456789,"note":"a: b #c"}'
  - type: order.form
    content_type: application/x-www-form-urlencoded
    sample: 'event=order.form&id={id}'
  - type: order.field
    content_type: application/x-www-form-urlencoded
    field: notif
    sample: '{"event":"order.field"}'
  - type: order.xml
    content_type: application/xml
    sample: '<order id="{id}"/>'
`

func acmeDocument(t *testing.T) []byte {
	t.Helper()
	key := config.NewSecret("a-key-in-a-path")
	c := &config.Config{
		PublicURL: "https://hooks.example.fr/",
		Sources: []config.Source{
			{Name: "shop", Preset: "acme", Path: "/acme/a-key-in-a-path/{shop}", Secrets: []config.Secret{key}},
			{Name: "tests", Preset: "acme", Auth: "none", Test: true},
			{Name: "in-form", Secrets: []config.Secret{key}, Verify: map[string]any{"scheme": "hmac-sha1", "form": "sig"}},
			{Name: "basic", Secrets: []config.Secret{key}, Verify: map[string]any{"scheme": "basic"}},
			{Name: "token", Secrets: []config.Secret{key}, Verify: map[string]any{"scheme": "token", "json": "auth.token"}},
			{Name: "public-key", Secrets: []config.Secret{key}, Verify: map[string]any{"scheme": "ed25519", "query": "sig"}},
		},
		Routes: []config.Route{
			{Name: "ship", On: []string{"shop/order.paid", "*/order.*"}},
			{Name: "other", On: []string{"basic/thing.done", "nobody/thing"}},
			{Name: "try", On: []string{"tests/**"}, Test: true},
		},
	}
	files := fstest.MapFS{
		"acme.yaml":    {Data: []byte(acme)},
		"generic.yaml": {Data: []byte("name: generic\ntitle: Any sender\nverify: {scheme: none}\ndata: json\ntype: [\"{data.type}\"]\n")},
	}
	out, err := Document(Options{Config: c, Presets: source.NewPresets(files), Version: "1.2", Hide: strings.NewReplacer("a-key-in-a-path", "[secret]")})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDocument(t *testing.T) {
	const golden = "testdata/document.yaml"
	got := acmeDocument(t)
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if bytes.Contains(got, []byte("a-key")) {
		t.Error("the document holds a secret")
	}
	for range 20 {
		if !bytes.Equal(acmeDocument(t), got) {
			t.Fatal("two documents of one configuration differ")
		}
	}
}

func TestTextsStayTexts(t *testing.T) {
	texts := []string{"", " ", "on", "No", "null", "~", "1", "1.0", "1e3", "0x1f", "2026-01-01", "12:30", "- a", "a: b", "a #b", "#a", "{a}", "[a]",
		"&a", "*a", "!a", "%a", "@a", "`a", "'a'", `"a"`, `a\b`, "a\nb", "a\tb", "é", "\u2028", "<&>", "a ", " a", "-", "--- a", "/in/a", ".inf", ".nan"}
	var members object
	for i, text := range texts {
		members.add(strings.Repeat("k", i+1), text)
	}
	var out bytes.Buffer
	writeYAML(&out, members, 0)
	var got map[string]any
	if err := yaml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for i, text := range texts {
		if got[strings.Repeat("k", i+1)] != text {
			t.Errorf("%q became %v", text, got[strings.Repeat("k", i+1)])
		}
	}
}
