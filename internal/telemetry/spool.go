package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SpoolFigures are how a node's spool stands.
type SpoolFigures struct {
	State           string
	Events, Aside   int
	Bytes, MaxBytes int64
	Oldest          time.Time
	Spooled, Moved  int64
}

// SpoolStates are what SpoolFigures.State may be.
var SpoolStates = []string{"direct", "spooling", "draining"}

// WatchSpool adds the figures of this node's spool. They are read from memory.
func (m *Metrics) WatchSpool(read func() SpoolFigures, now func() time.Time) {
	m.registry.MustRegister(&spoolCollector{read: read, now: now})
}

type spoolCollector struct {
	read func() SpoolFigures
	now  func() time.Time
}

var (
	descSpoolState   = prometheus.NewDesc("relais_spool_state", "1 for the state in which the spool is: direct, spooling or draining.", []string{"state"}, nil)
	descSpoolEvents  = prometheus.NewDesc("relais_spool_events", "Acknowledged events that wait in the spool for the database.", nil, nil)
	descSpoolBytes   = prometheus.NewDesc("relais_spool_bytes", "Bytes that the spool holds.", nil, nil)
	descSpoolMax     = prometheus.NewDesc("relais_spool_max_bytes", "Bytes that the spool may hold; past it events are answered 503.", nil, nil)
	descSpoolOldest  = prometheus.NewDesc("relais_spool_oldest_seconds", "How long the first event in the spool has waited; 0 when none does.", nil, nil)
	descSpoolAside   = prometheus.NewDesc("relais_spool_aside", "Spooled events that the database refuses for a fault of their own.", nil, nil)
	descSpoolSpooled = prometheus.NewDesc("relais_spool_spooled_total", "Events that were written to the spool.", nil, nil)
	descSpoolMoved   = prometheus.NewDesc("relais_spool_moved_total", "Events that were moved from the spool to the database.", nil, nil)
)

func (c *spoolCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSpoolState, descSpoolEvents, descSpoolBytes, descSpoolMax, descSpoolOldest, descSpoolAside, descSpoolSpooled, descSpoolMoved} {
		out <- d
	}
}

func (c *spoolCollector) Collect(out chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	f := c.read()
	for _, state := range SpoolStates {
		v := 0.0
		if f.State == state {
			v = 1
		}
		put(descSpoolState, prometheus.GaugeValue, v, state)
	}
	oldest := 0.0
	if !f.Oldest.IsZero() {
		oldest = max(0, c.now().Sub(f.Oldest).Seconds())
	}
	put(descSpoolEvents, prometheus.GaugeValue, float64(f.Events))
	put(descSpoolBytes, prometheus.GaugeValue, float64(f.Bytes))
	put(descSpoolMax, prometheus.GaugeValue, float64(f.MaxBytes))
	put(descSpoolOldest, prometheus.GaugeValue, oldest)
	put(descSpoolAside, prometheus.GaugeValue, float64(f.Aside))
	put(descSpoolSpooled, prometheus.CounterValue, float64(f.Spooled))
	put(descSpoolMoved, prometheus.CounterValue, float64(f.Moved))
}
