package lane

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// What a stop allows once its own time is up: for runners to come back after their context ended, and
// for their outcomes to be written and told.
const (
	stopRunners  = 3 * time.Second
	stopStore    = 2 * time.Second
	stopTellings = 5 * time.Second
)

// Lanes moves deliveries. Make one with New; Run works until Stop or the end of its context.
type Lanes struct {
	store    Store
	node     string
	now      func() time.Time
	bounds   Bounds
	settings func(core.Destination) (Settings, Runner, bool)
	stops    func(core.Destination) (stops, known bool)
	log      *slog.Logger
	metrics  Metrics
	onDead   func(context.Context, store.Claimed, store.Outcome)
	jitter   func() float64

	board    *board
	inbox    inbox
	scanner  *scanner
	finisher *finisher
	lease    lease
	kicked   chan struct{}

	// The claim loop's own: how long it leaves a store alone that failed.
	storePause time.Duration
	storeAfter time.Time

	attempts      *workers
	attemptsCtx   context.Context // what attempts run under
	endAttempts   context.CancelFunc
	attemptsEnded chan struct{}
	storeCtx      context.Context // what writes run under: it outlives the attempts
	endStore      context.CancelFunc
	tellings      sync.WaitGroup
	tellCtx       context.Context
	endTellings   context.CancelFunc
	tellingAtOnce chan struct{}

	stopOnce sync.Once
	stopping chan struct{}
	grace    context.Context // the context of the first Stop
	started  atomic.Bool
	done     chan struct{}
}

// New makes lanes; nothing happens until Run.
func New(o Options) *Lanes {
	l := &Lanes{
		store: o.Store, node: o.Node, now: o.Now, bounds: o.Bounds.withDefaults(), settings: o.Settings, stops: o.Stops,
		log: o.Log, metrics: o.Metrics, onDead: o.OnDead, jitter: rand.Float64,
		board: newBoard(), scanner: newScanner(), finisher: newFinisher(),
		kicked: make(chan struct{}, 1), attemptsEnded: make(chan struct{}),
		attempts: newWorkers(), tellingAtOnce: make(chan struct{}, deadAtOnce),
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
	l.lease = lease{length: l.bounds.Lease, alone: o.Alone}
	if l.now == nil {
		l.now = time.Now
	}
	if l.stops == nil {
		l.stops = l.stopsBySettings
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.metrics == nil {
		l.metrics = noMetrics{}
	}
	l.attemptsCtx, l.endAttempts = context.WithCancel(context.Background())
	l.storeCtx, l.endStore = context.WithCancel(context.Background())
	l.tellCtx, l.endTellings = context.WithCancel(context.Background())
	return l
}

// Wake says that the destinations may have new deliveries due: after an append or a replay. It waits
// for nothing. With no destination it looks at all again: after a reload, or the end of a pause.
func (l *Lanes) Wake(destinations ...core.Destination) {
	l.inbox.put(destinations)
	l.kick()
}

// Running returns how many attempts this process holds.
func (l *Lanes) Running() int {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	return len(l.board.held)
}

func (l *Lanes) kick() { signal(l.kicked) }

func (l *Lanes) stopped() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

// Run moves deliveries until Stop has ended, or until ctx ends, which is a Stop without any time. It
// can be called once. It returns an error where it had to leave attempts behind; a later life of
// relais takes them over.
func (l *Lanes) Run(ctx context.Context) error {
	if l.started.Swap(true) {
		return fmt.Errorf("lanes run once")
	}
	defer close(l.done)
	defer l.endStore()
	loops, endLoops := context.WithCancel(l.storeCtx)
	defer endLoops()
	var claims, scans, beats, finishes sync.WaitGroup
	beats.Go(func() { l.beatLoop(loops) })
	scanCtx, endScans := context.WithCancel(loops)
	defer endScans()
	scans.Go(func() { l.scanLoop(scanCtx) })
	claims.Go(l.claimLoop)
	finishes.Go(l.finishLoop)

	select {
	case <-ctx.Done():
		l.beginStop(ctx)
	case <-l.stopping:
	}
	limit := context.AfterFunc(l.grace, func() { time.AfterFunc(stopRunners+stopStore, l.endStore) })
	defer limit()
	// Also while a claim hangs: what is cut off later than this could not be handed back any more.
	cut := context.AfterFunc(l.grace, l.endAttempts)
	defer cut()
	endScans()
	scans.Wait()
	claims.Wait() // a claim under way ends, and what it brought is handed back
	l.endAllAttempts()
	finishes.Wait()
	l.awaitTellings()
	endLoops()
	beats.Wait() // last: the lease held until the outcomes were stored
	if n := l.Running(); n > 0 {
		return fmt.Errorf("%d deliveries still run or wait for their outcome to be stored; they will run again", n)
	}
	return nil
}

// endAllAttempts waits for the attempts until the stop's time is up, then cuts them off. Those that
// don't come back even so are left behind.
func (l *Lanes) endAllAttempts() {
	ended := make(chan struct{})
	go func() {
		l.attempts.wait()
		close(ended)
	}()
	defer close(l.attemptsEnded)
	defer l.attempts.end()
	select {
	case <-ended:
		l.endAttempts()
		return
	case <-l.grace.Done():
	}
	l.endAttempts()
	timer := time.NewTimer(stopRunners)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		l.log.Error("attempts went on after their context ended; they are left behind", "count", l.Running())
	}
}

// awaitTellings lets those who are told of dead deliveries end. Their time begins when the stop's own is up:
// what a stop cuts off may be dead only then.
func (l *Lanes) awaitTellings() {
	stop := context.AfterFunc(l.grace, func() { time.AfterFunc(stopTellings, l.endTellings) })
	defer stop()
	l.tellings.Wait()
	l.endTellings()
}

func (l *Lanes) beginStop(ctx context.Context) {
	l.stopOnce.Do(func() {
		l.grace = ctx
		close(l.stopping)
	})
}

// Stop ends the lanes: nothing more is claimed, running attempts get until ctx ends, and what hasn't
// ended then is cut off and handed back: due at once, with no attempt used up and no failure counted.
// It returns when all that could be stored is.
func (l *Lanes) Stop(ctx context.Context) {
	l.beginStop(ctx)
	if l.started.Load() {
		<-l.done
	}
}
