package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"relais/internal/api"
)

// deletedMetric counts the events that retention has deleted.
const deletedMetric = `relais_retention_deleted_total{what="events"}`

// retentionWithin is how long relais may take until it begins to delete; it looks once a minute.
const retentionWithin = 2 * time.Minute

var (
	errNoRetention   = errors.New("retention deletes nothing: the row would not measure what it says")
	errRetentionDone = errors.New("retention had nothing left to delete before the last turn ended: ask for more events")
)

// scan compares answers while all events are read through the API and retention deletes with
// answers while neither happens. Retention is the configuration's and doesn't stop between turns, so
// each side has a server of its own on a copy of the large database, and the one with retention is
// stopped (SIGSTOP) while the other is measured.
func (r *run) scan(ctx context.Context) error {
	other, s, err := r.held(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	twin := filepath.Join(r.dir, "twin")
	if err := copyFolder(twin, r.large); err != nil {
		return err
	}
	still, _, err := r.serve(ctx, twin, s)
	if err != nil {
		return err
	}
	defer still.kill()
	s.retention = "30d"
	deleting, _, err := r.serve(ctx, r.large, s)
	if err != nil {
		return err
	}
	defer deleting.kill()
	r.progress("  waiting for retention to begin")
	if err := deleting.awaitDeletion(ctx); err != nil {
		return err
	}
	steady := load{connections: connections, perSecond: 1000}
	var scans, deleted int64
	// The p99 of a turn is what a single hiccup of the disk makes it: more turns than elsewhere find the middle.
	calm, busy, err := r.alternateFor(ctx, 2*r.opts.Rounds-1,
		func(ctx context.Context) (t *turn, err error) {
			if err := pause(deleting.cmd.Process); err != nil {
				return nil, fmt.Errorf("stop the other server: %w", err)
			}
			t, err = r.turn(ctx, still, steady)
			return t, errors.Join(err, resume(deleting.cmd.Process))
		},
		func(ctx context.Context) (*turn, error) {
			t, disturbed, err := r.disturbed(ctx, deleting, steady)
			scans += disturbed.scans
			deleted += disturbed.deleted
			return t, err
		})
	if err != nil {
		return err
	}
	if all, err := deleting.deleted(ctx); err != nil {
		return err
	} else if all >= int64(r.opts.Events/oldPart) {
		return errRetentionDone
	}
	r.report.add("ingest, nothing beside", "1,000/s", calm)
	r.report.add("ingest, scan and retention", "1,000/s", busy)
	r.report.judge(Target{Name: "ack p99 with a full scan and retention : without", Unit: "×", Limit: 2,
		Turns: ratios(busy, calm, (*turn).p99),
		Note:  fmt.Sprintf("%d scans were begun and %d events were deleted in the turns", scans, deleted)})
	return errors.Join(still.stop(), deleting.stop())
}

// disturbance is what happened beside a load.
type disturbance struct{ scans, deleted int64 }

// disturbed measures a load while all events are read again and again and retention deletes.
func (r *run) disturbed(ctx context.Context, c *child, l load) (*turn, disturbance, error) {
	before, err := c.deleted(ctx)
	if err != nil {
		return nil, disturbance{}, err
	}
	type scans struct {
		begun int64
		err   error
	}
	aside, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan scans, 1)
	go func() {
		begun, err := r.scanUntil(aside)
		ended <- scans{begun, err}
	}()
	t, err := r.turn(ctx, c, l)
	cancel()
	scanned := <-ended
	if err := errors.Join(err, scanned.err); err != nil {
		return nil, disturbance{}, err
	}
	after, err := c.deleted(ctx)
	if err == nil && after == before {
		err = errNoRetention
	}
	return t, disturbance{scans: scanned.begun, deleted: after - before}, err
}

// deleted is how many events retention has deleted so far.
func (c *child) deleted(ctx context.Context) (int64, error) {
	n, err := c.metric(ctx, deletedMetric)
	return int64(n), err
}

// metric is the value of one series; 0 where it isn't shown, as a counter that never counted.
func (c *child) metric(ctx context.Context, series string) (float64, error) {
	text, err := c.ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0, fmt.Errorf("read the metrics: %w", err)
			}
			return n, nil
		}
	}
	return 0, nil
}

func (c *child) awaitDeletion(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(retentionWithin)
	for {
		if n, err := c.deleted(ctx); err != nil || n > 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-late:
			return errNoRetention
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// copyFolder copies a folder's files. Sockets that a killed server left behind are not files.
func copyFolder(to, from string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("copy a data folder: %w", err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("copy a data folder: %w", err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(to, entry.Name()), filepath.Join(from, entry.Name())); err != nil {
			return fmt.Errorf("copy a data folder: %w", err)
		}
	}
	return nil
}

func copyFile(to, from string) error {
	source, err := os.Open(from) //nolint:gosec // in the run's own folder
	if err != nil {
		return err
	}
	defer source.Close()                                                     //nolint:errcheck // read to the end
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	// What isn't on the disk yet would be written while the first turns are measured.
	return errors.Join(err, target.Sync(), target.Close())
}

// scanUntil looks at all events again and again until the context ends, by asking the control API for
// those of a type that none has. It returns how often it began. The store ends a read that takes too
// long, which is an answer too (503): no read may hold the log for longer.
func (r *run) scanUntil(ctx context.Context) (int64, error) {
	transport, err := api.Dial(r.large)
	if err != nil {
		return 0, fmt.Errorf("reach the control socket: %w", err)
	}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	var n int64
	for ; ctx.Err() == nil; n++ {
		status, err := get(ctx, &client, "http://relais/api/v1/events?type=nothing.like.this")
		if err != nil && ctx.Err() == nil {
			return n, fmt.Errorf("read all events: %w", err)
		}
		if err == nil && status != http.StatusOK && status != http.StatusServiceUnavailable {
			return n, fmt.Errorf("read all events: %w: status %d", errAnswer, status)
		}
	}
	return n, nil
}

func get(ctx context.Context, client *http.Client, url string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}
