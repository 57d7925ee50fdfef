package ingest

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/store"
)

// exchange is one request and its answer. It is used again by later requests, with its buffer.
type exchange struct {
	in    *Ingest
	setup *setup
	entry *entry // nil: the request is to no source
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	addr  netip.Addr
	from  *sender
	path  string // the path's named parts
	req   source.Request

	body     []byte
	reserved int64
	pending  pending
}

// keptBuffer is the largest buffer that an idle exchange keeps.
const keptBuffer = 16 << 10

// keptEvents is the same for the events of a request.
const keptEvents = 4

// ServeHTTP takes one request in.
func (in *Ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := in.exchanges.Get().(*exchange)
	defer x.release()
	x.in, x.setup, x.w, x.r, x.start = in, in.setup.Load(), w, r, in.o.Now()
	x.entry, x.path = x.setup.lookup(r.URL.Path)
	metrics := x.setup.unknown
	if x.entry != nil {
		metrics = x.entry.metrics
	}
	metrics.Request()
	if no := x.serve(); no != nil {
		metrics.Failure(no.reason)
		x.refuse(no)
	}
	metrics.Answered(in.o.Now().Sub(x.start))
}

// release gives back what the exchange held, and forgets the request.
func (x *exchange) release() {
	in, body, done, accepted := x.in, x.body[:0], x.pending.done, x.pending.accepted
	if x.reserved > 0 {
		x.from.held.Add(-x.reserved)
		in.o.Metrics.InFlight(in.inFlight.Add(-x.reserved))
	}
	if cap(body) > keptBuffer {
		body = nil
	}
	clear(accepted)
	if cap(accepted) > keptEvents {
		accepted = nil
	}
	*x = exchange{body: body, pending: pending{done: done, accepted: accepted[:0]}}
	in.exchanges.Put(x)
}

func (s *setup) lookup(path string) (e *entry, parts string) {
	if e = s.byPath[path]; e != nil {
		return e, ""
	}
	for i := range s.patterns {
		if parts, ok := s.patterns[i].match(path); ok {
			return s.patterns[i].entry, parts
		}
	}
	return nil, ""
}

func (p *pattern) match(path string) (string, bool) {
	segments := strings.Split(path, "/")
	if len(segments) != len(p.segments) {
		return "", false
	}
	parts := url.Values{}
	for i, want := range p.segments {
		if name, ok := strings.CutPrefix(want, "{"); ok && segments[i] != "" {
			parts.Set(strings.TrimSuffix(name, "}"), segments[i])
			continue
		}
		if segments[i] != want {
			return "", false
		}
	}
	return parts.Encode(), true
}

// listed tells that the source names the sender's address. What may come from there is the source's rate to
// say: a provider that sends a night's changes at once does so from one address.
func (x *exchange) listed() bool {
	return x.entry != nil && contains(x.entry.AllowIPs, x.addr) && !relayed(x.r, x.setup.TrustedProxies)
}

// serve answers the request, or says why it is refused.
func (x *exchange) serve() *refusal {
	x.addr = clientAddress(x.r, x.setup.TrustedProxies)
	from, ok := x.setup.limiter.allow(x.addr, x.start)
	if x.from = from; !ok && !x.listed() {
		return refuse(core.RejectRate)
	}
	if x.entry == nil {
		if list := x.setup.lists[x.r.URL.Path]; list != nil && x.r.Method == http.MethodGet {
			x.answer(&source.Answer{Status: http.StatusOK, Body: string(list), ContentType: "application/json", Sandboxed: true})
			return nil
		}
		return refuse(core.RejectUnknownSource)
	}
	if !x.mayCome() {
		return refuse(core.RejectAddress)
	}
	if !slices.Contains(x.entry.Methods, x.r.Method) {
		return x.greet()
	}
	if no := x.readBody(); no != nil {
		return no
	}
	x.req = source.Request{Method: x.r.Method, Query: x.r.URL.RawQuery, Header: x.r.Header, Body: x.body, Path: x.path, Now: x.start, Fetches: x.from.fetches}
	if x.entry.SignsURL() {
		x.req.URL = x.publicURL()
	}
	if err := x.entry.Certify(x.r.Context(), x.in.o.Certificates, &x.req); err != nil {
		return x.unverified(refuseFor(err))
	}
	if err := x.entry.Verify(&x.req); err != nil {
		return x.unverified(refuseFor(err))
	}
	if x.entry.limiter != nil && !x.entry.limiter.AllowN(x.start, 1) {
		return &refusal{reason: core.RejectRate, detail: "this source sends more than its rate allows"}
	}
	msg, err := x.entry.Read(&x.req)
	if err != nil {
		return refuseFor(err)
	}
	if msg.Answer != nil {
		x.answer(msg.Answer)
		return nil
	}
	if !x.in.noStore {
		if no := x.store(&msg); no != nil {
			return no
		}
	}
	x.answer(&x.entry.Answer)
	return nil
}

// mayCome tells whether the source takes requests from the sender's address, or from who holds its test key. What
// a proxy on this machine relays isn't of this machine.
func (x *exchange) mayCome() bool {
	named := len(x.entry.AllowIPs) == 0 || contains(x.entry.AllowIPs, x.addr)
	if named && x.entry.Test && x.addr.IsLoopback() && relayed(x.r, x.setup.TrustedProxies) {
		named = false
	}
	return named || x.entry.HoldsTestKey(x.r.Header)
}

// publicURL is the address that the provider called: behind a proxy the request itself doesn't know it.
func (x *exchange) publicURL() string {
	base := strings.TrimSuffix(x.setup.PublicURL, "/")
	if base == "" {
		base = "http://" + x.r.Host
	}
	return base + x.r.URL.RequestURI()
}

// greet answers a request of a method that carries no message.
func (x *exchange) greet() *refusal {
	x.req = source.Request{Method: x.r.Method, Query: x.r.URL.RawQuery, Header: x.r.Header, Path: x.path, Now: x.start}
	msg, err := x.entry.Greet(&x.req)
	switch {
	case err != nil:
		return refuseFor(err)
	case msg.Answer == nil:
		return refuse(core.RejectMethod)
	}
	x.answer(msg.Answer)
	return nil
}

// unverified answers a request without a signature where its provider sends such a one to begin with; any
// other stays refused.
func (x *exchange) unverified(no *refusal) *refusal {
	if no.reason != core.RejectNoSignature && no.reason != core.RejectCredentials {
		return no
	}
	msg, err := x.entry.GreetUnsigned(&x.req)
	if err != nil || msg.Answer == nil {
		return no
	}
	if msg.Keep {
		x.keep(no, msg.Answer.Status)
	}
	x.answer(msg.Answer)
	return nil
}

// store commits the request's events, all of them or none, and waits for it. It waits for nothing else: when
// the client goes away in the meantime the events are stored nevertheless.
func (x *exchange) store(msg *source.Message) *refusal {
	x.pending.accepted = x.pending.accepted[:0]
	with := carry(x.entry.Source, &x.req, x.entry.Answer.Status)
	if with.size()*len(msg.Parts) > maxCarried {
		return &refusal{core.RejectTooLarge, "each of its many messages is stored with the request's header: send fewer at once"}
	}
	if msg.Parts == nil {
		x.pending.accepted = append(x.pending.accepted, accept(x.in.o.Match, x.entry.Source, msg, core.NewEventID(), with, x.start))
	}
	for i := range msg.Parts {
		x.pending.accepted = append(x.pending.accepted, accept(x.in.o.Match, x.entry.Source, &msg.Parts[i], core.NewEventID(), with, x.start))
	}
	done := x.in.committer.commit(&x.pending)
	if done.err != nil {
		// Its outcome may be unknown, and then the store may read the bytes still.
		x.body, x.pending.accepted = nil, nil
		return refuse(core.RejectStore)
	}
	for i := range done.appended {
		x.entry.metrics.Event(!done.appended[i].RepeatOf.IsZero())
	}
	return nil
}

// carried is what all events of a request carry of it.
type carried struct {
	header      []byte
	query, path string
	redacted    bool // the query was
	answered    int
}

// maxCarried bounds what all events of a request carry of it together: a header of some kilobytes, which nobody
// signs, would make gigabytes of a small body.
const maxCarried = 64 << 20

func (c *carried) size() int { return len(c.header) + len(c.query) + len(c.path) }

// carry takes it; answered is what the sender gets, 0 where nobody waits for an answer.
func carry(src *source.Source, req *source.Request, answered int) carried {
	out := carried{header: src.StoredHeader(req), path: src.StoredPath(req), answered: answered}
	out.query, out.redacted = src.RedactQuery(src.StoredQuery(req))
	return out
}

// accept makes a verified message into the event that is stored, and finds its destinations.
func accept(match func(*core.Event) Matched, src *source.Source, msg *source.Message, id core.EventID, with carried, at time.Time) store.Accepted {
	out := store.Accepted{
		Event: core.Event{
			ID: id, Tenant: core.DefaultTenant, Source: src.Name,
			Type: msg.Type, NativeType: msg.NativeType, ReceivedAt: at, Format: msg.Format,
			Header: with.header, Query: with.query, Path: with.path, Test: msg.Test,
			Verified: src.Verifies(), Answered: with.answered,
		},
		DedupKey: msg.DedupKey, DedupWindow: msg.DedupWindow,
	}
	kept, changed := src.Redact(msg.Format, msg.Body)
	out.Event.Body, out.Event.Redacted = kept, changed || with.redacted
	matched := match(&out.Event)
	out.Deliveries, out.FanOut, out.RouteSet = matched.Deliveries, matched.FanOut, matched.RouteSet
	return out
}

// firstBuffer is what a body is given before any of it has come. Bytes are reserved as they arrive and
// not as they are announced: to take up the memory for bodies, a sender has to send them.
const firstBuffer = 8 << 10

// shareOfOne is the part of the bytes in flight that one address may hold, one in so many. Whoever opens
// requests and never sends their bodies reserves a first buffer for each: without a share, one address
// within its rate would have everybody else answered with 503.
const shareOfOne = 4

// readBody reads the whole body into x.body, or says what is wrong with it.
func (x *exchange) readBody() *refusal {
	limit, announced := x.entry.maxBody, x.r.ContentLength
	if announced > limit {
		return refuse(core.RejectTooLarge)
	}
	x.body = x.body[:0]
	first := int64(firstBuffer)
	if announced >= 0 {
		first = min(first, announced)
	}
	if no := x.grow(first); no != nil {
		return no
	}
	for int64(len(x.body)) != announced {
		if len(x.body) == cap(x.body) {
			// One byte past the limit tells a body that is too large from one that just fits.
			if no := x.grow(min(max(limit+1, int64(cap(x.body))+1), 2*int64(cap(x.body)))); no != nil {
				return no
			}
		}
		n, err := x.r.Body.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		if int64(len(x.body)) > limit {
			return refuse(core.RejectTooLarge)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bodyFault(err)
		}
	}
	if announced > 0 && int64(len(x.body)) != announced {
		return refuse(core.RejectTruncated)
	}
	return nil
}

func bodyFault(err error) *refusal {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refuse(core.RejectTimeout)
	}
	return refuse(core.RejectTruncated)
}

// grow makes room for size bytes, after reserving them among the bytes in flight.
func (x *exchange) grow(size int64) *refusal {
	if more := size - x.reserved; more > 0 {
		x.reserved += more
		held := x.from.held.Add(more)
		now := x.in.inFlight.Add(more)
		x.in.o.Metrics.InFlight(now)
		// The share is never less than one body: else no body of that size could come at all.
		share := max(x.setup.Bounds.InFlightBytes/shareOfOne, x.entry.maxBody+1)
		if now > x.setup.Bounds.InFlightBytes || held > share {
			return refuse(core.RejectOverload)
		}
	}
	if int64(cap(x.body)) < size {
		x.body = append(make([]byte, 0, max(size, firstBuffer)), x.body...)
	}
	return nil
}
