package ingest

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

// Bounds of the queue of refused requests, and of what each keeps.
const (
	maxRejections      = 1024
	maxRejectionBytes  = 8 << 20
	rejectionBatch     = 256
	rejectionBody      = 4 << 10
	rejectionHeader    = 16 << 10
	rejectionPause     = 200 * time.Millisecond
	rejectionsPerHour  = 100
	maxRejectionCounts = 1 << 14
	// wholeShare is the part of all that is kept which whole bodies from one address may take in an hour, one in so
	// many: forged large ones must not push out those that can be verified again.
	wholeShare = 8
)

// rejections keeps refused requests for the audit, as far as that costs nobody else anything.
type rejections struct {
	store   Store
	metrics Metrics
	log     *slog.Logger

	mu      sync.Mutex
	bounds  store.RejectionBounds
	perHour int
	hour    int64
	counts  map[refuser]refused
	queue   []store.Rejection
	bytes   int
	work    chan struct{} // holds one
}

// refuser is who is refused by which source.
type refuser struct {
	source string
	addr   netip.Addr
}

// refused is what was kept of a refuser in this hour.
type refused struct {
	requests int
	whole    int64 // bytes of whole bodies
}

func newRejections(s Store, metrics Metrics, log *slog.Logger) *rejections {
	return &rejections{store: s, metrics: metrics, log: log, counts: map[refuser]refused{}, work: make(chan struct{}, 1)}
}

func (q *rejections) setBounds(b config.Rejections) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bounds = store.RejectionBounds{PerSource: b.PerSource, Bytes: b.Bytes}
	if q.bounds.PerSource <= 0 {
		q.bounds.PerSource = 10_000
	}
	if q.bounds.Bytes <= 0 {
		q.bounds.Bytes = 64 << 20
	}
	if q.perHour = b.PerHour; q.perHour <= 0 {
		q.perHour = rejectionsPerHour
	}
}

// admit tells whether one more of this source and address is kept in this hour. It is asked before
// anything is copied, so that a flood costs a look in a table.
func (q *rejections) admit(source string, addr netip.Addr, now time.Time) bool {
	key := refuser{source, limitKey(addr)}
	q.mu.Lock()
	ok := q.count(key, now.Unix()/3600)
	q.mu.Unlock()
	if !ok {
		q.metrics.RejectionsLost(1)
	}
	return ok
}

func (q *rejections) count(key refuser, hour int64) bool {
	if hour != q.hour {
		q.hour = hour
		clear(q.counts)
	}
	kept, known := q.counts[key]
	if kept.requests >= q.perHour || !known && len(q.counts) >= maxRejectionCounts || len(q.queue) >= maxRejections {
		return false
	}
	kept.requests++
	q.counts[key] = kept
	return true
}

// admitWhole tells whether a request that was admitted may keep its whole body.
func (q *rejections) admitWhole(source string, addr netip.Addr, size int) bool {
	key := refuser{source, limitKey(addr)}
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.counts[key]
	if kept.whole += int64(size); kept.whole > q.bounds.Bytes/wholeShare {
		return false
	}
	q.counts[key] = kept
	return true
}

func (q *rejections) add(r store.Rejection) {
	size := len(r.Body) + len(r.Header)
	q.mu.Lock()
	full := len(q.queue) >= maxRejections || q.bytes+size > maxRejectionBytes
	if !full {
		q.queue = append(q.queue, r)
		q.bytes += size
	}
	q.mu.Unlock()
	if full {
		q.metrics.RejectionsLost(1)
		return
	}
	select {
	case q.work <- struct{}{}:
	default:
	}
}

// run writes what gathers, a bounded batch at a time with a pause after each, until ctx ends; what is
// left then is written once.
func (q *rejections) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for ctx.Err() == nil {
		select {
		case <-q.work:
		case <-ctx.Done():
		}
		for more := true; more && ctx.Err() == nil; {
			pause.Reset(rejectionPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			more = q.flush()
		}
	}
	q.flush()
}

// flush writes one batch and tells whether there is more. What can't be written is lost, and counted: a
// store that is away must not make this queue the thing that fills the memory.
func (q *rejections) flush() (more bool) {
	q.mu.Lock()
	n := min(len(q.queue), rejectionBatch)
	batch := append([]store.Rejection(nil), q.queue[:n]...)
	rest := copy(q.queue, q.queue[n:])
	clear(q.queue[rest:])
	q.queue = q.queue[:rest]
	for i := range batch {
		q.bytes -= len(batch[i].Body) + len(batch[i].Header)
	}
	bounds := q.bounds
	q.mu.Unlock()
	if n == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitBound)
	defer cancel()
	if err := q.store.AppendRejections(ctx, batch, bounds); err != nil {
		q.log.Warn("refused requests could not be kept for the audit", "requests", n, "error", err)
		q.metrics.RejectionsLost(n)
	}
	return rest > 0
}

// keep hands the refused request to the audit. Requests that were turned away for load or for the
// store's sake are only counted: keeping them would add to it.
func (x *exchange) keep(no *refusal, status int) {
	if x.in.refused == nil || no.reason == core.RejectOverload || no.reason == core.RejectStore {
		return
	}
	name := ""
	if x.entry != nil {
		name = x.entry.Name
	}
	if !x.in.refused.admit(name, x.addr, x.start) {
		return
	}
	r := store.Rejection{
		Tenant: core.DefaultTenant, Source: name, At: x.start, Reason: no.reason, Detail: no.detail, Status: status,
		Method: clip(x.r.Method, 16), Path: x.r.URL.Path, BodySize: max(int64(len(x.body)), x.r.ContentLength),
	}
	if x.addr.IsValid() {
		r.Address = x.addr.String()
	}
	// Of a request to no source nobody knows where its secrets are; its path may be a source's own, mistaken.
	if x.entry == nil {
		for _, src := range x.setup.Sources {
			r.Path = src.Hide(r.Path)
		}
	} else {
		x.req.Header, x.req.Query = x.r.Header, x.r.URL.RawQuery
		query, _ := x.entry.RedactQuery(x.entry.StoredQuery(&x.req))
		query = x.entry.Hide(query)
		r.Query = clip(query, 4<<10)
		r.Header = []byte(x.entry.Hide(string(x.entry.StoredHeader(&x.req))))
		r.Body, r.Complete = x.keptBody(no.reason)
		// What was changed or cut can't be verified again.
		body, path := x.entry.Hide(string(r.Body)), clip(x.entry.Hide(x.entry.HidePath(x.r.URL.Path, x.path)), 512)
		r.Complete = r.Complete && body == string(r.Body) && path == x.r.URL.Path && r.Query == query
		r.Body, r.Path = []byte(body), path
		if len(r.Body) > 0 && int64(len(body)) >= r.BodySize {
			r.Format = x.entry.Readable(&x.req, r.Body)
		}
	}
	r.Path = clip(r.Path, 512) // what is hidden is hidden whole
	if len(r.Header) > rejectionHeader {
		r.Header, r.Complete = r.Header[:bytes.LastIndexByte(r.Header[:rejectionHeader], '\n')+1], false
	}
	x.in.refused.add(r)
}

// keptBody copies as much of the body as is kept: all of it when only the signature was wrong or its key away, so that
// it can be verified again once a wrong secret is mended.
func (x *exchange) keptBody(reason core.RejectReason) (body []byte, complete bool) {
	if x.entry.Redacts() {
		return nil, false
	}
	if (reason == core.RejectBadSignature || reason == core.RejectCertificate) && x.entry.Retriable() && x.in.refused.admitWhole(x.entry.Name, x.addr, len(x.body)) {
		return bytes.Clone(x.body), true
	}
	return bytes.Clone(x.body[:min(len(x.body), rejectionBody)]), false
}

func clip(text string, size int) string { return text[:min(len(text), size)] }
