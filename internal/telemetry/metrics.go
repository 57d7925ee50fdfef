package telemetry

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"relais/internal/core"
)

// Metrics are relais' metrics, on a registry of their own: what a library registers on the default
// registry stays out, and two of them live in one test process.
type Metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.CounterVec
	failures   *prometheus.CounterVec
	processing *prometheus.HistogramVec
	events     *prometheus.CounterVec
	lastEvent  *prometheus.GaugeVec
	// silentAfter is what the configuration says of sources whose rate is known.
	silentAfter *prometheus.GaugeVec
	sources     atomic.Pointer[sourceSet]

	kinds   map[core.DestinationKind]*attempts
	running prometheus.Gauge
	dead    *prometheus.CounterVec
	onDead  *prometheus.CounterVec
	alerts  *prometheus.CounterVec

	rejectionsLost prometheus.Counter
	inFlight       prometheus.Gauge

	writes    map[Work]*writes
	batchSize prometheus.Histogram
	retained  *prometheus.CounterVec

	reloads  *prometheus.CounterVec
	loadedAt prometheus.Gauge
}

// processingBuckets are fine where an answer should be (under 10 ms) and coarse where it shouldn't.
var processingBuckets = []float64{.0005, .001, .0025, .005, .0075, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// attemptBuckets reach the longest attempt that a configuration usually allows.
var attemptBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// NewMetrics makes the metrics of one process. version is the program's.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.newIngest()
	m.newLanes()
	m.newStore()
	m.newProcess(version)
	m.SetSources(nil)
	return m
}

// Handler answers /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true, Timeout: 10 * time.Second})
}

func (m *Metrics) newIngest() {
	m.requests = m.counters("webhook_requests_total", "Requests to a source, whatever came of them.", "source")
	m.failures = m.counters("webhook_failures_total", "Requests that were refused, by reason.", "source", "reason")
	m.events = m.counters("relais_events_total", "Events stored: first ones, and repeats of one that was stored before.", "source", "kind")
	m.lastEvent = m.gauges("relais_source_last_event_timestamp_seconds", "When a source's last event was stored; absent until this process has stored one.", "source")
	m.silentAfter = m.gauges("relais_source_silent_after_seconds", "How long a source may be without an event, where the configuration says so.", "source")
	m.processing = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "webhook_processing_duration_seconds",
		Help:    "From a request's first byte read to its answer, the commit to disk included.",
		Buckets: processingBuckets,
	}, []string{"source"})
	m.rejectionsLost = m.counter("relais_rejections_overflow_total", "Refused requests that were counted but not kept for the audit: the queue or a bound was full.")
	m.inFlight = m.gauge("relais_ingest_in_flight_bytes", "Bytes of the requests being handled now.")
	m.registry.MustRegister(m.processing)
}

func (m *Metrics) newProcess(version string) {
	m.reloads = m.counters("relais_config_reloads_total", "Reloads of the configuration.", "result")
	for _, result := range []string{resultOK, resultFailed} {
		m.reloads.WithLabelValues(result)
	}
	m.loadedAt = m.gauge("relais_config_loaded_timestamp_seconds", "When the configuration in force was loaded.")
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	build := m.gauges("relais_build_info", "Always 1; the labels say what runs.", "version", "revision", "go_version")
	build.WithLabelValues(version, revision, runtime.Version()).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

const (
	resultOK     = "ok"
	resultFailed = "failed"
)

// resultOf is the result label for an operation's error.
func resultOf(err error) string {
	if err != nil {
		return resultFailed
	}
	return resultOK
}

// Loaded notes when the configuration in force was loaded.
func (m *Metrics) Loaded(at time.Time) { m.loadedAt.Set(float64(at.UnixMilli()) / 1000) }

// Reloaded counts a reload, and whether the file had problems.
func (m *Metrics) Reloaded(err error) { m.reloads.WithLabelValues(resultOf(err)).Inc() }

// WatchReady adds what /ready answers, asked at each scrape.
func (m *Metrics) WatchReady(ready func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "relais_ready", Help: "1 when /ready answers 200, else 0."}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}
