package alert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"relais/internal/step"
)

const (
	// maxKeys bounds what is remembered. Past it alerts of new keys are one: neither the memory nor the
	// operators' telephones have room for more.
	maxKeys = 1000
	// tellTimeout bounds each message that goes out by itself.
	tellTimeout = 30 * time.Second
	// lookEvery is how often the desk looks whose time is over, tryAgain how long it waits where nobody took
	// a count.
	lookEvery = time.Second
	tryAgain  = time.Minute
)

// What became of an alert: the step's status, and the metric's label.
const (
	statusSent    = "sent"
	statusCounted = "counted"
	statusLogged  = "logged"
	resultFailed  = "failed"
)

// Options are what a Desk works with.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Count is told of each alert and what became of it; nil is nobody.
	Count func(level, result string)
}

// Desk keeps which alerts were sent. It is one for a process, and outlives reloads.
type Desk struct {
	o  Options
	mu sync.Mutex
	// windows are by the alerts' keys.
	windows map[string]*window
}

// window is a key of which something was sent not long ago.
type window struct {
	since   time.Time // when it was sent
	until   time.Time
	counted int // since then
	last    alarm
	sending bool
}

// alarm is one alert.
type alarm struct {
	key, level, title, message string
	every                      time.Duration
	channels                   []channel
	to                         []string
}

// NewDesk makes a desk, which counts from the beginning. Run sends what it has counted.
func NewDesk(o Options) *Desk {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	return &Desk{o: o, windows: map[string]*window{}}
}

// raise sends an alert, or counts it.
func (d *Desk) raise(ctx context.Context, a alarm) (step.Result, error) {
	d.log(ctx, &a)
	if len(a.channels) == 0 {
		d.o.Count(a.level, statusLogged)
		return step.Result{"status": statusLogged}, nil
	}
	w, counted := d.enter(&a)
	if w == nil {
		d.o.Count(a.level, statusCounted)
		return step.Result{"status": statusCounted, "count": int64(counted)}, nil
	}
	if counted > 0 {
		a.message += more(counted, w.since)
	}
	failed, err := d.send(ctx, &a)
	d.leave(w, &a, counted, err)
	if err != nil {
		d.o.Count(a.level, resultFailed)
		return nil, err
	}
	d.o.Count(a.level, statusSent)
	out := step.Result{"status": statusSent, "count": int64(0)}
	if len(failed) > 0 {
		out["failed"] = failed
	}
	return out, nil
}

// enter returns the window to send under, with what was counted before; or nil, with the count that the alert is now a part of.
func (d *Desk) enter(a *alarm) (w *window, counted int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.o.Now()
	w = d.windows[a.key]
	if w == nil && len(d.windows) >= maxKeys {
		a.key, a.title = digest("", "more keys than are kept"), "relais: many alerts"
		w = d.windows[a.key]
	}
	if w == nil {
		w = &window{}
		d.windows[a.key] = w
	}
	if w.sending || now.Before(w.until) {
		w.counted++
		w.last = *a
		return nil, w.counted
	}
	counted, w.counted = w.counted, 0
	w.sending, w.last = true, *a
	return w, counted
}

// leave notes how sending ended. What nobody took is forgotten but for what was counted: the alert itself
// comes again with its delivery.
func (d *Desk) leave(w *window, a *alarm, counted int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.sending = false
	if err == nil {
		w.since = d.o.Now()
		w.until = w.since.Add(a.every)
		return
	}
	if w.counted += counted; w.counted == 0 {
		delete(d.windows, a.key)
	}
}

// send tells an alert by all its ways. One that took it is enough.
func (d *Desk) send(ctx context.Context, a *alarm) (failed []string, err error) {
	var errs []error
	notice := step.Notice{
		Title: "[" + strings.ToUpper(a.level) + "] " + a.title, Text: a.message, To: a.to,
		Key: fmt.Sprintf("relais-alert-%.16s-%d", a.key, d.o.Now().Unix()),
	}
	for _, c := range a.channels {
		if err := c.teller.Tell(ctx, notice); err != nil {
			d.o.Log.WarnContext(ctx, "an alert was not taken", "via", c.name, "title", a.title, "error", err)
			failed, errs = append(failed, c.name), append(errs, err)
		}
	}
	if len(errs) == len(a.channels) {
		return nil, failureOf(errs)
	}
	return failed, nil
}

func (d *Desk) log(ctx context.Context, a *alarm) {
	level := map[string]slog.Level{"info": slog.LevelInfo, "warning": slog.LevelWarn}
	at, ok := level[a.level]
	if !ok {
		at = slog.LevelError
	}
	d.o.Log.Log(ctx, at, "alert", "level_of_alert", a.level, "title", a.title, "message", a.message)
}

// Run sends what was counted, as each key's time is over, until ctx ends. What is then left is logged.
func (d *Desk) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, w := range d.over() {
				d.summarize(ctx, w)
			}
		case <-ctx.Done():
			d.close()
			return
		}
	}
}

// over takes the windows whose time is over: those that counted something are returned, to be told of.
func (d *Desk) over() []*window {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.o.Now()
	var due []*window
	for key, w := range d.windows {
		switch {
		case w.sending || now.Before(w.until):
		case w.counted == 0:
			delete(d.windows, key)
		default:
			w.sending = true
			due = append(due, w)
		}
	}
	return due
}

func (d *Desk) summarize(ctx context.Context, w *window) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	d.mu.Lock()
	a, counted, since := w.last, w.counted, w.since
	w.counted = 0
	d.mu.Unlock()
	a.message = "The last of them: " + a.message + more(counted, since)
	_, err := d.send(ctx, &a)
	d.mu.Lock()
	defer d.mu.Unlock()
	w.sending = false
	now := d.o.Now()
	if err != nil {
		w.counted += counted
		w.until = now.Add(tryAgain)
		return
	}
	w.since, w.until = now, now.Add(a.every)
}

func (d *Desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.windows {
		if w.counted > 0 {
			d.o.Log.Warn("alerts were counted and nobody was told of their number", "title", w.last.title, "count", w.counted)
		}
	}
}

// more says how many there were besides.
func more(counted int, since time.Time) string {
	at := ""
	if !since.IsZero() {
		at = " since " + since.UTC().Format("2006-01-02 15:04 MST")
	}
	if counted == 1 {
		return "\n\n1 more" + at + "."
	}
	return fmt.Sprintf("\n\n%d more%s.", counted, at)
}

func digest(tenant, key string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + key))
	return hex.EncodeToString(sum[:])
}
