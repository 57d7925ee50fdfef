//go:build unix

package secrets

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"relais/internal/store/postgres/pgtest"
)

// more is the rest of the file: what is planted stands between double angle brackets by its name.
const more = `
sources:
  paiement: {preset: systempay, secrets: {TEST: "<<key of the test shop>>", PRODUCTION: "<<key of the shop>>"}}
  colis: {preset: carriers, secrets: {DHL: "<<key of one carrier>>", UPS_file: key.txt}}
  flux: {preset: n8n, secret: "<<n8n source secret>>"}
  erp: {preset: dolibarr, secret: "<<dolibarr token in the query>>"}
  erp-basic: {preset: dolibarr, path: /erp-basic, secret: "user:<<dolibarr password>>", verify: {variant: basic}}
  erp-path: {preset: dolibarr, path: "/erp-path/{token}", secret: "<<dolibarr token in the path>>", verify: {variant: path}}
  catalogue: {preset: tecdoc, secret: "<<tecdoc key>>"}
connections:
  dolibarr: {kind: dolibarr, url: "http://<<web>>", api_key: "<<dolibarr api key>>", request_timeout: 2s, settle: 5s}
  search: {kind: meilisearch, url: "http://<<web>>", api_key: "<<meilisearch key>>"}
  n8n-header: {kind: n8n, url: "http://<<web>>", header: X-Key, value: "<<n8n header>>"}
  n8n-basic: {kind: n8n, url: "http://<<web>>", user: planted, pass: "<<n8n password>>"}
  n8n-token: {kind: n8n, url: "http://<<web>>", token: "<<n8n token>>"}
  cache: {kind: redis, url: "redis://planted:<<redis password>>@<<redis>>/0"}
  pg: {kind: postgres, url: "postgres://planted:<<postgres password>>@<<postgres>>/shop?sslmode=disable"}
  maria: {kind: mysql, url: "mysql://planted:<<mysql password>>@<<mysql>>/shop?tls=false"}
routes:
`

// uses is a step for each of those connections: all meet a server that refuses them.
var uses = []string{
	"use: dolibarr/get, connection: dolibarr, with: {object: invoices, id: \"7\"}",
	"use: meilisearch/index, connection: search, with: {index: products, documents: {id: 1}}",
	"use: n8n/trigger, connection: n8n-header, with: {path: x, json: {a: 1}}",
	"use: n8n/trigger, connection: n8n-basic, with: {path: x, json: {a: 1}}",
	"use: n8n/trigger, connection: n8n-token, with: {path: x, json: {a: 1}}",
	"use: redis/command, connection: cache, with: {command: [SET, a, b]}",
	"use: sql/query, connection: pg, with: {statement: SELECT 1}",
	"use: sql/query, connection: maria, with: {statement: SELECT 1}",
}

// withTheRest adds the rest to a file: servers that say no in their own protocol, and a route to each.
func (w *world) withTheRest(file string) string {
	names := []string{
		"<<web>>", w.rudeServer(true, "HTTP/1.1 403 Forbidden\r\nContent-Length: 11\r\n\r\ninvalid_key"),
		"<<redis>>", w.rudeServer(true, "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
		"<<postgres>>", w.rudeServer(true, "E\x00\x00\x00\x2fSFATAL\x00VFATAL\x00C28P01\x00Mpassword is not right\x00\x00"),
		"<<mysql>>", w.rudeServer(false, "\x17\x00\x00\x00\xff\x15\x04#28000Access denied."),
	}
	for what, value := range planted {
		names = append(names, "<<"+what+">>", value)
	}
	rest := strings.NewReplacer(names...).Replace(more)
	for i, use := range uses {
		rest += fmt.Sprintf("  reste-%d: {on: [header/**], retry: [0s, 50ms], steps: [{%s}]}\n", i, use)
	}
	for _, section := range []string{"sources", "connections", "routes"} {
		from := strings.Index(rest, "\n"+section+":\n") + len(section) + 3
		text, _, _ := strings.Cut(rest[from:]+"\n\x00", "\n"+map[string]string{"sources": "connections:", "connections": "routes:", "routes": "\x00"}[section])
		file = strings.Replace(file, "\n"+section+":\n", "\n"+section+":\n"+text+"\n", 1)
	}
	return file
}

// meetTheRest sends a request with each of the other credentials, and one with a wrong one in its place.
func (w *world) meetTheRest() {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for mode, key := range map[string]string{"TEST": "key of the test shop", "PRODUCTION": "key of the shop"} {
		mac := hmac.New(sha256.New, []byte(planted[key]))
		mac.Write([]byte("1042+" + mode + "+978+AUTHORISED+" + planted[key]))
		body := "vads_amount=1042&vads_ctx_mode=" + mode + "&vads_currency=978&vads_trans_status=AUTHORISED&signature="
		w.expect(200, w.send("/in/paiement", body+url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), form), key)
		w.expect(401, w.send("/in/paiement", body+"AAAA", form), "a wrong signature of a form")
	}
	wrong := planted["wrong token of a caller"]
	basic := func(password string) map[string]string {
		return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))}
	}
	const erp = `{"triggercode":"BILL_PAYED","object":{"id":%d}}`
	for i, c := range []struct {
		what   string
		path   func(string) string
		body   string
		header func(string) map[string]string
	}{
		{what: "key of one carrier", path: at("/in/colis"), body: `{"carrier":"DHL","trackingNumber":"1","status":"DELIVERED"}`, header: in("X-Api-Key")},
		{what: "tecdoc key", path: at("/in/catalogue"), body: `{"eventType":"STOCK_UPDATE","productId":"1"}`, header: in("X-TecDoc-Key")},
		{what: "n8n source secret", path: then("/api/webhooks/n8n/stock-alerts?secret="), body: `{"event":"stock.low"}`, header: none},
		{what: "dolibarr token in the query", path: then("/webhook?token="), body: erp, header: none},
		{what: "dolibarr token in the path", path: then("/erp-path/"), body: erp, header: none},
		{what: "dolibarr password", path: at("/erp-basic"), body: erp, header: basic},
	} {
		body := c.body
		if body == erp {
			body = fmt.Sprintf(erp, i)
		}
		w.expect(200, w.send(c.path(planted[c.what]), body, c.header(planted[c.what])), c.what)
		w.expect(401, w.send(c.path(wrong), body, c.header(wrong)), "another than the "+c.what)
	}
}

func at(path string) func(string) string { return func(string) string { return path } }
func then(path string) func(string) string {
	return func(secret string) string { return path + secret }
}
func none(string) map[string]string { return nil }

func in(header string) func(string) map[string]string {
	return func(secret string) map[string]string { return map[string]string{header: secret} }
}

// askByView reads the view of all requests, as whoever audits them does.
func (w *world) askByView() {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "data", "relais.db")+"?mode=ro")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(w.t.Context(), `SELECT coalesce(source, ''), signature_valid IS 1,
		json_array(id, source, event_type, payload, signature, signature_valid, processed_at, response_code, error) FROM ic_postback`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	seen := seen{}
	for rows.Next() {
		var source, text string
		var valid bool
		if err := rows.Scan(&source, &valid, &text); err != nil {
			w.t.Fatal(err)
		}
		seen.note(source, valid)
		w.outputs["ic_postback"] = append(append(w.outputs["ic_postback"], text...), '\n')
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	seen.check(w.t)
}

// seen counts the view's rows by source, accepted and refused.
type seen map[string][2]int

func (s seen) note(source string, accepted bool) {
	n := s[source]
	if accepted {
		n[0]++
	} else {
		n[1]++
	}
	s[source] = n
}

// check fails where the view didn't show what came: a search through it would prove nothing.
func (s seen) check(t *testing.T) {
	t.Helper()
	for _, source := range []string{"sellsy", "filed", "header", "query", "basic", "paiement", "colis", "flux", "erp", "erp-basic", "erp-path", "catalogue"} {
		if n := s[source]; n[0] == 0 || n[1] == 0 && source != "filed" && source != "basic" {
			t.Errorf("ic_postback shows %d accepted and %d refused requests of %s", n[0], n[1], source)
		}
	}
}

// againOnPostgres has the same requests come to a relais whose store is PostgreSQL, and reads the view and every table.
func (w *world) againOnPostgres() {
	w.t.Helper()
	database := pgtest.URL(w.t)
	file, err := os.ReadFile(filepath.Join(w.dir, "relais.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.data = "data-beside-postgres"
	w.write("relais.yaml", "store: \""+database+"\"\n"+string(file))
	w.start()
	w.meetEverySecret()
	w.terminate()
	conn, err := pgx.Connect(w.t.Context(), database)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) }()
	seen := seen{}
	var source, text string
	var valid bool
	rows, _ := conn.Query(w.t.Context(), "SELECT coalesce(source, ''), signature_valid IS true, p::text FROM ic_postback p")
	if _, err := pgx.ForEachRow(rows, []any{&source, &valid, &text}, func() error {
		seen.note(source, valid)
		w.outputs["PostgreSQL's ic_postback"] = append(append(w.outputs["PostgreSQL's ic_postback"], text...), '\n')
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	seen.check(w.t)
	rows, _ = conn.Query(w.t.Context(), "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, table := range tables {
		// Bytes are read twice: as text where they are, and in hexadecimal as PostgreSQL writes them.
		for _, form := range []string{"escape", "hex"} {
			if _, err := conn.Exec(w.t.Context(), "SET bytea_output = "+form); err != nil {
				w.t.Fatal(err)
			}
			rows, _ := conn.Query(w.t.Context(), "SELECT t::text FROM "+table+" t")
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				w.t.Fatal(err)
			}
			w.outputs["PostgreSQL's "+table] = append(w.outputs["PostgreSQL's "+table], strings.Join(lines, "\n")...)
		}
	}
	if len(w.outputs["PostgreSQL's public.event"]) == 0 {
		w.t.Errorf("no table of events was read: %q", tables)
	}
}
