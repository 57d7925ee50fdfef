// Package ingest takes requests in: it bounds them, verifies them, reads what they say, finds where they
// go, and answers when they are stored.
//
// A 2xx means stored: the event and its deliveries are in one committed and synced transaction before the
// answer leaves. What can't be stored is answered with 503 and Retry-After, whatever the source says
// about answers, and may have been stored nevertheless when the outcome is unknown: the sender's retry is
// then a repeat, or a second event where its messages carry nothing to tell them apart.
//
// Events that arrive while a transaction syncs gather, and the next one takes them all. Nothing waits for
// a batch to fill. Refused requests are kept for the audit by a queue of their own that is bounded, gives
// way, and loses rows (counted) sooner than it delays anything.
package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/store"
)

// Store is what ingest writes to.
type Store interface {
	Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error)
	AppendRejections(ctx context.Context, batch []store.Rejection, bounds store.RejectionBounds) error
}

// Matched is where an event goes.
type Matched struct {
	Deliveries []store.NewDelivery
	// FanOut stores the order to make the deliveries later, in place of the deliveries.
	FanOut   bool
	RouteSet string
}

// Metrics counts what concerns no single source.
type Metrics interface {
	// RejectionsLost counts refused requests that were not kept for the audit.
	RejectionsLost(n int)
	// InFlight is told the bytes held by the requests being handled.
	InFlight(bytes int64)
}

// SourceMetrics are the figures of one source.
type SourceMetrics interface {
	Request()
	Failure(reason core.RejectReason)
	Event(repeat bool)
	Answered(took time.Duration)
}

// UnknownSource is the name under which requests to no source are counted.
const UnknownSource = "(unknown)"

// Options are what an Ingest works with. Settings can be replaced later; the rest can't.
type Options struct {
	Store Store
	// Match finds an event's destinations. It runs for each event before the commit and must not wait
	// for anything. The event's body may not be kept.
	Match func(event *core.Event) Matched
	// Wake is told of each commit, before its answers leave; it must not wait for anything, and must not
	// keep the batch. Nil tells nobody.
	Wake func(batch []store.Accepted, results []store.Appended)
	// InFlight is how many transactions the store has at once; 0 is one.
	InFlight int
	Metrics  Metrics // nil counts nothing
	// Certificates are those that requests name; nil has none.
	Certificates *source.Certificates
	// SourceMetrics returns a source's figures; nil counts nothing.
	SourceMetrics func(name string) SourceMetrics
	Log           *slog.Logger
	Now           func() time.Time
	Settings      Settings
}

// Settings are the part of the configuration that ingest obeys.
type Settings struct {
	Sources        []*source.Source
	TrustedProxies []netip.Prefix
	Bounds         config.Ingest
	// PublicURL is the address that providers call, for the presets that sign it.
	PublicURL string
}

// Ingest is the handler of the listen address. It answers only while Run runs.
type Ingest struct {
	o         Options
	noStore   bool
	setup     atomic.Pointer[setup]
	inFlight  atomic.Int64
	exchanges sync.Pool // *exchange
	committer *committer
	refused   *rejections
}

// setup is the settings in force, ready to be looked things up in.
type setup struct {
	Settings
	byPath   map[string]*entry
	patterns []pattern
	lists    map[string][]byte // what is answered to a GET at such a path
	unknown  SourceMetrics
	limiter  *addressLimiter
}

// entry is a source with what ingest keeps of it.
type entry struct {
	*source.Source
	metrics SourceMetrics
	limiter *rate.Limiter // nil is no limit
	maxBody int64
}

// pattern is a source's path with named parts: /n8n/{workflowId}.
type pattern struct {
	segments []string
	entry    *entry
}

// New returns an Ingest. Run must be called for it to answer.
func New(o Options) (*Ingest, error) {
	in, err := build(o)
	if err != nil {
		return nil, err
	}
	in.committer = newCommitter(o.Store, in.o.Wake, in.o.Log)
	in.refused = newRejections(o.Store, in.o.Metrics, in.o.Log)
	in.refused.setBounds(o.Settings.Bounds.Rejections)
	return in, nil
}

// NoStore returns a handler that bounds, verifies, reads and answers as an Ingest does, and stores
// nothing: what the rest costs is told by comparing with it.
func NoStore(o Options) (http.Handler, error) {
	in, err := build(o)
	if err != nil {
		return nil, err
	}
	in.noStore = true
	return in, nil
}

func build(o Options) (*Ingest, error) {
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	if o.SourceMetrics == nil {
		o.SourceMetrics = func(string) SourceMetrics { return noMetrics{} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	in := &Ingest{o: o}
	in.exchanges.New = func() any { return &exchange{pending: pending{done: make(chan result, 1)}} }
	return in, in.Replace(o.Settings)
}

type noMetrics struct{}

func (noMetrics) RejectionsLost(int)        {}
func (noMetrics) InFlight(int64)            {}
func (noMetrics) Request()                  {}
func (noMetrics) Failure(core.RejectReason) {}
func (noMetrics) Event(bool)                {}
func (noMetrics) Answered(time.Duration)    {}

// Replace puts other settings in force for the requests that come from now on; on an error the old ones
// stay. Limits of addresses and sources whose rates didn't change go on where they were.
func (in *Ingest) Replace(settings Settings) error {
	settings.Bounds = withDefaults(settings.Bounds)
	old := in.setup.Load()
	next := &setup{Settings: settings, byPath: make(map[string]*entry, 2*len(settings.Sources)), lists: map[string][]byte{}, unknown: in.o.SourceMetrics(UnknownSource)}
	next.limiter = newAddressLimiter(settings.Bounds.AddressRate, settings.Bounds.AddressBurst)
	if old != nil && old.limiter.same(next.limiter) {
		next.limiter = old.limiter
	}
	for _, src := range settings.Sources {
		e := &entry{Source: src, metrics: in.o.SourceMetrics(src.Name), maxBody: src.MaxBodyBytes}
		if e.maxBody <= 0 {
			e.maxBody = settings.Bounds.MaxBodyBytes
		}
		e.limiter = sourceLimiter(src, old)
		if err := next.add("/in/"+src.Name, e); err != nil {
			return err
		}
		if src.Path != "" && src.Path != "/in/"+src.Name {
			if err := next.add(src.Path, e); err != nil {
				return err
			}
		}
		if src.EventsPath != "" && next.lists[src.EventsPath] == nil {
			next.lists[src.EventsPath] = typeList(src)
		}
	}
	in.setup.Store(next)
	if in.refused != nil {
		in.refused.setBounds(settings.Bounds.Rejections)
	}
	return nil
}

func withDefaults(b config.Ingest) config.Ingest {
	if b.MaxBodyBytes <= 0 {
		b.MaxBodyBytes = 1 << 20
	}
	if b.InFlightBytes <= 0 {
		b.InFlightBytes = 64 << 20
	}
	if b.BodyTimeout <= 0 {
		b.BodyTimeout = 10 * time.Second
	}
	if b.AddressRate <= 0 {
		b.AddressRate = 1000
	}
	if b.AddressBurst <= 0 {
		b.AddressBurst = 2000
	}
	return b
}

// sourceLimiter returns the source's limiter, the one that is in use when its rate stays.
func sourceLimiter(src *source.Source, old *setup) *rate.Limiter {
	if src.Rate <= 0 {
		return nil
	}
	burst := src.Burst
	if burst <= 0 {
		burst = max(1, int(src.Rate))
	}
	if old != nil {
		if e := old.byPath["/in/"+src.Name]; e != nil && e.limiter != nil && e.limiter.Limit() == rate.Limit(src.Rate) && e.limiter.Burst() == burst {
			return e.limiter
		}
	}
	return rate.NewLimiter(rate.Limit(src.Rate), burst)
}

// typeList is what a source's provider is known to send, for whoever sets it up.
func typeList(src *source.Source) []byte {
	text, err := json.Marshal(map[string]any{"source": src.Name, "events": src.KnownTypes})
	if err != nil {
		return []byte("{}") // texts can be encoded
	}
	return append(text, '\n')
}

func (s *setup) add(path string, e *entry) error {
	if !strings.HasPrefix(path, "/") {
		return core.Errorf(core.CodeInvalid, "source %s: the path %q doesn't begin with /", e.Name, path)
	}
	if strings.Contains(path, "{") {
		s.patterns = append(s.patterns, pattern{strings.Split(path, "/"), e})
		return nil
	}
	if taken := s.byPath[path]; taken != nil {
		return core.Errorf(core.CodeInvalid, "sources %s and %s have the same path %s", taken.Name, e.Name, path)
	}
	s.byPath[path] = e
	return nil
}

// Run commits what arrives until ctx ends; then it commits what has arrived, and returns. Requests after
// that are answered with 503.
func (in *Ingest) Run(ctx context.Context) error {
	if in.noStore {
		return fmt.Errorf("a handler that stores nothing has nothing to run")
	}
	var running sync.WaitGroup
	running.Go(func() { in.refused.run(ctx) })
	in.committer.run(ctx, in.o.InFlight)
	running.Wait()
	return nil
}
