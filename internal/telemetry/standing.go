package telemetry

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Standing is what waits for a person, and who is there: figures that take a look at more than one place.
type Standing struct {
	// OrphanedLanes are destinations that the configuration doesn't have any more and for which deliveries wait.
	OrphanedLanes int
	// Undecided are effects of which a person must say what became of them.
	Undecided int
	// Alive are the nodes of the store that work, Gone those whose lease has lapsed.
	Alive, Gone int
	// Stranded are acknowledged events in the spools of nodes that are gone.
	Stranded int
}

// Disk is the file system that holds the data folder.
type Disk struct{ Free, Size uint64 }

// WatchStanding adds the figures of Standing, read from the store at each scrape within a bound, and those of the
// disk. What can't be read is absent.
func (m *Metrics) WatchStanding(read func(context.Context) (Standing, error), disk func() (Disk, error)) {
	m.registry.MustRegister(&standingCollector{read: read, disk: disk})
}

type standingCollector struct {
	read func(context.Context) (Standing, error)
	disk func() (Disk, error)
}

var (
	descOrphaned  = prometheus.NewDesc("relais_orphaned_lanes", "Destinations that the configuration doesn't have any more and for which deliveries wait.", nil, nil)
	descUndecided = prometheus.NewDesc("relais_effects_undecided", "Effects of which a person must say what became of them; counted up to a thousand.", nil, nil)
	descNodes     = prometheus.NewDesc("relais_nodes", "Nodes of the store, by whether they work (alive) or their lease has lapsed (gone).", []string{"state"}, nil)
	descStranded  = prometheus.NewDesc("relais_spool_stranded_events", "Acknowledged events in the spools of nodes that are gone.", nil, nil)
	descFree      = prometheus.NewDesc("relais_data_free_bytes", "Bytes that relais may still write to the file system of its data folder.", nil, nil)
	descSize      = prometheus.NewDesc("relais_data_size_bytes", "Size of the file system of the data folder.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *standingCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOrphaned, descUndecided, descNodes, descStranded, descFree, descSize} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *standingCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if d, err := c.disk(); err == nil {
		gauge(descFree, float64(d.Free))
		gauge(descSize, float64(d.Size))
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeReadBound)
	defer cancel()
	s, err := c.read(ctx)
	if err != nil {
		return // relais_store_up says so
	}
	gauge(descOrphaned, float64(s.OrphanedLanes))
	gauge(descUndecided, float64(s.Undecided))
	gauge(descNodes, float64(s.Alive), "alive")
	gauge(descNodes, float64(s.Gone), "gone")
	gauge(descStranded, float64(s.Stranded))
}
