package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relais/internal/core"
)

// UnknownSource is the source label of requests to no configured source. No source can have this name.
const UnknownSource = "(unknown)"

// SourceMetrics are one source's series, looked up once: a request costs a few atomic additions.
type SourceMetrics struct {
	requests      prometheus.Counter
	firsts        prometheus.Counter
	repeats       prometheus.Counter
	failures      map[core.RejectReason]prometheus.Counter
	otherFailures prometheus.Counter
	processing    prometheus.Observer
	// last is made by the first event: a zero would say that the source was silent since 1970.
	last func() prometheus.Gauge
}

type sourceSet struct {
	byName  map[string]*SourceMetrics
	unknown *SourceMetrics
}

// rejectReasons are all there are: each has its series from the start, so that an alert on a rate sees
// the first one.
var rejectReasons = []core.RejectReason{
	core.RejectNoSignature, core.RejectBadSignature, core.RejectExpired, core.RejectCredentials, core.RejectAddress,
	core.RejectMethod, core.RejectTooLarge, core.RejectTruncated, core.RejectTimeout, core.RejectMalformed,
	core.RejectEmpty, core.RejectRate, core.RejectOverload, core.RejectStore, core.RejectCertificate, core.RejectUnknownSource,
}

// SetSources makes the series of these sources, and drops those of sources that were removed. It is
// called with each configuration that comes into force.
func (m *Metrics) SetSources(names []string) {
	old := m.sources.Load()
	next := &sourceSet{byName: make(map[string]*SourceMetrics, len(names))}
	if old == nil {
		next.unknown = m.newSource(UnknownSource, []core.RejectReason{core.RejectUnknownSource, core.RejectMethod, core.RejectRate, core.RejectOverload})
	} else {
		next.unknown = old.unknown
	}
	for _, name := range names {
		if old != nil && old.byName[name] != nil {
			next.byName[name] = old.byName[name]
			continue
		}
		next.byName[name] = m.newSource(name, rejectReasons)
	}
	m.sources.Store(next)
	if old == nil {
		return
	}
	for name := range old.byName {
		if next.byName[name] == nil {
			label := prometheus.Labels{"source": name}
			m.requests.DeletePartialMatch(label)
			m.failures.DeletePartialMatch(label)
			m.events.DeletePartialMatch(label)
			m.processing.DeletePartialMatch(label)
			m.lastEvent.DeletePartialMatch(label)
		}
	}
}

func (m *Metrics) newSource(name string, reasons []core.RejectReason) *SourceMetrics {
	s := &SourceMetrics{
		requests:      m.requests.WithLabelValues(name),
		processing:    m.processing.WithLabelValues(name),
		failures:      make(map[core.RejectReason]prometheus.Counter, len(reasons)),
		otherFailures: m.failures.WithLabelValues(name, "other"),
	}
	for _, reason := range reasons {
		s.failures[reason] = m.failures.WithLabelValues(name, string(reason))
	}
	if name != UnknownSource {
		s.firsts = m.events.WithLabelValues(name, "first")
		s.repeats = m.events.WithLabelValues(name, "repeat")
		s.last = sync.OnceValue(func() prometheus.Gauge { return m.lastEvent.WithLabelValues(name) })
	}
	return s
}

// Source returns the series of a configured source, or those that all unknown ones share.
func (m *Metrics) Source(name string) *SourceMetrics {
	set := m.sources.Load()
	if s := set.byName[name]; s != nil {
		return s
	}
	return set.unknown
}

// Request counts a request that arrived.
func (s *SourceMetrics) Request() { s.requests.Inc() }

// Failure counts a request that was refused. A reason that isn't one of core's counts as "other": what
// a request says never makes a series.
func (s *SourceMetrics) Failure(reason core.RejectReason) {
	if c := s.failures[reason]; c != nil {
		c.Inc()
		return
	}
	s.otherFailures.Inc()
}

// Event counts a stored event.
func (s *SourceMetrics) Event(repeat bool) {
	if s.firsts == nil {
		return
	}
	s.last().SetToCurrentTime()
	if repeat {
		s.repeats.Inc()
		return
	}
	s.firsts.Inc()
}

// Answered notes how long an answer took.
func (s *SourceMetrics) Answered(took time.Duration) { s.processing.Observe(took.Seconds()) }

// RejectionsLost counts refused requests that could not be kept.
func (m *Metrics) RejectionsLost(n int) { m.rejectionsLost.Add(float64(n)) }

// InFlight notes the bytes of the requests being handled.
func (m *Metrics) InFlight(bytes int64) { m.inFlight.Set(float64(bytes)) }

// SetSilentAfter notes how long each source may be silent, and drops the sources that say nothing of it.
func (m *Metrics) SetSilentAfter(bySource map[string]time.Duration) {
	m.silentAfter.Reset()
	for name, d := range bySource {
		m.silentAfter.WithLabelValues(name).Set(d.Seconds())
	}
}
