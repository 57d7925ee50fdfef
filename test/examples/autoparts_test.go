//go:build linux

package examples

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/step/email/mailtest"
	"relais/internal/step/meilisearch/meilitest"
	"relais/internal/step/redis/redistest"
	"relais/internal/store/postgres/pgtest"
)

const (
	admin        = "admin@autoparts.example.fr"
	cyberplusKey = "1122334455667788"
	flowsSecret  = "abc123def456"
	flowsToken   = "ce-que-n8n-attend"
	searchKey    = "une-cle-de-meilisearch"
)

// carrierKeys are one for each carrier.
var carrierKeys = map[string]string{
	"DHL": "cle-de-dhl-0001", "CHRONOPOST": "cle-de-chronopost-0002", "COLISSIMO": "cle-de-colissimo-0003",
	"UPS": "cle-d-ups-00004", "FEDEX": "cle-de-fedex-0005",
}

// world is what stands around the example: its database, relais' own, Redis, a mail server, Meilisearch, n8n.
type world struct {
	t                  *testing.T
	orders, audit      string
	boutique, postback *pgxpool.Pool
	redis              *redistest.Server
	post               *mailtest.Server
	search             *meilitest.Server
	flows              *flows
}

func openWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, orders: pgtest.URL(t), audit: pgtest.URL(t), redis: redistest.Start(t), post: mailtest.Start(t),
		search: meilitest.Start(t, searchKey), flows: startFlows(t),
	}
	w.boutique, w.postback = w.pool(w.orders), w.pool(w.audit)
	schema, err := os.ReadFile(filepath.Join("..", "..", "examples", "autoparts", "schema.sql"))
	if err != nil {
		t.Fatal(err)
	}
	w.must(string(schema))
	return w
}

func (w *world) pool(url string) *pgxpool.Pool {
	w.t.Helper()
	pool, err := pgxpool.New(w.t.Context(), url)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	return pool
}

// must runs a statement in the shop's database.
func (w *world) must(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.boutique.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}

// order makes an order of 77.90 € and its customer, whose address tells it.
func (w *world) order(reference string) {
	w.t.Helper()
	w.must(`WITH c AS (INSERT INTO customers (name, email) VALUES ('Jeanne Dupont', $1) RETURNING id)
		INSERT INTO orders (reference, customer_id, total_cents) SELECT $2, id, 7790 FROM c`, customer(reference), reference)
}

// customer is the address of an order's customer.
func customer(reference string) string { return strings.ToLower(reference) + "@client.example.fr" }

// ask is the only value of a query's only row, as text; "" where there is none.
func ask(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSuffix(fmt.Sprintln(values...), "\n"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "; ")
}

// mails are those to an address, as their readers see them.
func (w *world) mails(t *testing.T, to string) (out []letter) {
	t.Helper()
	for _, m := range w.post.Mails(t) {
		if l := open(t, m); l.to == to {
			out = append(out, l)
		}
	}
	return out
}

// autoparts is the example at work.
type autoparts struct {
	*example
	*world
	bank *rsa.PrivateKey // Paybox's, as the test has it
}

// playAutoparts plays the example. Verifone's private key is Verifone's own: where bank is given, its public half stands
// in the place that the file has for another key.
func playAutoparts(t *testing.T, w *world, bank *rsa.PrivateKey) *autoparts {
	t.Helper()
	env := map[string]string{
		"ORDERS_DATABASE_URL": w.orders, "RELAIS_DATABASE_URL": w.audit, "REDIS_URL": w.redis.URL() + "/0",
		"MEILISEARCH_URL": w.search.URL, "MEILISEARCH_API_KEY": searchKey, "N8N_URL": w.flows.URL, "N8N_TOKEN": flowsToken,
		"EMAIL_HOST": w.post.Host, "EMAIL_PORT": strconv.Itoa(w.post.Port), "EMAIL_USER": w.post.User, "EMAIL_PASS": w.post.Pass,
		"EMAIL_FROM": "AutoParts <commandes@autoparts.example.fr>", "ADMIN_EMAIL": admin, "CYBERPLUS_KEY": cyberplusKey,
		"TECDOC_KEY": tecdocKey, "TECDOC_ADDRESSES": "127.0.0.1/32", "N8N_WEBHOOK_SECRET": flowsSecret,
	}
	for carrier, key := range carrierKeys {
		env[carrier+"_KEY"] = key
	}
	if bank != nil {
		der, err := x509.MarshalPKIXPublicKey(&bank.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		env["PAYBOX_PUBLIC_KEY"] = base64.StdEncoding.EncodeToString(der)
	}
	a := &autoparts{world: w, bank: bank}
	a.example = play(t, "autoparts", env, func(e *example) {
		e.environ = append(e.environ, "SSL_CERT_FILE="+w.post.Roots)
		if bank != nil {
			e.edit(`# secret: "${PAYBOX_PUBLIC_KEY}"`, `secret: "${PAYBOX_PUBLIC_KEY}"`)
		}
	})
	return a
}

// stored is an event as relais events shows it.
type stored struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Test bool   `json:"test"`
}

func (a *autoparts) events(source string) []stored {
	a.example.t.Helper()
	var list struct {
		Items []stored `json:"items"`
	}
	if err := json.Unmarshal([]byte(a.cli("events", "--source", source, "--json")), &list); err != nil || len(list.Items) == 0 {
		a.example.t.Fatalf("%s: %d events, %v", source, len(list.Items), err)
	}
	return list.Items
}

func newBank(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request is what a sender sends; from is the address that it comes from, where that isn't 127.0.0.1.
type request struct {
	method, path, kind, body string
	header                   []string
	from                     string
}

// answer is what relais said to a request.
type answer struct {
	status int
	body   string
}

func (a *autoparts) call(t *testing.T, r request) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, a.url+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	for i := 0; i+1 < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	client := http.DefaultClient
	if r.from != "" {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(r.from)}}
		transport := &http.Transport{DialContext: dialer.DialContext}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body)}
}
