package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// collectAfter is how much is allocated at least between two runs of Go's collector. A relais that has little in
	// memory, as most do most of the time, would else collect after every few megabytes: with a tenth of the time of a
	// busy one. What has more than this in memory is collected as Go does by itself.
	collectAfter = 64 << 20
	collectEvery = time.Second
)

// tuneCollector keeps the collector from running too often, until ctx ends. Who sets GOGC decides alone.
func tuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	defer debug.SetGCPercent(100)
	for last := 100; ; {
		metrics.Read(live)
		if percent := collectorPercent(live[0].Value.Uint64()); percent < last*9/10 || percent > last*11/10 {
			debug.SetGCPercent(percent)
			last = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// collectorPercent is by how much what lives may grow before it is collected.
func collectorPercent(live uint64) int {
	return int(min(max(100, collectAfter*100/max(live, 1)), 1000))
}
