package sandbox

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// quotas count every request, refused ones too, in windows that start on the clock.
type quotas struct {
	mu      sync.Mutex
	windows [4]quotaWindow
}

type quotaWindow struct {
	header, key string
	length      time.Duration
	limit, used int64
	start       time.Time
}

func newQuotas(perSecond, perMinute int) *quotas {
	orElse := func(n int, other int64) int64 {
		if n > 0 {
			return int64(n)
		}
		return other
	}
	return &quotas{windows: [4]quotaWindow{
		{header: "X-Quota-Remaining-By-Second", key: "api_rate_seconds", length: time.Second, limit: orElse(perSecond, 1_000_000)},
		{header: "X-Quota-Remaining-By-Minute", key: "api_rate_minutes", length: time.Minute, limit: orElse(perMinute, 10_000_000)},
		{header: "X-Quota-Remaining-By-Day", key: "api_rate_days", length: 24 * time.Hour, limit: 1_000_000_000},
		{header: "X-Quota-Remaining-By-Month", key: "api_rate_months", length: 30 * 24 * time.Hour, limit: 30_000_000_000},
	}}
}

// take counts one request, writes what remains, and tells how long to wait where nothing did.
func (q *quotas) take(now time.Time, header http.Header) (wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ok = true
	for i := range q.windows {
		w := &q.windows[i]
		if start := now.Truncate(w.length); start.After(w.start) {
			w.start, w.used = start, 0
		}
		if w.used >= w.limit {
			ok, wait = false, max(wait, w.start.Add(w.length).Sub(now))
		} else {
			w.used++
		}
		header.Set(w.header, strconv.FormatInt(w.limit-w.used, 10))
	}
	return wait, ok
}

func (q *quotas) report() object {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := object{}
	for _, w := range q.windows {
		o[w.key] = object{"limit": w.limit, "used": w.used}
	}
	return o
}
