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
	small, _, err := r.serve(ctx, filepath.Join(r.dir, "small"), s)
	if err != nil {
		return err
	}
	defer small.kill()
	large, _, err := r.serve(ctx, r.large, s)
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
	r.report.add("event and delivery, none stored", "64 connections", smalls)
	r.report.add(fmt.Sprintf("event and delivery, %d stored", r.opts.Events), "64 connections", larges)
	r.report.judge(Target{Name: fmt.Sprintf("CPU per event with %d stored : with none", r.opts.Events), Unit: "×", Limit: 1.2,
		Turns: ratios(larges, smalls, (*turn).perAccept)})
	if err := small.stop(); err != nil {
		return err
	}
	return large.stop()
}
