package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

func tecdoc() config.Source {
	return config.Source{Name: "tecdoc", Preset: "tecdoc", Secrets: []config.Secret{config.NewSecret("the-key")}}
}

const tecdocPath = "/api/integrations/tecdoc/webhook"

func tecdocHeader() http.Header {
	return http.Header{"X-Tecdoc-Key": {"the-key"}, "Content-Type": {jsonType}}
}

func product(n int) string {
	return fmt.Sprintf(`{"eventType":"STOCK_UPDATE","productId":"TD-%d","stock":%d,"timestamp":"2024-11-15T02:00:00Z"}`, n, n%100)
}

// TestPartsAreOneCommit: the events of one request are stored together or not at all, each with the bytes
// that stood in the request.
func TestPartsAreOneCommit(t *testing.T) {
	h := open(t, nil, tecdoc())
	body := `{"products": [` + product(1) + ` , ` + product(2) + `,` + product(1) + `]}`
	if got := h.send("POST", tecdocPath, tecdocHeader(), []byte(body)); got.status != 200 {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	events := h.store.stored()
	if len(events) != 3 || !slices.Equal(h.store.batches, []int{3}) {
		t.Fatalf("%d events in commits of %v", len(events), h.store.batches)
	}
	for i, want := range []string{product(1), product(2), product(1)} {
		if string(events[i].Body) != want || events[i].Type != "stock.updated" || events[i].NativeType != "STOCK_UPDATE" {
			t.Errorf("event %d is %s %s", i, events[i].Type, events[i].Body)
		}
	}
	if events[2].RepeatOf != events[0].ID || !events[1].RepeatOf.IsZero() {
		t.Errorf("a product that is said twice: %v", events[2].RepeatOf)
	}
	if got := h.counted.get("events tecdoc false"); got != 2 {
		t.Errorf("%d events are counted, want 2", got)
	}

	h.store.failWith(func(batch []store.Accepted) error {
		if slices.ContainsFunc(batch, func(a store.Accepted) bool { return strings.Contains(string(a.Event.Body), "TD-77") }) {
			return errors.New("bad row")
		}
		return nil
	})
	body = `[` + product(76) + `,` + product(77) + `]`
	if got := h.send("POST", tecdocPath, tecdocHeader(), []byte(body)); got.status != 503 {
		t.Errorf("with a part that can't be stored: answered %d", got.status)
	}
	if got := len(h.store.stored()); got != 3 {
		t.Errorf("%d events are stored: parts of a request that was refused are among them", got)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	h := open(t, nil, tecdoc())
	body := "[" + strings.Repeat("0,", 20_000) + "0]"
	if got := h.send("POST", tecdocPath, tecdocHeader(), []byte(body)); got.status != 400 {
		t.Errorf("with 20,001 parts: answered %d", got.status)
	}
	body = "[" + strings.Repeat("0,", 19_999) + "0]"
	heavy := tecdocHeader()
	heavy.Set("X-Filler", strings.Repeat("x", 10<<10))
	if got := h.send("POST", tecdocPath, heavy, []byte(body)); got.status != 413 || len(h.store.stored()) != 0 {
		t.Errorf("with 20,000 parts and 10 KiB of header for each: answered %d, %d stored", got.status, len(h.store.stored()))
	}
	body = "[" + strings.Repeat(" ", 16<<20) + "]"
	if got := h.send("POST", tecdocPath, tecdocHeader(), []byte(body)); got.status != 413 {
		t.Errorf("with more than 16 MiB: answered %d", got.status)
	}
	if got := h.send("POST", tecdocPath, tecdocHeader(), []byte(`[]`)); got.status != 200 || h.store.stored()[0].Type != "empty" {
		t.Errorf("with none: answered %d, %+v", got.status, h.store.stored())
	}
}

// TestTenThousandProductsAtOnce is a night's list on the real store.
func TestTenThousandProductsAtOnce(t *testing.T) {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	to := core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "stock"}
	if err := db.Activate(ctx, store.RouteSet{Hash: "set", Node: "n", Destinations: []core.Destination{to}}); err != nil {
		t.Fatal(err)
	}
	h := open(t, func(o *Options) {
		o.Store = db
		o.Match = func(*core.Event) Matched {
			return Matched{RouteSet: "set", Deliveries: []store.NewDelivery{{Destination: to, Priority: core.PriorityNormal}}}
		}
	}, tecdoc())
	products := make([]string, 10_000)
	for i := range products {
		products[i] = product(i)
	}
	body := []byte("[" + strings.Join(products, ",") + "]")
	began := time.Now()
	if got := h.send("POST", tecdocPath, tecdocHeader(), body); got.status != 200 {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	took := time.Since(began)
	t.Logf("10,000 products of %d bytes were acknowledged after %s", len(body), took)
	if took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := h.counted.get("events tecdoc false"); got != len(products) {
		t.Errorf("%d events are counted", got)
	}
}
