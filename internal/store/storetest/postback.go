package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

// Ask runs a statement on the data beside the store that has them open, as a person would with the database's own
// program, and may only read. Every column is text; NULL is "NULL".
type Ask func(t *testing.T, o Options, sql string) [][]string

var postbackTests = map[string]func(*testing.T, *bench){
	"every request is a row, accepted or refused":    postbackShowsAll,
	"a payload is JSON whatever came":                postbackPayloads,
	"a refused request's query may be all that came": postbackQueries,
	"a signature is read where it stands":            postbackSignatures,
	"ids are unique, and stay":                       postbackIDs,
	"an error is what nobody has mended":             postbackErrors,
	"events from before have no status and no proof": postbackOld,
}

func (b *bench) asked(sql string) [][]string {
	b.t.Helper()
	return b.ask(b.t, Options{Now: b.clock.Now, Dir: b.dir}, sql)
}

const postbackColumns = `SELECT CAST(id AS TEXT), source, event_type, signature,
	CASE WHEN signature_valid THEN 'yes' WHEN NOT signature_valid THEN 'no' END, substr(CAST(processed_at AS TEXT), 1, 19),
	CAST(response_code AS TEXT), error FROM ic_postback ORDER BY ic_postback.id`

func postbackShowsAll(t *testing.T, b *bench) {
	b.must(b.Activate(b.ctx(), store.RouteSet{Hash: "set-1", Signed: []core.SignaturePlace{{Source: "sellsy", In: "header", Name: "X-Signature"}}}))
	signed := b.event()
	signed.Event.Header = []byte("Content-Type: application/json\r\nX-Signature: sha1=ab\r\n")
	signed.Event.Verified, signed.Event.Answered = true, 204
	open := b.event()
	open.Event.Source, open.Event.Answered = "anyone", 200
	b.send(signed, open)
	b.advance(time.Minute)
	wrong, lost := b.rejection("sellsy"), b.rejection("")
	wrong.Header = []byte("X-Signature: sha1=cd\r\n")
	lost.Reason, lost.Detail, lost.Status = core.RejectUnknownSource, "", 404
	b.reject(wide, wrong, lost)
	want := [][]string{
		{"1", "sellsy", "estimate.accepted", "sha1=ab", "yes", "2026-05-04 08:00:00", "204", "NULL"},
		{"2", "anyone", "estimate.accepted", "NULL", "NULL", "2026-05-04 08:00:00", "200", "NULL"},
		{"1000000000000001", "sellsy", "NULL", "sha1=cd", "no", "2026-05-04 08:01:00", "401", "signature_invalid: hex SHA-1"},
		{"1000000000000002", "NULL", "NULL", "NULL", "NULL", "2026-05-04 08:01:00", "404", "source_unknown"},
	}
	if diff := cmp.Diff(want, b.asked(postbackColumns)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, at := range want {
		if rows := b.asked("SELECT CAST(id AS TEXT) FROM ic_postback WHERE id = " + at[0]); len(rows) != 1 {
			t.Errorf("%d rows have the id %s", len(rows), at[0])
		}
	}
}

// payloads are bodies, and how they are read. All but the hexadecimal ones are what event.data would be.
var payloads = []struct {
	name, body, query, want string
	format                  core.DataFormat
}{
	{name: "JSON", format: core.FormatJSON, body: `{"a": [1, {"b": "é"}]}`, want: `{"a":[1,{"b":"é"}]}`},
	{name: "JSON that is no object", format: core.FormatJSON, body: `"x"`, want: `"x"`},
	{name: "a form", format: core.FormatForm, body: "Mt=7790&Ref=ORD+1&K=AB%2b%3D&x", want: `{"Mt":"7790","Ref":"ORD 1","K":"AB+=","x":""}`},
	{name: "a field twice", format: core.FormatForm, body: "a=1&&b=2&a=3&a=", want: `{"a":["1","3",""],"b":"2"}`},
	{name: "UTF-8 of every length", format: core.FormatForm, body: "a=%C3%A9t%C3%A9%E2%82%AC%F0%9F%98%80é", want: `{"a":"été€😀é"}`},
	{name: "ISO 8859-1", format: core.FormatForm, body: "a=%E9t%E9&%E0=1", want: `{"a":"été","à":"1"}`},
	{name: "a NUL", format: core.FormatForm, body: "a=%00b", want: `{"a":"\ufffdb"}`},
	{name: "quotes", format: core.FormatForm, body: `"%22\=%0A'`, want: `{"\"\"\\":"\n'"}`},
	{name: "JSON in a field", format: "form-json:notif", body: "notif=%7B%22id%22%3A1%7D", want: `{"id":1}`},
	{name: "no JSON in the field", format: "form-json:notif", body: "notif=x&b=1", want: `{"notif":"x","b":"1"}`},
	{name: "a query", format: core.FormatForm, query: "Mt=7790&Auto=%41", want: `{"Mt":"7790","Auto":"A"}`},
	{name: "a query with bad escapes", format: core.FormatJSON, query: "a=%zz&b=%&c=%4", want: `{"a":"%zz","b":"%","c":"%4"}`},
	{name: "nothing", format: core.FormatNone, want: "NULL"},
	{name: "bytes", format: core.FormatNone, body: "\x00\xff'\"", want: `{"hex":"00ff2722"}`},
	{name: "text", format: core.FormatNone, body: "hello", want: `{"hex":"68656c6c6f"}`},
	{name: "JSON that isn't", format: core.FormatJSON, body: `{"a":`, want: `{"hex":"7b2261223a"}`},
	{name: "an unknown format", format: "", body: "a", want: `{"hex":"61"}`},
	{name: "a large form", format: core.FormatForm, body: "a=" + strings.Repeat("x", 20_000), want: `{"hex":"` + fmt.Sprintf("%x", "a="+strings.Repeat("x", 20_000)) + `"}`},
	{name: "many escapes", format: core.FormatForm, body: "a=" + strings.Repeat("%C3%A9", 500), want: `{"a":"` + strings.Repeat("é", 500) + `"}`},
}

func postbackPayloads(t *testing.T, b *bench) {
	for _, c := range payloads {
		a := b.event()
		a.Event.Format, a.Event.Body, a.Event.Query = c.format, []byte(c.body), c.query
		r := b.rejection("sellsy")
		r.Format, r.Body, r.Query, r.Method = c.format, []byte(c.body), c.query, "GET"
		b.send(a)
		b.reject(wide, r)
	}
	rows := b.asked("SELECT CAST(payload AS TEXT) FROM ic_postback ORDER BY id")
	if len(rows) != 2*len(payloads) {
		t.Fatalf("%d rows, want %d", len(rows), 2*len(payloads))
	}
	for i, row := range rows {
		c := payloads[i%len(payloads)]
		if got, want := decoded(t, row[0]), decoded(t, c.want); !cmp.Equal(got, want) {
			t.Errorf("%s: %.200s, want %.200s", c.name, row[0], c.want)
		}
	}
}

// postbackQueries: a query is what a request says where it came without a body, whatever its method, and not where
// its body wasn't kept.
func postbackQueries(t *testing.T, b *bench) {
	for _, c := range []struct {
		method string
		size   int64
		want   string
	}{
		{"GET", 0, `{"Mt":"7790","Ref":"ORD 1"}`},
		{"POST", 0, `{"Mt":"7790","Ref":"ORD 1"}`},
		{"POST", 12, "NULL"},
		{"PUT", 0, `{"Mt":"7790","Ref":"ORD 1"}`},
	} {
		r := b.rejection("boutique")
		r.Method, r.Query, r.Format, r.Body, r.BodySize = c.method, "Mt=7790&Ref=ORD+1", "", nil, c.size
		b.reject(wide, r)
		rows := b.asked("SELECT CAST(payload AS TEXT) FROM ic_postback ORDER BY id DESC LIMIT 1")
		if got, want := decoded(t, rows[0][0]), decoded(t, c.want); !cmp.Equal(got, want) {
			t.Errorf("%s with %d bytes: %s, want %s", c.method, c.size, rows[0][0], c.want)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	if text == "NULL" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%.200q is no JSON: %v", text, err)
	}
	return v
}

func postbackSignatures(t *testing.T, b *bench) {
	b.must(b.Activate(b.ctx(), store.RouteSet{Hash: "set-1", Signed: []core.SignaturePlace{
		{Source: "header", In: "header", Name: "X-Sig"}, {Source: "query", In: "query", Name: "K"}, {Source: "form", In: "form", Name: "signature"},
		{Source: "json", In: "json", Name: "a.sig"}, {Source: "param", In: "form", Name: "K"}, {Source: "param", In: "query", Name: "K"},
	}}))
	for _, c := range []struct {
		source, header, query, body, want string
		format                            core.DataFormat
	}{
		{"header", "A: b\r\nX-Sig: t=1,v1=aa\r\nX-Sig-Old: zz\r\n", "", "{}", "t=1,v1=aa", core.FormatJSON},
		{"header", "X-Not-X-Sig: b\r\nB: X-Sig: c\r\n", "", "{}", "NULL", core.FormatJSON},
		{"header", "X-Sig: \xff\xfe\r\n", "", "{}", "NULL", core.FormatJSON},
		{"header", "A: \xc3\r\nB: \xa9\x80\x80\r\nX-Sig: ok\r\n", "", "{}", "ok", core.FormatJSON},
		{"header", "", "X-Sig=1", "{}", "NULL", core.FormatJSON},
		{"query", "", "Mt=1&K=AB%2B&KK=2", "", "AB%2B", core.FormatForm},
		{"query", "", "Mt=1&KK=2", "", "NULL", core.FormatForm},
		{"form", "", "", "a=\xff&signature=q%3D", "q%3D", core.FormatForm},
		{"json", "", "", `{"a":{"sig":"s3"}}`, "s3", core.FormatJSON},
		{"json", "", "", `{"a":"sig"}`, "NULL", core.FormatJSON},
		{"json", "", "", `{"a":`, "NULL", core.FormatJSON},
		{"param", "", "K=1", "", "1", core.FormatForm},
		{"param", "", "", "K=2", "2", core.FormatForm},
		{"other", "X-Sig: a\r\n", "K=1", "signature=1", "NULL", core.FormatForm},
	} {
		a := b.event()
		a.Event.Source, a.Event.Header, a.Event.Query, a.Event.Body, a.Event.Format = c.source, []byte(c.header), c.query, []byte(c.body), c.format
		b.send(a)
		rows := b.asked("SELECT signature FROM ic_postback ORDER BY id DESC LIMIT 1")
		if rows[0][0] != c.want {
			t.Errorf("%+v: %q", c, rows[0][0])
		}
	}
}

func postbackIDs(t *testing.T, b *bench) {
	seen := map[string]string{}
	look := func() (now int) {
		ids := map[string]bool{}
		rows := b.asked("SELECT CAST(id AS TEXT), coalesce(source, '') || CAST(processed_at AS TEXT) FROM ic_postback")
		for _, row := range rows {
			if ids[row[0]] {
				t.Errorf("two rows have the id %s", row[0])
			}
			if before, known := seen[row[0]]; known && before != row[1] {
				t.Errorf("%s was %s and is %s", row[0], before, row[1])
			}
			ids[row[0]], seen[row[0]] = true, row[1]
		}
		return len(rows)
	}
	bounds := store.RejectionBounds{PerSource: 3}
	for range 4 {
		b.send(b.event(), b.event())
		b.reject(bounds, b.rejection("sellsy"), b.rejection("other"))
		b.advance(24 * time.Hour)
		look()
		b.restart()
	}
	b.advance(27 * 24 * time.Hour)
	p := month
	b.retainAll(p)
	b.send(b.event())
	b.reject(bounds, b.rejection("sellsy"))
	if n := look(); n != 13 {
		t.Errorf("%d rows after retention, want 13", n)
	}
	// The store's own numbers, as the command line takes them.
	events, err := b.Events(b.ctx(), store.EventFilter{Limit: 1})
	b.must(err)
	for _, id := range []int64{core.EventNumber(events[0].Seq), core.RejectionNumber(b.rejections(store.RejectionFilter{})[0].ID)} {
		if _, there := seen[fmt.Sprint(id)]; !there {
			t.Errorf("nothing has the id %d", id)
		}
	}
}

func postbackErrors(t *testing.T, b *bench) {
	last := func() string { return b.asked("SELECT error FROM ic_postback ORDER BY id DESC LIMIT 1")[0][0] }
	c := b.running("facture")
	o := b.outcome(c, store.VerdictDead)
	o.Reason, o.Message = core.ReasonTimeout, "no answer in 30 s"
	b.must(b.finish(o))
	if got := last(); got != "timeout: no answer in 30 s" {
		t.Errorf("of a dead delivery: %q", got)
	}
	_, err := b.Replay(b.ctx(), store.ReplayParams{Deliveries: []store.NewReplay{{Event: c.Event.ID, Destination: route("facture")}}})
	b.must(err)
	b.must(b.finish(b.outcome(b.claimOne(), store.VerdictSucceeded)))
	if got := last(); got != "NULL" {
		t.Errorf("after its replay succeeded: %q", got)
	}
}

func postbackOld(t *testing.T, b *bench) {
	b.send(b.event())
	b.reject(wide, b.rejection("sellsy"))
	want := [][]string{{"NULL", "NULL"}, {"401", "0"}}
	got := b.asked("SELECT CAST(response_code AS TEXT), CASE WHEN signature_valid THEN '1' WHEN NOT signature_valid THEN '0' END FROM ic_postback ORDER BY id")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
