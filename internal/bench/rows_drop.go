package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"relais/internal/store"
)

const (
	dropPerSecond = 1000
	// dropAge is how long events are kept by who drops; the days that are dropped are older.
	dropAge = 30 * 24 * time.Hour
	oldDay  = 40
	// keepAge drops nothing.
	keepAge = 100 * 365 * 24 * time.Hour
)

// drop compares answers while a node drops an old day with answers while such a node finds none to drop, and
// then answers while a transaction that reads all events stays open, and a day is to be dropped all the same, with
// answers without.
func (r *run) drop(ctx context.Context) error {
	p, err := r.place(ctx, onPostgres, "drop")
	if err != nil {
		return err
	}
	defer r.remove(p)
	if err := r.fillPlace(ctx, p, PrefillParams{First: 1}); err != nil {
		return err
	}
	c, err := r.serveOn(ctx, p, settings{})
	if err != nil {
		return err
	}
	defer c.kill()
	if err := r.dropDays(ctx, p, c); err != nil {
		return err
	}
	if err := r.dropRead(ctx, p, c); err != nil {
		return err
	}
	return c.stop()
}

// dropDays drops one day in each turn of the one side.
func (r *run) dropDays(ctx context.Context, p place, c *child) error {
	steady := load{connections: connections, perSecond: dropPerSecond}
	took := 0.0
	calm, dropping, err := r.alternate(ctx,
		func(ctx context.Context) (*turn, error) {
			if err := r.oldDay(ctx, p); err != nil {
				return nil, err
			}
			t, _, err := r.besideRetention(ctx, p, c, steady, keepAge)
			return t, err
		},
		func(ctx context.Context) (*turn, error) {
			t, gone, err := r.besideRetention(ctx, p, c, steady, dropAge)
			took = max(took, gone.seconds)
			// The figure is the server's estimate where the day is large.
			if err == nil && gone.Events < r.opts.Events*9/10 {
				err = fmt.Errorf("%w: of %d events %d went", errNotDropped, r.opts.Events, gone.Events)
			}
			return t, err
		})
	if err != nil {
		return err
	}
	r.report.add("ingest, PostgreSQL, no day goes", "1,000/s", calm)
	r.report.add("ingest, PostgreSQL, a day goes", "1,000/s", dropping)
	r.report.judge(Target{Name: fmt.Sprintf("ack p99 while a day of %d events is dropped : without", r.opts.Events), Unit: "×", Limit: 1.2,
		Turns: ratios(dropping, calm, (*turn).p99),
		Note:  fmt.Sprintf("all of a day goes within each turn, by one more node; the slowest took %.1f s", took)})
	return nil
}

var errNotDropped = errors.New("the day isn't gone: the row would not measure what it says")

// gone is what a process has deleted, and how long that took with its start.
type gone struct {
	store.Retained
	seconds float64
}

// besideRetention measures a load in which one more process, like a node's, deletes what is older than age.
func (r *run) besideRetention(ctx context.Context, p place, c *child, l load, age time.Duration) (*turn, gone, error) {
	config, err := r.configure("retain-"+filepath.Base(p.dir), settings{store: p.url})
	if err != nil {
		return nil, gone{}, err
	}
	var done gone
	ended := make(chan error, 1)
	l.started = func(start time.Time, _ time.Duration, _ int64) {
		go func() {
			err := r.part(ctx, &done.Retained, CommandRetain, "--config", config, "--data", p.dir, "--age", age.String())
			done.seconds = time.Since(start).Seconds()
			ended <- err
		}()
	}
	t, err := r.turn(ctx, c, l)
	if err != nil {
		return nil, gone{}, err
	}
	err = <-ended
	return t, done, err
}

// oldDay makes a day of events that is to be dropped, from one that ingest has stored: the rows are as wide as
// real ones, and it doesn't take a month.
func (r *run) oldDay(ctx context.Context, p place) error {
	r.progress("  making an old day of %d events", r.opts.Events)
	var day int
	if err := p.ask(ctx, &day, "SELECT (extract(epoch FROM now()) / 86400)::integer - $1", oldDay); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it has done what it was for
	name := fmt.Sprintf("event_d%d", day)
	for _, sql := range []string{
		fmt.Sprintf("CREATE TABLE %s PARTITION OF event FOR VALUES FROM (%d) TO (%d)", name, day, day+1),
		fmt.Sprintf(`INSERT INTO event (day, seq, id, tenant, source, type, native, at, format, flags, header, query, path, body)
			SELECT %d, -i, gen_random_uuid(), tenant, source, type, native, at - %d::bigint * 86400000000, format, flags, header, query, path, body
			FROM (SELECT * FROM event LIMIT 1) e, generate_series(1, %d) i`, day, oldDay, r.opts.Events),
		// A day that is to go was vacuumed and written to the disk long ago: neither is to happen in a turn.
		"VACUUM (ANALYZE) " + name,
		"CHECKPOINT",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make an old day: %w", err)
		}
	}
	return nil
}

// readTurns is how many turns the long transaction stays open for: at the default length of a turn and
// with their warm-ups, 29 s.
const readTurns = 6

// dropRead measures before, during and after a transaction that reads events without end, as somebody's
// query for a page of figures does. A day is due meanwhile, and can't go before the transaction ends: what
// waits for it must not be what answers wait for.
func (r *run) dropRead(ctx context.Context, p place, c *child) error {
	if err := r.oldDay(ctx, p); err != nil {
		return err
	}
	r.progress("  %d turns without a long query", readTurns/2)
	calm, err := r.steadyTurns(ctx, c, readTurns/2)
	if err != nil {
		return err
	}
	r.progress("  %d turns with one", readTurns)
	began := time.Now()
	beside, reads, err := r.besideRead(ctx, p, c)
	open := time.Since(began)
	if err != nil {
		return err
	}
	r.progress("  %d turns without", readTurns-readTurns/2)
	after, err := r.steadyTurns(ctx, c, readTurns-readTurns/2)
	if err != nil {
		return err
	}
	calm = append(calm, after...)
	r.report.add("ingest, PostgreSQL, no long query", "1,000/s", calm)
	r.report.add("ingest, PostgreSQL, a long query", "1,000/s", beside)
	r.report.judge(Target{Name: "longest answer while a query reads all events and a day is to go", Unit: "ms", Limit: readLimit,
		Turns: each(beside, func(t *turn) float64 { return milliseconds(t.latency, 100) }),
		Note: fmt.Sprintf("one REPEATABLE READ transaction, open for %.0f s, read all events %d times; the rows without are from before and after it",
			open.Seconds(), reads)})
	return nil
}

// readLimit, in milliseconds, tells an ingest that has to share the processors with a query from one that waits
// for it: a lock that the query holds, or that who drops the day holds while waiting for it, is held for seconds.
const readLimit = 1000

func (r *run) steadyTurns(ctx context.Context, c *child, n int) (turns []*turn, err error) {
	for range n {
		t, err := r.turn(ctx, c, load{connections: connections, perSecond: dropPerSecond})
		if err != nil {
			return nil, err
		}
		turns = append(turns, t)
	}
	return turns, nil
}

// besideRead measures while the transaction is open and a day is to go.
func (r *run) besideRead(ctx context.Context, p place, c *child) ([]*turn, int, error) {
	aside, stop := context.WithCancel(ctx)
	defer stop()
	begun, reads := make(chan struct{}), 0
	var others errgroup.Group
	others.Go(func() (err error) {
		reads, err = readAll(aside, p, begun)
		if err != nil {
			stop()
		}
		return err
	})
	select {
	case <-begun:
	case <-aside.Done():
		return nil, 0, others.Wait()
	}
	others.Go(func() error { return r.retainUntil(aside, p) })
	turns, err := r.steadyTurns(ctx, c, readTurns)
	stop()
	err = errors.Join(err, others.Wait())
	return turns, reads, err
}

// readAll reads events in one transaction again and again, until the context ends, and returns how often.
func readAll(ctx context.Context, p place, begun chan<- struct{}) (int, error) {
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return 0, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the transaction has changed nothing
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return 0, fmt.Errorf("read all events: %w", err)
	}
	for n := 0; ; n++ {
		var types, bytes int64
		err := tx.QueryRow(ctx, "SELECT count(DISTINCT type), coalesce(sum(length(body)), 0) FROM event").Scan(&types, &bytes)
		if ctx.Err() != nil {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read all events: %w", err)
		}
		if n == 0 {
			close(begun)
		}
	}
}

// retainUntil deletes what is old, as a node does, again and again until the context ends. While somebody
// reads the day that is to go, that fails or waits.
func (r *run) retainUntil(ctx context.Context, p place) error {
	config, err := r.configure("retain-"+filepath.Base(p.dir), settings{store: p.url})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		err := r.part(ctx, nil, CommandRetain, "--config", config, "--data", p.dir, "--age", dropAge.String())
		if err != nil && ctx.Err() == nil {
			r.progress("  the day doesn't go yet: %s", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}
