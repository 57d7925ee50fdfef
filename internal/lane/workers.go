package lane

import (
	"sync"
	"sync/atomic"
)

// idleWorkers is how many goroutines stay for the next attempt.
const idleWorkers = 256

// workers run attempts. A goroutine that has run one waits for the next: a fresh one's stack grows several
// times on its way through an HTTP call, which takes a twentieth of a busy node's time.
type workers struct {
	jobs    chan func()
	idle    atomic.Int32
	running sync.WaitGroup
}

func newWorkers() *workers { return &workers{jobs: make(chan func())} }

// run starts a job. Nobody waits for anybody: with none idle there is one worker more.
func (w *workers) run(job func()) {
	w.running.Add(1)
	select {
	case w.jobs <- job:
	default:
		go w.work(job)
	}
}

func (w *workers) work(job func()) {
	for more := true; more; {
		job()
		w.running.Done()
		if w.idle.Add(1) > idleWorkers {
			w.idle.Add(-1)
			return
		}
		job, more = <-w.jobs
		w.idle.Add(-1)
	}
}

// wait waits for all that runs.
func (w *workers) wait() { w.running.Wait() }

// end sends the idle away, and the others when their job has ended. Nothing may be run after it.
func (w *workers) end() { close(w.jobs) }
