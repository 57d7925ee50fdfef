//go:build linux

package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"relais/internal/step/redis/redistest"
)

const (
	tecdocKey  = "cle-de-tecdoc-0123456789"
	tecdocPath = "/api/integrations/tecdoc/webhook"

	night   = 10_000 // products of one night
	senders = 64     // connections at once

	// What senders wait at the most, for one product and for a whole night: past it they give up.
	oneWithin   = 2 * time.Second
	batchWithin = 10 * time.Second
	// allWithin ends a test that waits for what doesn't come. How long it takes is told, and not judged.
	allWithin = 2 * time.Minute

	repriced = 1_000 // products whose price changes several times
	prices   = 5     // so many times each
)

// catalogue is relais with a TecDoc source, the Redis that its routes write to, and one client of each.
type catalogue struct {
	*example
	redis  *goredis.Client
	client *http.Client
}

func startCatalogue(t *testing.T, shop string) *catalogue {
	t.Helper()
	server := redistest.Start(t)
	c := &catalogue{
		example: playFolder(t, filepath.Join("testdata", "tecdoc"), map[string]string{
			"TECDOC_KEY": tecdocKey, "REDIS_URL": server.URL(), "SHOP_URL": shop,
		}),
		redis:  goredis.NewClient(&goredis.Options{Addr: server.Address}),
		client: &http.Client{Timeout: batchWithin, Transport: &http.Transport{MaxIdleConnsPerHost: senders}},
	}
	t.Cleanup(func() {
		c.client.CloseIdleConnections()
		_ = c.redis.Close()
	})
	return c
}

// post sends one body and returns how long its answer took.
func (c *catalogue) post(ctx context.Context, body string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+tecdocPath, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-TecDoc-Key", tecdocKey)
	began := time.Now()
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %d: %s", resp.StatusCode, said)
	}
	return time.Since(began), err
}

// atOnce posts bodies over all connections. Those of one list follow each other: each is sent when the one
// before was acknowledged. It returns how long the answers took, the shortest first.
func (c *catalogue) atOnce(lists [][]string) []time.Duration {
	c.t.Helper()
	work := make(chan []string)
	var mu sync.Mutex
	var took []time.Duration
	var failed []error
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for list := range work {
				for _, body := range list {
					d, err := c.post(c.t.Context(), body)
					mu.Lock()
					took = append(took, d)
					if err != nil {
						failed = append(failed, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, list := range lists {
		work <- list
	}
	close(work)
	all.Wait()
	if len(failed) > 0 {
		c.t.Fatalf("%d of %d were not acknowledged: %v", len(failed), len(took), failed[0])
	}
	slices.Sort(took)
	return took
}

// inRedis waits until each of these keys has its value.
func (c *catalogue) inRedis(want map[string]string) {
	c.t.Helper()
	left := make([]string, 0, len(want))
	for key := range want {
		left = append(left, key)
	}
	c.within(allWithin, fmt.Sprintf("%d values stand in Redis", len(want)), func() bool {
		var still []string
		for part := range slices.Chunk(left, 1000) {
			values, err := c.redis.MGet(c.t.Context(), part...).Result()
			if err != nil {
				c.t.Fatal(err)
			}
			for i, key := range part {
				if values[i] != want[key] {
					still = append(still, key)
				}
			}
		}
		left = still
		return len(left) == 0
	})
}

// stockUpdate is a product's update, and the value that it leaves in Redis.
func stockUpdate(product string, stock int) string {
	return fmt.Sprintf(`{"eventType":"STOCK_UPDATE","productId":"%s","ean":"5012345678900","stock":%d,"supplier":"VALEO","timestamp":"2024-11-15T02:00:00Z"}`, product, stock)
}

// oneNight is a night's updates, and what they leave in Redis.
func oneNight(prefix string) (updates []string, want map[string]string) {
	want = map[string]string{}
	for i := range night {
		product := fmt.Sprintf("%s-%d", prefix, i)
		updates = append(updates, stockUpdate(product, i))
		want["stock:"+product] = fmt.Sprint(i)
	}
	return updates, want
}

// ended waits until so many deliveries have succeeded, and expects that none is left, that none is dead, and
// that so many attempts were refused before.
func (c *catalogue) ended(succeeded, refused int) {
	c.t.Helper()
	var page string
	c.within(allWithin, fmt.Sprintf("%d deliveries succeed", succeeded), func() bool {
		page = c.metrics()
		return strings.Contains(page, fmt.Sprintf("\nrelais_attempts_total{kind=\"route\",reason=\"succeeded\"} %d\n", succeeded))
	})
	if !strings.Contains(page, fmt.Sprintf("\nrelais_attempts_total{kind=\"route\",reason=\"status\"} %d\n", refused)) {
		c.t.Errorf("not %d attempts were refused:\n%s", refused, page)
	}
	for _, d := range c.deliveries() {
		if d.State != "succeeded" {
			c.t.Errorf("%+v", d)
		}
	}
}

func (c *catalogue) metrics() string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.admin+"/metrics", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(page)
}

func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)-1)*p/100].Round(10 * time.Microsecond)
}

func (c *catalogue) figures(what string, acks []time.Duration, sent, done time.Duration, events int) {
	c.t.Helper()
	c.t.Logf("%s: acknowledged p50 %v, p99 %v, max %v; all sent within %v, all in Redis after %v: %.0f events/s",
		what, percentile(acks, 50), percentile(acks, 99), percentile(acks, 100), sent.Round(time.Millisecond), done.Round(time.Millisecond),
		float64(events)/done.Seconds())
}

// A night's updates come at once, each in a request of its own and all in one: each is acknowledged before
// its sender gives up, and none is lost.
func TestANightOfTenThousandProductsIsTakenBothWays(t *testing.T) {
	c := startCatalogue(t, "http://127.0.0.1:1")

	updates, want := oneNight("one")
	lists := make([][]string, len(updates))
	for i, update := range updates {
		lists[i] = []string{update}
	}
	began := time.Now()
	acks := c.atOnce(lists)
	sent := time.Since(began)
	c.inRedis(want)
	c.figures("10,000 requests over 64 connections", acks, sent, time.Since(began), night)
	if slowest := acks[len(acks)-1]; slowest > oneWithin {
		t.Errorf("a product was acknowledged after %v: its sender had given up", slowest)
	}

	updates, want = oneNight("all")
	began = time.Now()
	acks = c.atOnce([][]string{{"[" + strings.Join(updates, ",") + "]"}})
	sent = time.Since(began)
	c.inRedis(want)
	c.figures("one request of 10,000", acks, sent, time.Since(began), night)
	if acks[0] > batchWithin {
		t.Errorf("the night was acknowledged after %v: its sender had given up", acks[0])
	}

	c.ended(2*night, 0)
}

// priceTaker takes prices. It refuses one price of each product the first time that it is asked.
type priceTaker struct {
	*httptest.Server
	mu      sync.Mutex
	refused map[string]bool
	taken   map[string][]int // the prices of each product, as they came
}

func startPriceTaker(t *testing.T) *priceTaker {
	s := &priceTaker{refused: map[string]bool{}, taken: map[string][]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *priceTaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Product string
		Cents   int
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refused[asked.Product] && asked.Cents == refusedPrice(asked.Product) {
		s.refused[asked.Product] = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.taken[asked.Product] = append(s.taken[asked.Product], asked.Cents)
}

// centsOf is the price that a product's change number n gives it.
func centsOf(n int) int { return 1000 + n }

// refusedPrice is the price of a product that is refused once: for some the first, for some the last.
func refusedPrice(product string) int { return centsOf(int(product[len(product)-1]-'0') % prices) }

// Each of a thousand products changes its price five times, and one of the five fails at first: those after
// it wait until it was done, so that the last price is what stands there.
func TestTheLastPriceStandsThoughOneFailedFirst(t *testing.T) {
	taker := startPriceTaker(t)
	c := startCatalogue(t, taker.URL)
	lists, want := make([][]string, repriced), map[string]string{}
	for i := range lists {
		product := fmt.Sprintf("TD-%d", i)
		for n := range prices {
			cents := centsOf(n)
			lists[i] = append(lists[i], fmt.Sprintf(`{"eventType":"PRICE_CHANGE","productId":"%s","priceHT":%d.%02d,"currency":"EUR","supplier":"VALEO","timestamp":"2024-11-15T02:00:%02dZ"}`,
				product, cents/100, cents%100, n))
		}
		want["price:"+product] = fmt.Sprint(centsOf(prices - 1))
	}
	began := time.Now()
	acks := c.atOnce(lists)
	sent := time.Since(began)
	// A last price may stand there before an earlier one overwrites it: only what stands when all have ended counts.
	c.ended(repriced*prices, repriced)
	done := time.Since(began)
	c.inRedis(want)
	c.figures("five prices for each of 1,000 products", acks, sent, done, repriced*prices)
	if slowest := acks[len(acks)-1]; slowest > oneWithin {
		t.Errorf("a price was acknowledged after %v: its sender had given up", slowest)
	}

	taker.mu.Lock()
	defer taker.mu.Unlock()
	if len(taker.refused) != repriced {
		t.Errorf("a price of %d products was refused, want %d", len(taker.refused), repriced)
	}
	for product, taken := range taker.taken {
		if len(taken) != prices || !slices.IsSorted(taken) {
			t.Errorf("the prices of %s came as %v", product, taken)
		}
	}
}
