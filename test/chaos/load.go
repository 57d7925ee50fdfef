package main

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // Sellsy signs with it
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"relais/internal/sandbox"
)

const (
	senders = 24
	// newShare is the part of the webhooks that speak of an estimate that none spoke of before. The
	// others are repeats of the story: the same estimate's status changed again.
	newShare = 0.08
	batch    = 250
)

// load sends signed webhooks at a steady rate and keeps what was acknowledged.
type load struct {
	*world
	// target chooses where the next webhook goes, and is told what came of it: the answer's status, 0 for none.
	target func() (address string, done func(status int, took time.Duration))
	client *http.Client
	random *rand.Rand

	mu      sync.Mutex
	acked   map[int64]int64 // number of the webhook → estimate
	sent    int
	fresh   []int64 // estimates that none was sent of
	used    []int64
	failure error
}

func newLoad(w *world) *load {
	return &load{
		world:  w,
		target: func() (string, func(int, time.Duration)) { return w.listen, func(int, time.Duration) {} },
		acked:  map[int64]int64{}, random: rand.New(rand.NewPCG(w.Seed, 2)),
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: senders}},
	}
}

// run sends until ctx ends, and returns when the last answer is in.
func (l *load) run(ctx context.Context) {
	due := make(chan struct{}, senders)
	var workers sync.WaitGroup
	for range senders {
		workers.Go(func() {
			for range due {
				l.one(ctx)
			}
		})
	}
	began := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		at := began.Add(time.Duration(float64(n) / l.Rate * float64(time.Second)))
		select {
		case <-time.After(time.Until(at)):
			due <- struct{}{}
		case <-ctx.Done():
		}
	}
	close(due)
	workers.Wait()
}

func (l *load) one(ctx context.Context) {
	number, estimate, ok := l.next(ctx)
	if !ok {
		return
	}
	notif := fmt.Sprintf(`{"eventType":"docslog","event":"step","timestamp":"%d","ownerid":"1084","ownertype":"staff","corpid":"%d","relatedtype":"estimate","relatedid":"%d"}`,
		time.Now().Unix(), number, estimate)
	body := []byte(url.Values{"notif": {notif}}.Encode())
	digest := sha1.Sum(append([]byte(signingKey), body...)) //nolint:gosec // Sellsy signs with it
	// A webhook that was sent is waited for: what was acknowledged at the very end counts too.
	address, done := l.target()
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "http://"+address+"/in/sellsy", bytes.NewReader(body))
	if err != nil {
		l.fail(err)
		return
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-Webhook-Signature", hex.EncodeToString(digest[:]))
	began := time.Now()
	response, err := l.client.Do(request)
	if err != nil {
		done(0, time.Since(began))
		return // relais is down, or went down: nothing was acknowledged
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	done(response.StatusCode, time.Since(began))
	switch response.StatusCode {
	case http.StatusOK:
		l.mu.Lock()
		l.acked[number] = estimate
		l.mu.Unlock()
	case http.StatusServiceUnavailable:
	default:
		l.fail(fmt.Errorf("a signed webhook was answered %s", response.Status))
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = err
	}
}

// next chooses what the next webhook is about.
func (l *load) next(ctx context.Context) (number, estimate int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fresh) == 0 {
		ids, err := l.sandbox.AddEstimates(ctx, sandbox.NewEstimates{Count: batch})
		if err != nil {
			if ctx.Err() == nil && l.failure == nil {
				l.failure = err
			}
			return 0, 0, false
		}
		l.fresh = ids
	}
	l.sent++
	number = int64(l.sent)
	if len(l.used) == 0 || l.random.Float64() < newShare {
		estimate, l.fresh = l.fresh[0], l.fresh[1:]
		l.used = append(l.used, estimate)
		return number, estimate, true
	}
	// Most repeats speak of a recent estimate, whose invoice may be in the making.
	recent := min(len(l.used), 1+l.random.IntN(len(l.used)))
	if l.random.IntN(4) > 0 {
		recent = min(len(l.used), 20)
	}
	return number, l.used[len(l.used)-1-l.random.IntN(recent)], true
}

// numberOf reads back the number of a stored webhook.
func numberOf(body []byte) (int64, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut([]byte(form.Get("notif")), []byte(`"corpid":"`))
	digits, _, _ := bytes.Cut(after, []byte(`"`))
	return strconv.ParseInt(string(digits), 10, 64)
}
