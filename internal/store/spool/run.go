package spool

import (
	"context"
	"sync"
	"time"
)

const (
	// A store that is away is tried again after these.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// asideEvery is how often what was put aside is tried again.
	asideEvery = 10 * time.Minute
)

// Run moves what is in the spool until ctx ends. It moves nothing while a call of Append's is on its way to the
// store: events would overtake it.
func (s *Spool) Run(ctx context.Context) {
	pause := firstPause
	aside := time.NewTimer(0)
	defer aside.Stop()
	for ctx.Err() == nil {
		if !s.await(ctx, aside.C, s.hasWork) {
			if ctx.Err() == nil {
				s.tryAside(ctx)
				aside.Reset(asideEvery)
			}
			continue
		}
		err := s.round(ctx)
		if err == nil {
			pause = firstPause
			s.tidy()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		s.change(func() { s.history.fail(err, s.now()) })
		s.log.Debug("the spool waits for the database", "error", err, "again", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

// hasWork tells whether there is something to move, or a way to open. It is called with mu held.
func (s *Spool) hasWork() bool {
	f := s.disk.figures.Load()
	return s.calls == 0 && (f.waiting > 0 || !f.known || s.mayOpen(f))
}

// mayOpen tells whether events may go to the store again: nobody is before them, and it is quick.
func (s *Spool) mayOpen(f *figures) bool {
	return !s.direct && s.quick && s.calls == 0 && s.writing == 0 && f.known && f.waiting == 0
}

// round moves one batch. The last one is moved behind a gate: under load there would be another always.
func (s *Spool) round(ctx context.Context) error {
	defer s.gateForLast()()
	if !s.await(ctx, nil, func() bool { return s.gate == nil || s.writing == 0 }) {
		return ctx.Err()
	}
	batch, err := s.disk.next()
	if err != nil {
		return err
	}
	if len(batch) > 0 {
		if err := s.move(ctx, batch); err != nil {
			return err
		}
	}
	s.change(func() {
		if !s.mayOpen(s.disk.figures.Load()) {
			return
		}
		s.direct = true
		s.log.Info("the spool is empty: events go to the database again", "spooled", s.history.spooled, "moved", s.history.moved)
	})
	return nil
}

// gateForLast keeps Append waiting when one batch is left and the store is quick, until the returned function is
// called, or for the bound: what comes after that goes to the spool again.
func (s *Spool) gateForLast() (end func()) {
	var gate chan struct{}
	s.change(func() {
		if !s.direct && s.quick && s.disk.figures.Load().waiting <= maxBatch {
			gate = make(chan struct{})
			s.gate = gate
		}
	})
	if gate == nil {
		return func() {}
	}
	lift := sync.OnceFunc(func() {
		s.change(func() { s.gate = nil })
		close(gate)
	})
	timer := time.AfterFunc(s.bound, lift)
	return func() {
		timer.Stop()
		lift()
	}
}

// tidy empties the file when nobody needs it.
func (s *Spool) tidy() {
	untidy := false
	s.change(func() {
		if s.direct {
			untidy, s.untidy = s.untidy, false
		}
	})
	if !untidy {
		return
	}
	if err := s.disk.tidy(); err != nil {
		s.log.Warn("the spool's file could not be emptied", "error", err)
	}
}

// tryAside tries what was put aside again.
func (s *Spool) tryAside(ctx context.Context) {
	if s.disk.figures.Load().aside == 0 {
		return
	}
	moved, err := s.retryAside(ctx)
	if moved > 0 {
		s.log.Info("events that were put aside have been moved", "events", moved)
	}
	if err != nil {
		s.log.Warn("events that were put aside could not be tried again", "error", err)
	}
}

// noteCall keeps how the store's last call went.
func (s *Spool) noteCall(took time.Duration, err error) {
	s.change(func() {
		s.quick = took < s.bound && (err == nil || !unavailable(err))
		if err != nil {
			s.history.fail(err, s.now())
		}
	})
}
