package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"relais/internal/core"
	"relais/internal/lane"
	"relais/internal/store"
)

// Names of hidden commands that do one part of a row in a process of their own and print what they found
// as JSON. The first takes --config, --data and --deliveries (Drain), the second --url and --for (Post),
// the third --config, --data and --age (Retain).
const (
	CommandDrain  = "bench-drain"
	CommandPost   = "bench-post"
	CommandRetain = "bench-retain"
)

// part runs a hidden command to its end and reads what it printed into found.
func (r *run) part(ctx context.Context, found any, command string, args ...string) error {
	cmd := exec.CommandContext(ctx, r.opts.Binary, append([]string{command}, args...)...) //nolint:gosec // the binary that is measured
	cmd.Dir, cmd.Env = r.dir, plainEnvironment()
	endWithUs(cmd)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, bytes.TrimSpace(said.Bytes()))
	}
	if found == nil {
		return nil
	}
	if err := json.Unmarshal(out, found); err != nil {
		return fmt.Errorf("%s: what it printed can't be read: %w", command, err)
	}
	return nil
}

// fillPlace stores events on an empty place, or adds to what it has.
func (r *run) fillPlace(ctx context.Context, p place, params PrefillParams) error {
	config, err := r.configure("fill-"+filepath.Base(p.dir), settings{store: p.url})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make a data folder: %w", err)
	}
	return r.part(ctx, nil, CommandPrefill, "--config", config, "--data", p.dir,
		"--events", strconv.Itoa(params.Waiting), "--old", strconv.Itoa(params.Old),
		"--first", strconv.Itoa(params.First), "--lanes", strconv.Itoa(params.Lanes), "--body", strconv.Itoa(params.Body))
}

// Posted is what Post did.
type Posted struct {
	Requests int64
	Seconds  float64
}

// Post sends documents of that many bytes to a URL over 64 connections, each as fast as it is answered,
// with Go's HTTP client and nothing else. It counts after a fifth of the time, as all loads do.
func Post(ctx context.Context, url string, size int, duration time.Duration) (Posted, error) {
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	document := document(firstID, size)
	var count atomic.Int64
	begin := time.Now().Add(duration / 5)
	end := begin.Add(duration)
	var once sync.Once
	var failed error
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for {
				now := time.Now()
				if now.After(end) || ctx.Err() != nil {
					return
				}
				if err := post(ctx, &client, url, document); err != nil {
					once.Do(func() { failed = err })
					return
				}
				if now.After(begin) {
					count.Add(1)
				}
			}
		})
	}
	group.Wait()
	return Posted{count.Load(), time.Since(begin).Seconds()}, errors.Join(failed, ctx.Err())
}

func post(ctx context.Context, client *http.Client, url string, document []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(document))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%w: status %d", errAnswer, answer.StatusCode)
	}
	return nil
}

// Drained is what Drain did: how many deliveries ended in which time, after a fifth of them as warm-up, and
// what their claims took, in microseconds.
type Drained struct {
	Deliveries int64
	Seconds    float64
	Claims     *hdrhistogram.Snapshot
}

// Drain lets relais' lanes claim and finish at least n deliveries of a store whose destinations answer at
// once: what is measured is the store, under the claims that relais makes.
func Drain(ctx context.Context, s store.Store, n int64) (Drained, error) {
	if err := settle(ctx); err != nil {
		return Drained{}, err
	}
	d := &draining{Lanes: s, warm: n / 5, wanted: n - n/5, claims: hdrhistogram.New(1, longest.Microseconds(), 3), done: make(chan struct{})}
	lanes := lane.New(lane.Options{
		Store: d, Node: "bench-drain", Alone: true,
		Settings: func(core.Destination) (lane.Settings, lane.Runner, bool) {
			return lane.Settings{}, answersAtOnce{}, true
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- lanes.Run(ctx) }()
	select {
	case <-d.done:
	case err := <-ended:
		return Drained{}, errors.Join(errors.New("the lanes ended early"), err)
	case <-time.After(drainWithin):
		d.mu.Lock()
		defer d.mu.Unlock()
		return Drained{}, fmt.Errorf("%d of %d deliveries ended within %s", d.finished, n, drainWithin)
	}
	lanes.Stop(ctx)
	if err := <-ended; err != nil {
		return Drained{}, err
	}
	return Drained{d.counted, d.ended.Sub(d.began).Seconds(), d.claims.Export()}, nil
}

// settle waits until this process rests: a store that was opened may still read what it keeps in memory, which is
// a start's cost and not a claim's.
func settle(ctx context.Context) error {
	const rest, steps = 200 * time.Millisecond, 150
	last := time.Duration(-1)
	for range steps {
		used, err := processorTime(os.Getpid())
		if err != nil {
			return err
		}
		if last >= 0 && used-last <= rest/10 {
			return nil
		}
		last = used
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the store isn't at rest %s after it was opened", rest*steps)
}

// drainWithin is how long a drain may take until the row is given up.
const drainWithin = 5 * time.Minute

type answersAtOnce struct{}

func (answersAtOnce) Run(context.Context, *store.Claimed) store.Outcome {
	return store.Outcome{Verdict: store.VerdictSucceeded, Attempt: store.Attempt{Trace: []byte(`{"steps":[{"id":"1","use":"http/request","status":"done"}]}`)}}
}

// draining is a store that counts what its lanes do.
type draining struct {
	store.Lanes
	warm, wanted int64 // finished before it counts, and then

	mu           sync.Mutex
	scanned      bool // all lanes with work are known
	finished     int64
	counted      int64 // finished between began and ended
	began, ended time.Time
	claims       *hdrhistogram.Histogram
	done         chan struct{}
}

func (d *draining) Work(ctx context.Context, after store.LaneID, limit int) ([]store.LaneWork, error) {
	work, err := d.Lanes.Work(ctx, after, limit)
	if err == nil && len(work) < limit {
		d.mu.Lock()
		d.scanned = true
		d.mu.Unlock()
	}
	return work, err
}

func (d *draining) Claim(ctx context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	began := time.Now()
	claimed, err := d.Lanes.Claim(ctx, p)
	took := time.Since(began)
	d.mu.Lock()
	defer d.mu.Unlock()
	// A claim that finds nothing is quick whatever waits elsewhere.
	if err == nil && len(claimed) > 0 && !d.began.IsZero() && d.ended.IsZero() {
		_ = d.claims.RecordValue(min(took, longest).Microseconds()) // within its bounds
	}
	return claimed, err
}

func (d *draining) Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error) {
	lost, err := d.Lanes.Finish(ctx, outcomes)
	if err != nil {
		return lost, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := int64(len(outcomes))
	for _, err := range lost {
		if err != nil {
			n--
		}
	}
	d.finished += n
	switch {
	case !d.ended.IsZero() || d.finished < d.warm || !d.scanned:
	case d.began.IsZero():
		d.began = time.Now()
	default:
		d.counted += n
		if d.counted >= d.wanted {
			d.ended = time.Now()
			close(d.done)
		}
	}
	return lost, nil
}

// Retain deletes what is older than age until nothing is left to delete, as relais does each minute. It looks a
// second time: at the first, another node may have been about to.
func Retain(ctx context.Context, s store.Keeper, age time.Duration) (store.Retained, error) {
	var all store.Retained
	for nothing := 0; nothing < 2; {
		done, err := s.Retain(ctx, store.RetainParams{Events: age, Dead: age, Attempts: age})
		if err != nil {
			return all, fmt.Errorf("delete what is old: %w", err)
		}
		all.Events += done.Events
		all.Attempts += done.Attempts
		all.DedupKeys += done.DedupKeys
		nothing++
		if done.More {
			nothing = 0
		}
		select {
		case <-ctx.Done():
			return all, ctx.Err()
		case <-time.After(10 * time.Millisecond): // as relais leaves between slices
		}
	}
	return all, nil
}

// PostTo is what lanes that aren't configured do: they post the event to a URL, each delivery by itself. A
// configuration file doesn't hold as many routes as there may be destinations.
func PostTo(url string) func(core.Destination) (lane.Settings, lane.Runner, bool) {
	p := &poster{url: url, client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}}
	return func(core.Destination) (lane.Settings, lane.Runner, bool) { return lane.Settings{}, p, true }
}

type poster struct {
	url    string
	client http.Client
}

func (p *poster) Run(ctx context.Context, c *store.Claimed) store.Outcome {
	if err := post(ctx, &p.client, p.url, c.Event.Body); err != nil {
		return store.Outcome{Verdict: store.VerdictRetry, Delay: time.Second, Reason: core.ReasonTimeout, Message: err.Error()}
	}
	return store.Outcome{Verdict: store.VerdictSucceeded}
}
