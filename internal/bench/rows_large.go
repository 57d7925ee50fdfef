package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// oldPart is how much of the large database comes on top as events that are older than a month and that
// nothing waits for: what retention deletes. It must last for the turns in which that is measured.
const oldPart = 2

// fill makes the large database once: Options.Events events with a delivery each that is due, and the old
// ones.
func (r *run) fill(ctx context.Context, s settings) error {
	if r.large != "" {
		return nil
	}
	dir := filepath.Join(r.dir, "large")
	r.progress("  storing %d events that wait", r.opts.Events)
	config, err := r.configure("large", s)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, r.opts.Binary, CommandPrefill, "--config", config, "--data", dir, //nolint:gosec // as above
		"--events", strconv.Itoa(r.opts.Events), "--old", strconv.Itoa(r.opts.Events/oldPart))
	cmd.Dir, cmd.Env = r.dir, plainEnvironment()
	endWithUs(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fill a database: %w: %s", err, out)
	}
	bytes, err := size(dir)
	r.progress("  the large database takes %.0f MB", float64(bytes)/megabyte)
	r.large = dir
	return err
}

// held starts the destination that the large database's deliveries wait for.
func (r *run) held(ctx context.Context) (*receiver, settings, error) {
	other, err := newReceiver(ctx)
	if err != nil {
		return nil, settings{}, err
	}
	s := settings{hold: other.url("/hold")}
	if err := r.fill(ctx, s); err != nil {
		other.close()
		return nil, settings{}, err
	}
	return other, s, nil
}

// ready measures from starting the process to its /ready, after it was stopped and after it was killed
// under load.
func (r *run) ready(ctx context.Context) error {
	other, s, err := r.held(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	var stopped, killed []float64
	for range r.opts.Rounds + 2 {
		took, err := r.startAndKill(ctx, s)
		if err != nil {
			return err
		}
		stopped = append(stopped, took)
		again, took2, err := r.serve(ctx, r.large, s)
		if err != nil {
			return err
		}
		killed = append(killed, float64(took2.Microseconds())/1000)
		if err := again.stop(); err != nil {
			return err
		}
	}
	events := strconv.Itoa(r.opts.Events)
	r.report.judge(Target{Name: "start to ready with " + events + " stored", Unit: "ms", Limit: 300, Turns: stopped})
	r.report.judge(Target{Name: "the same after SIGKILL", Unit: "ms", Limit: 300, Turns: killed})
	return nil
}

// startAndKill returns how many milliseconds a start took, and kills the server under load.
func (r *run) startAndKill(ctx context.Context, s settings) (float64, error) {
	server, took, err := r.serve(ctx, r.large, s)
	if err != nil {
		return 0, err
	}
	defer server.kill()
	l := load{address: server.address, path: sourcePath, key: sourceKey, ids: &r.ids,
		connections: 16, perSecond: 500, duration: time.Second}
	l.started = func(time.Time, time.Duration, int64) { time.AfterFunc(800*time.Millisecond, server.kill) }
	_, err = l.do(ctx) // the requests after the kill fail, as they must
	return float64(took.Microseconds()) / 1000, err
}

// waiting measures memory with all those deliveries waiting.
func (r *run) waiting(ctx context.Context) error {
	other, s, err := r.held(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	server, _, err := r.serve(ctx, r.large, s)
	if err != nil {
		return err
	}
	defer server.kill()
	t, err := r.turn(ctx, server, load{connections: connections, perSecond: 1000, duration: 2 * r.opts.Turn})
	if err != nil {
		return err
	}
	r.report.add(fmt.Sprintf("ingest, %d waiting", r.opts.Events), "1,000/s", []*turn{t})
	r.report.judge(Target{Name: fmt.Sprintf("resident memory with %d waiting", r.opts.Events), Unit: "MB", Limit: 250,
		Turns: []float64{float64(t.resident) / megabyte}})
	return server.stop()
}

// stored compares the cost of an event in the large database with that in an empty one.
func (r *run) stored(ctx context.Context) error {
	other, s, err := r.held(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	return r.compareStored(ctx, s, storedIn{place{dir: filepath.Join(r.dir, "small")}, 0},
		storedIn{place{dir: r.large}, r.opts.Events}, "")
}

// storedPostgres is the same on PostgreSQL.
func (r *run) storedPostgres(ctx context.Context) error {
	return r.storedOn(ctx, onPostgres, 0, r.opts.Events)
}

// longFactor is how much larger than Options.Events the database of the long row is, and fewStored what it is
// compared with.
const (
	longFactor = 10
	fewStored  = 10_000
)

// storedLong compares with a database that is ten times as large, on one store after the other.
func (r *run) storedLong(ctx context.Context) error {
	for _, store := range []string{onSQLite, onPostgres} {
		if err := r.storedOn(ctx, store, fewStored, longFactor*r.opts.Events); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

// storedIn is a store with so many events in it.
type storedIn struct {
	place
	events int
}

func (r *run) storedOn(ctx context.Context, store string, few, many int) error {
	other, err := newReceiver(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	s := settings{hold: other.url("/hold")}
	var sides []storedIn
	for _, n := range []int{few, many} {
		p, err := r.place(ctx, store, "stored-"+strconv.Itoa(n))
		if err != nil {
			return err
		}
		defer r.remove(p)
		sides = append(sides, storedIn{p, n})
		if n == 0 {
			continue
		}
		r.progress("  storing %d events, %s", n, store)
		if err := r.fillPlace(ctx, p, PrefillParams{Waiting: n}); err != nil {
			return err
		}
		bytes, err := r.bytes(ctx, p)
		if err != nil {
			return err
		}
		r.progress("  they take %.0f MB", float64(bytes)/megabyte)
	}
	return r.compareStored(ctx, s, sides[0], sides[1], ", "+store)
}

// compareStored names the store in what it reports, where that isn't "".
func (r *run) compareStored(ctx context.Context, s settings, few, many storedIn, store string) error {
	small, err := r.serveOn(ctx, few.place, s)
	if err != nil {
		return err
	}
	defer small.kill()
	large, err := r.serveOn(ctx, many.place, s)
	if err != nil {
		return err
	}
	defer large.kill()
	busy := load{connections: connections}
	smalls, larges, err := r.alternate(ctx,
		func(ctx context.Context) (*turn, error) { return r.turn(ctx, small, busy) },
		func(ctx context.Context) (*turn, error) { return r.turn(ctx, large, busy) })
	if err != nil {
		return err
	}
	fewWords := strconv.Itoa(few.events)
	if few.events == 0 {
		fewWords = "none"
	}
	r.report.add("event and delivery"+store+", "+fewWords+" stored", "64 connections", smalls)
	r.report.add(fmt.Sprintf("event and delivery%s, %d stored", store, many.events), "64 connections", larges)
	target := Target{Name: fmt.Sprintf("CPU per event%s with %d stored : with %s", store, many.events, fewWords),
		Unit: "×", Limit: 1.2, Turns: ratios(larges, smalls, (*turn).perAccept)}
	if on := many.on; on != nil {
		bytes, err := r.bytes(ctx, many.place)
		if err != nil {
			return err
		}
		target.Note = fmt.Sprintf("of relais and PostgreSQL's processes; the large database takes %.0f MB", float64(bytes)/megabyte)
		if !on.counts() {
			target.Note = "of relais without the PostgreSQL that was given"
		}
	}
	r.report.judge(target)
	if err := small.stop(); err != nil {
		return err
	}
	return large.stop()
}

// bytes is what a place takes on the disk.
func (r *run) bytes(ctx context.Context, p place) (int64, error) {
	if p.on == nil {
		return size(p.dir)
	}
	var bytes int64
	err := p.ask(ctx, &bytes, "SELECT pg_database_size(current_database())")
	return bytes, err
}
