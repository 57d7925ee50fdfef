//go:build unix

// Package secrets plants a known value for every secret that a configuration can hold, makes relais meet
// each of them in every way that could leave a trace, and looks for them wherever relais writes.
package secrets

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relais/internal/app"
	"relais/internal/sandbox"
)

// planted are the values, by what they are for.
var planted = map[string]string{
	"sellsy signing key":      "Zq1planted-signing-key-7f3a",
	"sellsy second key":       "Zq2planted-second-key-91bc",
	"key from a file":         "Zq3planted-from-a-file-02de",
	"hmac key":                "Zq4planted-hmac-key-5510",
	"token in a header":       "Zq5planted-header-token-aa41",
	"token in the query":      "Zq6planted-query-token-c0de",
	"basic password":          "Zq7planted-basic-password-e9",
	"sellsy client secret":    "Zq8planted-client-secret-b7",
	"sellsy personal token":   "Zq9planted-personal-token-d1",
	"slack address":           "Zq10planted-slack-path-3f",
	"mail password":           "Zq11planted-mail-password-6c",
	"authorization of others": "Zq12planted-authorization-8e",
	"cookie of others":        "Zq13planted-cookie-44",
	"wrong token of a caller": "Zq14planted-wrong-token-21",

	"key of the test shop":        "Zq15planted-test-shop-90",
	"key of the shop":             "Zq16planted-shop-5b",
	"key of one carrier":          "Zq17planted-carrier-77",
	"n8n source secret":           "Zq18planted-n8n-source-1d",
	"dolibarr token in the query": "Zq19planted-erp-query-e2",
	"dolibarr token in the path":  "Zq20planted-erp-path-48",
	"dolibarr password":           "Zq21planted-erp-basic-af",
	"tecdoc key":                  "Zq22planted-tecdoc-39",
	"dolibarr api key":            "Zq23planted-erp-api-6b",
	"meilisearch key":             "Zq24planted-search-c4",
	"n8n header":                  "Zq25planted-n8n-header-0e",
	"n8n password":                "Zq26planted-n8n-pass-d3",
	"n8n token":                   "Zq27planted-n8n-token-58",
	"redis password":              "Zq28planted-redis-b1",
	"postgres password":           "Zq29planted-postgres-2a",
	"mysql password":              "Zq30planted-mysql-fe",
}

const configuration = `listen: %[1]s
admin_listen: %[2]s
log: {level: debug, format: json}
lanes: {ready_delay: 0s}
sources:
  sellsy: {preset: sellsy, secrets: ["${PLANTED_SIGNING_KEY}", "%[3]s"]}
  filed: {preset: sellsy, path: /filed, secret_file: key.txt}
  signed: {preset: generic-hmac, secret: "%[4]s"}
  header: {preset: generic, secret: "%[5]s", verify: {scheme: token, header: X-Api-Key}}
  query: {preset: generic, secret: "%[6]s", verify: {scheme: token, query: secret}}
  basic: {preset: generic, secret: "user:%[7]s", verify: {scheme: basic}}
connections:
  compta: {kind: sellsy, base_url: "%[8]s/v2", client_id: planted-client, client_secret: "%[9]s", request_timeout: 2s, settle: 5s}
  static: {kind: sellsy, base_url: "%[8]s/v2", personal_token: "%[10]s", request_timeout: 2s, settle: 5s}
  equipe: {kind: slack, webhook_url: "%[11]s/services/%[12]s"}
  courrier: {kind: smtp, host: 127.0.0.1, port: %[13]d, user: planted, pass: "%[14]s", from: relais@example.fr, tls: starttls}
routes:
  facture:
    on: [sellsy/**]
    retry: [0s, 50ms]
    steps: [{use: sellsy/create-invoice, connection: compta, with: {estimate: "${{ event.data.relatedid }}"}}]
  statique:
    on: [filed/**]
    retry: [0s, 50ms]
    steps: [{use: sellsy/create-invoice, connection: static, with: {estimate: "${{ event.data.relatedid }}"}}]
  autres:
    on: [sellsy/**, header/**, query/**]
    retry: [0s, 50ms]
    steps:
      - {use: slack/post, with: {text: "${{ event.source }}"}}
  courriers:
    on: [sellsy/**, header/**, paiement/**]
    retry: [0s, 50ms]
    steps:
      - {use: email/send, with: {to: [a@example.fr], subject: "x", text: "${{ event.source }}"}}
`

func TestNoSecretIsWrittenAnywhere(t *testing.T) {
	everySecretOfTheCatalogIsPlanted(t)
	w := newWorld(t)
	w.start()
	w.meetEverySecret()
	w.spoilTheFileAndReload()
	w.askEverything()
	w.terminate()
	w.askEverything() // of the stopped folder
	w.askByView()
	w.againOnPostgres()
	w.search()
}

// everySecretOfTheCatalogIsPlanted fails when a connection has a secret that this test doesn't know.
func everySecretOfTheCatalogIsPlanted(t *testing.T) {
	t.Helper()
	catalog, err := app.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	known := []string{
		"sellsy.client_secret", "sellsy.personal_token", "slack.webhook_url", "smtp.pass", "dolibarr.api_key", "meilisearch.api_key",
		"mysql.url", "n8n.value", "n8n.pass", "n8n.token", "postgres.url", "redis.url",
	}
	for _, c := range catalog.Connections {
		for _, p := range c.Params {
			if name := c.Name + "." + p.Name; p.Secret && !slices.Contains(known, name) {
				t.Errorf("the secret %s is not planted: add it to this test", name)
			}
		}
	}
}

type world struct {
	t        *testing.T
	dir      string
	data     string // the data folder's name in dir
	binary   string
	listen   string
	admin    string
	estimate int64
	relais   *exec.Cmd
	outputs  map[string][]byte // what commands and pages said
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), data: "data", outputs: map[string][]byte{}}
	w.binary = filepath.Join(w.dir, "relais")
	w.must(exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", w.binary, "relais/cmd/relais").CombinedOutput())
	sellsy, err := sandbox.Serve("", sandbox.Options{ClientID: "planted-client", ClientSecret: planted["sellsy client secret"], PersonalToken: planted["sellsy personal token"]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sellsy.Close() })
	if w.estimate, err = sellsy.AddEstimate(sandbox.Estimate{}); err != nil {
		t.Fatal(err)
	}
	// Slack and the mail server answer nonsense, so that their errors are written.
	slack := w.rudeServer(true, "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\ninvalid_token")
	mail := w.rudeServer(false, "554 no service here\r\n")
	_, port, _ := net.SplitHostPort(mail)
	w.listen, w.admin = freeAddress(t), freeAddress(t)
	var mailPort int
	if _, err := fmt.Sscan(port, &mailPort); err != nil {
		t.Fatal(err)
	}
	w.write("key.txt", planted["key from a file"]+"\n")
	w.write("relais.yaml", w.withTheRest(fmt.Sprintf(configuration, w.listen, w.admin, planted["sellsy second key"], planted["hmac key"],
		planted["token in a header"], planted["token in the query"], planted["basic password"], sellsy.URL,
		planted["sellsy client secret"], planted["sellsy personal token"], "http://"+slack, planted["slack address"], mailPort, planted["mail password"])))
	return w
}

func (w *world) must(out []byte, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// rudeServer says one thing to whoever connects, and hangs up.
func (w *world) rudeServer(listens bool, text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if listens {
					_, _ = conn.Read(make([]byte, 4096))
				}
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), w.binary, append([]string{"--config", filepath.Join(w.dir, "relais.yaml"), "--data", filepath.Join(w.dir, w.data)}, args...)...)
	cmd.Env = append(os.Environ(), "PLANTED_SIGNING_KEY="+planted["sellsy signing key"])
	return cmd
}

func (w *world) start() {
	log, err := os.OpenFile(filepath.Join(w.dir, "relais.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	w.relais = w.command("serve")
	w.relais.Stdout, w.relais.Stderr = log, log
	if err := w.relais.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.until("relais listens", func() bool {
		conn, err := net.Dial("tcp", w.listen)
		return err == nil && conn.Close() == nil
	})
}

func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-time.After(10 * time.Millisecond) { // another process has no signal to wait on
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(w.dir, "relais.log"))
			w.t.Fatalf("%s: not within 20 s\n%s", what, log)
		}
	}
}

// send posts and keeps the answer; it returns the status.
func (w *world) send(path string, body string, header map[string]string) int {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+w.listen+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Cookie", "session="+planted["cookie of others"])
	request.Header.Set("Authorization", "Bearer "+planted["authorization of others"])
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := httpText(response)
	if err != nil {
		w.t.Fatal(err)
	}
	w.outputs["answer to "+path] = text
	return response.StatusCode
}

func httpText(response *http.Response) ([]byte, error) {
	var text bytes.Buffer
	if err := response.Header.Write(&text); err != nil {
		return nil, err
	}
	if _, err := io.Copy(&text, response.Body); err != nil {
		return nil, err
	}
	return text.Bytes(), response.Body.Close()
}

func (w *world) expect(want, got int, what string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s was answered %d, want %d", what, got, want)
	}
}

func (w *world) meetEverySecret() {
	body := func(i int) string {
		return fmt.Sprintf(`{"eventType":"docslog","event":"step","timestamp":"1778187955","corpid":"%d","relatedtype":"estimate","relatedid":"%d"}`, i, w.estimate)
	}
	for i, key := range []string{planted["sellsy signing key"], planted["sellsy second key"]} {
		w.expect(200, w.send("/in/sellsy", body(i), map[string]string{"X-Webhook-Signature": sandbox.Sign(key, []byte(body(i)))}), "a signed webhook")
	}
	w.expect(200, w.send("/filed", body(3), map[string]string{"X-Webhook-Signature": sandbox.Sign(planted["key from a file"], []byte(body(3)))}), "the key from a file")
	w.expect(401, w.send("/in/sellsy", body(4), map[string]string{"X-Webhook-Signature": sandbox.Sign("wrong", []byte(body(4)))}), "a wrong signature")
	mac := hmac.New(sha256.New, []byte(planted["hmac key"]))
	mac.Write([]byte(`{"event":"a.b"}`))
	w.send("/in/signed", `{"event":"a.b"}`, map[string]string{"X-Signature": hex.EncodeToString(mac.Sum(nil)), "X-Webhook-Signature": hex.EncodeToString(mac.Sum(nil))})
	w.expect(200, w.send("/in/header", `{"event":"a.b"}`, map[string]string{"X-Api-Key": planted["token in a header"]}), "the token in a header")
	w.expect(401, w.send("/in/header", `{"event":"a.b"}`, map[string]string{"X-Api-Key": planted["wrong token of a caller"]}), "a wrong token")
	w.expect(200, w.send("/in/query?a=b&secret="+url.QueryEscape(planted["token in the query"]), `{"event":"a.b"}`, nil), "the token in the query")
	w.expect(401, w.send("/in/query?secret="+url.QueryEscape(planted["wrong token of a caller"]), `{"event":"a.b"}`, nil), "a wrong token in the query")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+planted["basic password"]))
	w.expect(200, w.send("/in/basic", `{"event":"a.b"}`, map[string]string{"Authorization": basic}), "the password")
	w.meetTheRest()
	w.until("every delivery has ended", func() bool {
		out, err := w.command("deliveries", "list", "--state", "pending", "--json").Output()
		more, err2 := w.command("deliveries", "list", "--state", "running", "--json").Output()
		return err == nil && err2 == nil && !bytes.Contains(out, []byte("dlv_")) && !bytes.Contains(more, []byte("dlv_"))
	})
}

// spoilTheFileAndReload makes relais and its commands speak of a file with mistakes beside the secrets.
func (w *world) spoilTheFileAndReload() {
	good, err := os.ReadFile(filepath.Join(w.dir, "relais.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	bad := strings.NewReplacer("client_secret:", "client_secretx:", "pass:", "passs:", "secret_file: key.txt", "secret_file: ["+planted["key from a file"]+"]").Replace(string(good))
	w.write("relais.yaml", bad+"\n  extra: {secret: \""+planted["hmac key"]+"\"}\n")
	w.keep("check", w.command("check"))
	w.keep("check --json", w.command("check", "--json"))
	w.keep("reload", w.command("reload"))
	w.write("relais.yaml", string(good))
	w.keep("check of a good file", w.command("check"))
	w.keep("reload of a good file", w.command("reload"))
}

// keep runs a command and keeps all it says; commands that fail say the most.
func (w *world) keep(name string, cmd *exec.Cmd) {
	out, _ := cmd.CombinedOutput()
	if len(out) == 0 {
		w.t.Errorf("relais %s said nothing", name)
	}
	w.outputs["relais "+name] = append(w.outputs["relais "+name], out...)
}

func (w *world) askEverything() {
	for _, args := range [][]string{
		{"events", "list", "--json"}, {"events", "list"}, {"deliveries", "list", "--json"}, {"rejections", "list", "--json"},
		{"effects", "list", "--json"}, {"status"}, {"status", "--json"}, {"replay", "--source", "sellsy", "--dry-run", "--json"}, {"version"},
	} {
		w.keep(strings.Join(args, " "), w.command(args...))
	}
	for _, word := range strings.FieldsFunc(string(w.outputs["relais events list --json"])+string(w.outputs["relais deliveries list --json"]), func(r rune) bool {
		return r == '"' || r == ',' || r == ' '
	}) {
		switch {
		case strings.HasPrefix(word, "evt_"):
			w.keep("events show "+word, w.command("events", "show", word, "--body", "--json"))
		case strings.HasPrefix(word, "dlv_"):
			w.keep("deliveries show "+word, w.command("deliveries", "show", word, "--json"))
		}
	}
	for id := range 11 {
		w.keep(fmt.Sprintf("rejections show %d", id+1), w.command("rejections", "show", fmt.Sprint(id+1), "--body", "--json"))
	}
	if w.relais == nil {
		return
	}
	for _, page := range []string{"/metrics", "/ready", "/health"} {
		response, err := http.Get("http://" + w.admin + page)
		if err != nil {
			w.t.Fatal(err)
		}
		if w.outputs[page], err = httpText(response); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) terminate() {
	if err := w.relais.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	if err := w.relais.Wait(); err != nil {
		w.t.Errorf("relais ended with %v", err)
	}
	w.relais = nil
}

// search looks for every planted value, as it is and as it could be encoded, in all that was written.
func (w *world) search() {
	written := w.outputs
	err := filepath.WalkDir(w.dir, func(path string, entry os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, w.dir)
		if err != nil || !entry.Type().IsRegular() || slices.Contains([]string{"/relais.yaml", "/key.txt", "/relais"}, name) {
			return err
		}
		written[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, needed := range []string{"/data/relais.db", "/relais.log", "/metrics"} {
		if len(written[needed]) == 0 {
			w.t.Errorf("%s is empty: the search proves nothing", needed)
		}
	}
	for what, value := range planted {
		for form, text := range map[string]string{
			"as it is": value, "in hex": hex.EncodeToString([]byte(value)), "URL-encoded": url.QueryEscape(value),
			"in base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "=")[:16],
			"in Basic":  strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("user:"+value)), "=")[:20],
		} {
			for where, content := range written {
				if bytes.Contains(content, []byte(text)) {
					w.t.Errorf("%s, %s, stands in %s", what, form, where)
				}
			}
		}
	}
}
