// Package asyncapi reads relais' AsyncAPI documents with the official parser.
package asyncapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/app"
	"relais/internal/asyncapi"
	"relais/internal/config"
	"relais/internal/source"
)

// parsed is what the parser understood.
type parsed struct {
	Version                                           string
	Servers, Channels, Operations, Messages, Security []string
}

func parse(t *testing.T, document []byte) (parsed, string) {
	t.Helper()
	if _, err := os.Stat("node_modules/@asyncapi/parser"); err != nil {
		t.Fatalf("the parser isn't here: make setup gets it (%v)", err)
	}
	path := filepath.Join(t.TempDir(), "asyncapi.yaml")
	if err := os.WriteFile(path, document, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "check.mjs", path)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil && complaints.Len() == 0 {
		t.Fatalf("the parser did not run: %v", err)
	}
	var p parsed
	if complaints.Len() == 0 {
		if err := json.Unmarshal(out.Bytes(), &p); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return p, complaints.String()
}

func TestAServersDocumentIsAsyncAPI(t *testing.T) {
	const secret = "a-secret-that-nobody-may-see"
	o := app.Options{Version: "1.2.3", Env: func(string) (string, bool) { return "", false }}
	o.Config = filepath.Join(t.TempDir(), "relais.yaml")
	text := `listen: 127.0.0.1:0
admin_listen: 127.0.0.1:0
public_url: https://hooks.example.fr/base
sources:
  sellsy: {preset: sellsy, secret: ` + secret + `}
  flows: {preset: github, secret: ` + secret + `, path: "/n8n/` + secret + `/{flow}"}
  own: {verify: {scheme: token, header: Authorization, prefix: "Bearer "}, secret: ` + secret + `}
  open: {auth: none}
connections: {internal: {kind: sellsy, client_id: internal-id, client_secret: ` + secret + `}}
routes:
  facture: {on: [sellsy/estimate.accepted, open/order.placed], steps: [{use: http/request, with: {url: "https://10.1.2.3/internal"}}]}
`
	if err := os.WriteFile(o.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	document := served(t, o)
	written, err := app.AsyncAPI(o)
	if err != nil || !bytes.Equal(document, written) {
		t.Errorf("the server's document isn't the command's: %v", err)
	}
	for _, hidden := range []string{secret, "internal", "10.1.2.3", "127.0.0.1"} {
		if bytes.Contains(document, []byte(hidden)) {
			t.Errorf("the document holds %s", hidden)
		}
	}
	got, complaints := parse(t, document)
	if complaints != "" {
		t.Fatal(complaints)
	}
	if got.Version != "3.0.0" || !slices.Equal(got.Servers, []string{"https://hooks.example.fr/base"}) {
		t.Errorf("version %s, servers %s", got.Version, got.Servers)
	}
	for what, pair := range map[string][2][]string{
		"channels": {got.Channels, {"/webhook/sellsy", "/in/sellsy", "/n8n/[secret]/{flow}", "/in/flows", "/in/own", "/in/open"}},
		"security": {got.Security, {"sellsy httpApiKey", "flows httpApiKey", "own http"}},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: %q, not %q", what, pair[0], pair[1])
		}
	}
	for _, typ := range []string{"estimate.accepted", "invoice.created", "order.placed"} {
		if !slices.Contains(got.Messages, typ) {
			t.Errorf("no message %s", typ)
		}
	}
	if !slices.Contains(got.Operations, "receive receive.open.post 2") {
		t.Errorf("operations %q", got.Operations)
	}
}

func TestEveryPresetIsDescribed(t *testing.T) {
	c := &config.Config{}
	for _, name := range source.Embedded().Names() {
		preset, err := source.Embedded().Load(name)
		if err != nil {
			t.Fatal(err)
		}
		c.Sources = append(c.Sources, config.Source{Name: name, Preset: name, Path: preset.Path})
	}
	document, err := asyncapi.Document(asyncapi.Options{Config: c, Presets: source.Embedded(), Version: "test", Hide: strings.NewReplacer()})
	if err != nil {
		t.Fatal(err)
	}
	got, complaints := parse(t, document)
	if complaints != "" {
		t.Fatal(complaints)
	}
	if len(got.Channels) < len(c.Sources) || len(got.Servers) != 0 {
		t.Errorf("%d channels of %d sources, servers %s", len(got.Channels), len(c.Sources), got.Servers)
	}
}

func TestTheParserRefusesWhatIsWrong(t *testing.T) {
	_, complaints := parse(t, []byte("asyncapi: 3.0.0\ninfo: {title: relais}\nchannels: {a: {address: '/{b}'}}\n"))
	if !strings.Contains(complaints, "asyncapi.yaml: ") {
		t.Errorf("a document without a version was taken: %q", complaints)
	}
}

// served asks a relais that runs for its document.
func served(t *testing.T, o app.Options) []byte {
	t.Helper()
	ready, ended := make(chan app.Addresses, 1), make(chan error, 1)
	var log bytes.Buffer
	o.Data, o.Log, o.ReadyDelay = filepath.Join(t.TempDir(), "data"), &log, time.Nanosecond
	o.Ready = func(where app.Addresses) { ready <- where }
	a, err := app.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relais ended with %v\n%s", err, log.String())
		}
	}()
	var at app.Addresses
	select {
	case at = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("relais did not start: %v", err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.Admin+"/asyncapi.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/yaml" {
		t.Fatalf("%v: %d %s", err, answer.StatusCode, text)
	}
	return text
}
