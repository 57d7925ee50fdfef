package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"relais/internal/store"
	"relais/internal/store/spool"
)

// outage is whether the database is away, as what this node stores and what it says of itself every few seconds
// meet it. It is told once when it begins and once when it is over.
type outage struct {
	log *slog.Logger
	// over is called when the database is back.
	over func()

	mu    sync.Mutex
	since time.Time // zero while it is there
	why   string
}

// note takes how a call that began then went. A call that began before the outage tells nothing about its end.
func (o *outage) note(ctx context.Context, began time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case errors.Is(err, store.ErrUnavailable):
		o.why = wordsOf(err)
		if o.since.IsZero() {
			o.since = began
			o.log.WarnContext(ctx, "PostgreSQL is away", "since", began, "error", err)
		}
	case err == nil && !o.since.IsZero() && began.After(o.since):
		o.log.InfoContext(ctx, "PostgreSQL is back", "away_for", time.Since(o.since).Truncate(time.Millisecond))
		o.since, o.why = time.Time{}, ""
		o.over()
	}
}

// wordsOf is why a store is away, without the driver's own text.
func wordsOf(err error) string {
	var away *store.Away
	if errors.As(err, &away) {
		return away.Words
	}
	return "it does not answer"
}

// now returns since when the database is away and why; no time while it is there.
func (o *outage) now() (since time.Time, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.since, o.why
}

// away is what /ready says of a database that is away, "" while it is there, and whether this node takes in all the
// same what it is there for: webhooks into its spool, or none because it is a worker.
func (a *App) away(now time.Time) (told string, takes bool) {
	if a.outage == nil {
		return "", true
	}
	since, why := a.outage.now()
	if since.IsZero() {
		return "", true
	}
	form := time.TimeOnly
	if now.Sub(since) > 12*time.Hour {
		form = time.DateTime
	}
	webhooks := "webhooks are answered with 503, "
	switch {
	case a.options.role() == RoleWorker:
		webhooks, takes = "", true
	case a.spool != nil && spoolFull(a.spool.Status()):
		webhooks = "the spool is full, " + webhooks
	case a.spool != nil:
		webhooks, takes = fmt.Sprintf("webhooks go to the spool (%d wait), ", a.spool.Status().Events), true
	}
	return fmt.Sprintf("PostgreSQL is away since %s (%s): %snothing is delivered", since.Format(form), why, webhooks), takes
}

// accepts is what becomes of webhooks while the database is away, for whoever asked for what only it knows; ""
// where that is nothing good.
func (a *App) accepts() string {
	if a.spool == nil {
		return ""
	}
	s := a.spool.Status()
	if spoolFull(s) {
		return ""
	}
	return fmt.Sprintf("webhooks are still accepted: %d wait in this node's spool", s.Events)
}

// spoolFull tells whether the next webhooks may not fit in any more.
func spoolFull(s spool.Status) bool { return s.Bytes+s.AsideBytes > s.MaxBytes-s.MaxBytes/100 }
