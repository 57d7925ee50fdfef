package bench

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"
)

const connections = 64

// throughput compares relais with the handler that stores nothing, both as busy as 64 connections make them.
func (r *run) throughput(ctx context.Context) error {
	bare, err := r.serveNoStore(ctx)
	if err != nil {
		return err
	}
	defer bare.kill()
	full, _, err := r.serve(ctx, filepath.Join(r.dir, "throughput"), settings{})
	if err != nil {
		return err
	}
	defer full.kill()
	busy := load{connections: connections}
	bares, fulls, err := r.alternate(ctx,
		func(ctx context.Context) (*turn, error) { return r.turn(ctx, bare, busy) },
		func(ctx context.Context) (*turn, error) { return r.turn(ctx, full, busy) })
	if err != nil {
		return err
	}
	r.report.add("no-store handler", "64 connections", bares)
	r.report.add("ingest with sync", "64 connections", fulls)
	r.report.judge(Target{Name: "server CPU per ack, ingest : no-store", Unit: "×", Limit: 2.5,
		Turns: ratios(fulls, bares, (*turn).perAccept)})
	r.report.judge(Target{Name: "throughput at 64 connections, ingest : no-store", Unit: "×", Limit: 0.5, AtLeast: true,
		Turns: ratios(fulls, bares, (*turn).perSecond),
		Note:  "relais serve runs on one of Go's processors more than there are cores, for the one that waits for the disk; the no-store handler, which waits for none, on Go's default"})
	return full.stop()
}

// latency compares at 1,000 requests a second, and measures the disk between the turns.
func (r *run) latency(ctx context.Context) error {
	const perSecond = 1000
	bare, err := r.serveNoStore(ctx)
	if err != nil {
		return err
	}
	defer bare.kill()
	full, _, err := r.serve(ctx, filepath.Join(r.dir, "latency"), settings{})
	if err != nil {
		return err
	}
	defer full.kill()
	steady := load{connections: connections, perSecond: perSecond}
	var disk []*turn
	bares, fulls, err := r.alternate(ctx,
		func(ctx context.Context) (*turn, error) { return r.turn(ctx, bare, steady) },
		func(ctx context.Context) (*turn, error) {
			seen, err := syncs(ctx, r.dir, perSecond, r.opts.Turn)
			if err != nil {
				return nil, err
			}
			m := newMeasured()
			m.latency, m.elapsed = seen, r.opts.Turn
			m.answered[200] = seen.TotalCount()
			disk = append(disk, &turn{measured: m})
			return r.turn(ctx, full, steady)
		})
	if err != nil {
		return err
	}
	r.report.add("no-store handler", "1,000/s", bares)
	r.report.add("write and sync of 16 KiB", "≤ 1,000/s", disk)
	r.report.add("ingest with sync", "1,000/s", fulls)
	above := make([]float64, len(fulls))
	for i := range fulls {
		above[i] = (fulls[i].p99() - bares[i].p99()) / disk[i].p99()
	}
	r.report.judge(Target{Name: "ack p99 at 1,000/s above no-store's, in fsync p99", Unit: "×", Limit: 3, Turns: above,
		Note: "(ingest p99 − no-store p99) ÷ p99 of a 16 KiB write and fdatasync on the same disk, turn by turn"})
	r.report.judge(Target{Name: "resident memory at 1,000/s", Unit: "MB", Limit: 150,
		Turns: each(fulls, func(t *turn) float64 { return float64(t.resident) / megabyte })})
	return full.stop()
}

// quiet measures the answers of a server with little to do, where no commit is shared.
func (r *run) quiet(ctx context.Context) error {
	full, _, err := r.serve(ctx, filepath.Join(r.dir, "quiet"), settings{})
	if err != nil {
		return err
	}
	defer full.kill()
	var turns []*turn
	for range r.opts.Rounds {
		t, err := r.turn(ctx, full, load{connections: 8, perSecond: 100})
		if err != nil {
			return err
		}
		turns = append(turns, t)
	}
	r.report.add("ingest with sync", "100/s", turns)
	r.report.judge(Target{Name: "ack p99 at 100/s", Unit: "ms", Limit: 10, Turns: each(turns, (*turn).p99)})
	return full.stop()
}

// endToEnd measures from when a webhook was due to when the system at the other end has the request of
// the route's step.
func (r *run) endToEnd(ctx context.Context) error {
	const perSecond = 500
	other, err := newReceiver(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	full, _, err := r.serve(ctx, filepath.Join(r.dir, "end-to-end"), settings{deliver: other.url("/arrived")})
	if err != nil {
		return err
	}
	defer full.kill()
	l := load{connections: connections, perSecond: perSecond, duration: r.opts.Turn}
	l.started = func(start time.Time, interval time.Duration, first int64) {
		other.expect(start, interval, first, int64(l.duration.Seconds()*perSecond))
	}
	var acks, ends []*turn
	for range r.opts.Rounds {
		t, err := r.turn(ctx, full, l)
		if err != nil {
			return err
		}
		seen, err := other.wait(ctx, 30*time.Second)
		if err != nil {
			return full.failure(err.Error())
		}
		end := newMeasured()
		end.latency, end.elapsed = seen, t.elapsed
		end.answered[200] = seen.TotalCount()
		acks, ends = append(acks, t), append(ends, &turn{measured: end})
	}
	r.report.add("ingest while delivering", "500/s", acks)
	r.report.add("end to end, HTTP step", "500/s", ends)
	r.report.judge(Target{Name: "end to end p50 at 500/s", Unit: "ms", Limit: 10,
		Turns: each(ends, func(t *turn) float64 { return milliseconds(t.latency, 50) })})
	return full.stop()
}

// rejectionBytes is the bound of the configuration's default on what rejections may take.
const rejectionBytes = 64 << 20

// flood sends 5,000 requests with wrong signatures a second from many addresses beside the valid ones.
func (r *run) flood(ctx context.Context) error {
	dir := filepath.Join(r.dir, "flood")
	full, _, err := r.serve(ctx, dir, settings{})
	if err != nil {
		return err
	}
	defer full.kill()
	valid := load{connections: connections, perSecond: 500}
	bad, grown := newMeasured(), int64(0)
	calm, flooded, err := r.alternate(ctx,
		func(ctx context.Context) (*turn, error) { return r.turn(ctx, full, valid) },
		func(ctx context.Context) (t *turn, err error) {
			before, err := size(dir)
			if err != nil {
				return nil, err
			}
			err = r.beside(ctx, full, bad, func(ctx context.Context) (err error) {
				t, err = r.turn(ctx, full, valid)
				return err
			})
			if err != nil {
				return nil, err
			}
			t.processor = 0 // it is that of the flood as well
			after, err := size(dir)
			grown += after - before
			return t, err
		})
	if err != nil {
		return err
	}
	r.report.add("valid acks", "500/s", calm)
	r.report.add("valid acks in the flood", "500/s", flooded)
	r.report.add("bad signatures", "5,000/s", []*turn{{measured: bad}})
	r.report.judge(Target{Name: "ack p99 in a flood of bad signatures : without", Unit: "×", Limit: 2,
		Turns: ratios(flooded, calm, (*turn).p99),
		Note:  fmt.Sprintf("no valid request was refused; the bad ones were answered %v", bad.answered)})
	r.report.judge(Target{Name: "growth of the data folder by the flood", Unit: "MB", Limit: rejectionBytes / megabyte,
		Turns: []float64{float64(grown) / megabyte},
		Note:  "the bound is what rejections may take by default, 64 MiB; the valid events are in the growth too"})
	return full.stop()
}

// beside runs work while bad signatures arrive, from before it begins until after it ended.
func (r *run) beside(ctx context.Context, c *child, bad *measured, work func(context.Context) error) error {
	l := load{
		address: c.address, path: sourcePath, key: wrongKey, ids: &r.ids,
		connections: connections, perSecond: 5000, duration: r.opts.Turn*6/5 + 200*time.Millisecond,
		from: manyAddresses(connections),
	}
	type result struct {
		seen *measured
		err  error
	}
	begun, ended := make(chan struct{}), make(chan result, 1)
	l.started = func(time.Time, time.Duration, int64) { close(begun) }
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the flood when the work failed
	go func() {
		seen, err := l.do(ctx)
		ended <- result{seen, err}
	}()
	select {
	case <-begun:
	case early := <-ended:
		return early.err
	}
	if err := work(ctx); err != nil {
		return err
	}
	flood := <-ended
	if flood.err != nil {
		return flood.err
	}
	bad.add(flood.seen)
	if n := flood.seen.accepted(); n > 0 {
		return fmt.Errorf("%d requests with a wrong signature were accepted", n)
	}
	if flood.seen.failed > 0 {
		return fmt.Errorf("%d of the bad signatures got no answer: %w", flood.seen.failed, flood.seen.firstErr)
	}
	return nil
}

// manyAddresses are n local addresses: a limit on one address must not be what holds a flood back.
func manyAddresses(n int) []netip.Addr {
	list := make([]netip.Addr, n)
	for i := range list {
		list[i] = netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
	}
	return list
}
