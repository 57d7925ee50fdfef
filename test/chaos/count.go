package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// The states of deliveries in the database.
const (
	running   = 1
	succeeded = 2
)

func (w *world) database(query func(*sql.DB) error) error {
	path := url.URL{Scheme: "file", Opaque: filepath.Join(w.dir, "data", "relais.db"), RawQuery: "_pragma=busy_timeout(5000)&_pragma=query_only(1)"}
	db, err := sql.Open("sqlite", path.String())
	if err != nil {
		return err
	}
	err = query(db)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// openEffects counts the effects that are open or sent and whose delivery was running when relais died.
func (w *world) openEffects(ctx context.Context) (n int, err error) {
	err = w.database(func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT count(*) FROM effect e JOIN delivery d ON d.id = e.delivery AND d.claim = e.claim
			WHERE e.state IN ('open', 'sent') AND d.state = ?`, running).Scan(&n)
	})
	return n, err
}

// drain waits until no delivery is pending or running.
func (w *world) drain(ctx context.Context) error {
	began := time.Now()
	for {
		var left int
		err := w.database(func(db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT count(*) FROM delivery WHERE state < ?", succeeded).Scan(&left)
		})
		if err != nil {
			return err
		}
		if left == 0 {
			w.report.DrainSeconds = time.Since(began).Seconds()
			return nil
		}
		if time.Since(began) > drainIn {
			w.report.NotCompleted = left
			return fmt.Errorf("%d deliveries are left after %s:\n%s", left, drainIn, w.lastLog())
		}
		w.logf("%d deliveries to go\n", left)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// count compares what was acknowledged with what is there.
func (w *world) count(ctx context.Context, l *load) error {
	stored, completed := map[int64]int64{}, map[int64]int64{} // by the numbers of webhooks
	err := w.database(func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, `SELECT p.body, (SELECT count(*) FROM delivery d WHERE d.event = p.seq AND d.state = ?)
			FROM payload p`, succeeded)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var body []byte
			var done int64
			if err := rows.Scan(&body, &done); err != nil {
				return err
			}
			number, err := numberOf(body)
			if err != nil {
				return err
			}
			stored[number]++
			completed[number] += done
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	inspection, err := w.sandbox.Inspect(ctx)
	if err != nil {
		return err
	}
	w.report.compare(l.acked, stored, completed, inspection.Estimates)
	return nil
}
