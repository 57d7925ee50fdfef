package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Figures are what the store tells when it is asked; none of them scans a table.
type Figures struct {
	Pending, Running, Dead int64
	// OldestDue is when the delivery that waits longest was due; zero when none waits.
	OldestDue  time.Time
	UsedBytes  int64
	WALBytes   int64
	FirstEvent time.Time
}

// Work is a kind of write to the store. It is a label: the set is finite.
type Work string

const (
	WorkAppend     Work = "append"     // accepted events with their deliveries
	WorkClaim      Work = "claim"      // deliveries that are marked as running
	WorkFinish     Work = "finish"     // outcomes
	WorkRejections Work = "rejections" // refused requests
	WorkRetain     Work = "retain"     // slices of retention
)

// writes are the series of one kind of work.
type writes struct {
	ok, failed prometheus.Counter
	took       prometheus.Observer
}

func (m *Metrics) newStore() {
	total := m.counters("relais_store_writes_total", "Writes to the store, by what they were and how they ended.", "work", "result")
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "relais_store_write_duration_seconds",
		Help:    "One write to the store as its caller sees it: waiting its turn, the commit and its sync to disk.",
		Buckets: processingBuckets,
	}, []string{"work"})
	m.registry.MustRegister(took)
	m.writes = make(map[Work]*writes)
	for _, work := range []Work{WorkAppend, WorkClaim, WorkFinish, WorkRejections, WorkRetain} {
		m.writes[work] = &writes{
			ok: total.WithLabelValues(string(work), resultOK), failed: total.WithLabelValues(string(work), resultFailed),
			took: took.WithLabelValues(string(work)),
		}
	}
	m.batchSize = m.histogram("relais_append_batch_size", "Events that were stored with one sync to disk, as ingest gathered them.", prometheus.ExponentialBuckets(1, 2, 11))
	m.retained = m.counters("relais_retention_deleted_total", "Rows deleted for their age or for the size bound.", "what")
}

// Wrote notes one write to the store.
func (m *Metrics) Wrote(work Work, took time.Duration, err error) {
	w := m.writes[work]
	if w == nil {
		return
	}
	w.took.Observe(took.Seconds())
	if err != nil {
		w.failed.Inc()
		return
	}
	w.ok.Inc()
}

// Appended notes how many events one append stored.
func (m *Metrics) Appended(events int) { m.batchSize.Observe(float64(events)) }

// Retained counts rows that retention deleted.
func (m *Metrics) Retained(events, attempts, dedupKeys, rejections int) {
	m.retained.WithLabelValues("events").Add(float64(events))
	m.retained.WithLabelValues("attempts").Add(float64(attempts))
	m.retained.WithLabelValues("dedup_keys").Add(float64(dedupKeys))
	m.retained.WithLabelValues("rejections").Add(float64(rejections))
}

// WatchStore adds the figures that are read from the store at each scrape, within a bound: a store that
// is away makes relais_store_up 0 and must not make /metrics wait.
func (m *Metrics) WatchStore(read func(context.Context) (Figures, error), now func() time.Time) {
	m.registry.MustRegister(&storeCollector{read: read, now: now})
}

const storeReadBound = 2 * time.Second

type storeCollector struct {
	read func(context.Context) (Figures, error)
	now  func() time.Time
}

var (
	descUp         = prometheus.NewDesc("relais_store_up", "1 when the store answered this scrape, else 0.", nil, nil)
	descDeliveries = prometheus.NewDesc("relais_deliveries", "Deliveries in this state now.", []string{"state"}, nil)
	descOldest     = prometheus.NewDesc("relais_oldest_due_seconds", "How long the delivery that waits longest has been due; 0 when none is.", nil, nil)
	descUsed       = prometheus.NewDesc("relais_store_bytes", "Size of the store: used pages, not the file's length.", nil, nil)
	descWAL        = prometheus.NewDesc("relais_store_wal_bytes", "Size of SQLite's write-ahead log.", nil, nil)
	descFirst      = prometheus.NewDesc("relais_oldest_event_timestamp_seconds", "When the oldest event that is kept was received; absent when there is none.", nil, nil)
)

func (c *storeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descDeliveries, descOldest, descUsed, descWAL, descFirst} {
		out <- d
	}
}

func (c *storeCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeReadBound)
	defer cancel()
	f, err := c.read(ctx)
	if err != nil {
		gauge(descUp, 0)
		return
	}
	gauge(descUp, 1)
	gauge(descDeliveries, float64(f.Pending), "pending")
	gauge(descDeliveries, float64(f.Running), "running")
	gauge(descDeliveries, float64(f.Dead), "dead")
	oldest := 0.0
	if !f.OldestDue.IsZero() {
		oldest = max(0, c.now().Sub(f.OldestDue).Seconds())
	}
	gauge(descOldest, oldest)
	gauge(descUsed, float64(f.UsedBytes))
	gauge(descWAL, float64(f.WALBytes))
	if !f.FirstEvent.IsZero() {
		gauge(descFirst, float64(f.FirstEvent.UnixMilli())/1000)
	}
}
