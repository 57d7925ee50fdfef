package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// minRate is the rate of acknowledgements under which a run proves too little.
const minRate = 300

// outcome is what any run finds: what was sent and acknowledged, and what became of it.
type outcome struct {
	Date         string  `json:"date"`
	Machine      string  `json:"machine"`
	Seed         uint64  `json:"seed"`
	Seconds      float64 `json:"seconds"`
	DrainSeconds float64 `json:"drain_seconds"`
	Sent         int     `json:"webhooks_sent"`
	Acked        int     `json:"acknowledged"`
	Stored       int     `json:"stored"`
	Lost         int     `json:"acknowledged_lost"`
	NotCompleted int     `json:"not_completed"`
	Duplicates   int     `json:"stored_more_than_once"`
	Estimates    int     `json:"estimates"`
	Invoiced     int     `json:"estimates_with_one_invoice"`
	Missing      int     `json:"estimates_without_invoice"`
	Doubled      int     `json:"estimates_with_several_invoices"`
}

func newOutcome(seed uint64) outcome {
	return outcome{
		Date: time.Now().UTC().Format(time.RFC3339), Seed: seed,
		Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
}

// compare counts what was acknowledged against what is there: the events of each number, and how many of their
// deliveries succeeded.
func (o *outcome) compare(acked, stored, done map[int64]int64, estimates map[int64][]int64) {
	wanted := map[int64]bool{}
	for number, estimate := range acked {
		wanted[estimate] = true
		switch {
		case stored[number] == 0:
			o.Lost++
		case done[number] != stored[number]:
			o.NotCompleted++
		}
	}
	for _, n := range stored {
		o.Stored += int(n)
		o.Duplicates += int(n) - 1
	}
	for estimate, invoices := range estimates {
		switch {
		case len(invoices) > 1:
			o.Doubled++
		case len(invoices) == 0 && wanted[estimate]:
			o.Missing++
		case len(invoices) == 1:
			o.Invoiced++
		}
	}
	o.Estimates = len(wanted)
}

// table prints a report's rows.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) table { return table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)} }

func (t table) row(name string, value any) { fmt.Fprintf(t.w, "%s\t%v\n", name, value) }

func (o *outcome) rows(t table) {
	t.row("acknowledged events lost", o.Lost)
	t.row("acknowledged events not completed", o.NotCompleted)
	t.row("events stored more than once", o.Duplicates)
	t.row("estimates", o.Estimates)
	t.row("estimates without their invoice", o.Missing)
	t.row("estimates with several invoices", o.Doubled)
}

// faulty gathers what a run must not find.
type faulty struct{ found []error }

func (f *faulty) check(bad bool, format string, args ...any) {
	if bad {
		f.found = append(f.found, fmt.Errorf(format, args...))
	}
}

func (o *outcome) check(f *faulty) {
	f.check(o.Lost > 0, "%d acknowledged events were lost", o.Lost)
	f.check(o.NotCompleted > 0, "%d acknowledged events were not completed", o.NotCompleted)
	f.check(o.Duplicates > 0, "%d events are stored more than once", o.Duplicates)
	f.check(o.Missing > 0, "%d estimates have no invoice", o.Missing)
	f.check(o.Doubled > 0, "%d estimates have several invoices", o.Doubled)
	f.check(o.Acked == 0 || o.Estimates == 0, "nothing was acknowledged")
}

func writeJSON(dir, name string, report any) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644) //nolint:gosec // a report for everybody
}

// report is what a run of one relais that is killed found.
type report struct {
	outcome
	Kills         int     `json:"kills"`
	InsideEffects int     `json:"kills_inside_open_effects"`
	StartMedian   float64 `json:"start_median_ms"`
	StartMax      float64 `json:"start_max_ms"`

	wantKills int
	starts    []time.Duration
}

func newReport(o options) *report { return &report{outcome: newOutcome(o.Seed), wantKills: o.Kills} }

func (r *report) noteStart(took time.Duration) {
	r.starts = append(r.starts, took)
	sorted := slices.Sorted(slices.Values(r.starts))
	r.StartMedian = float64(sorted[len(sorted)/2].Microseconds()) / 1000
	r.StartMax = float64(sorted[len(sorted)-1].Microseconds()) / 1000
}

func (r *report) noteKill(openEffects int) {
	r.Kills++
	if openEffects > 0 {
		r.InsideEffects++
	}
}

// wantInside is how many kills must fall inside an open effect.
func (r *report) wantInside() int { return r.wantKills / 10 }

func (r *report) rate() float64 { return float64(r.Acked) / max(r.Seconds, 0.001) }

func (r *report) print(out io.Writer) {
	t := newTable(out)
	t.row("kills", r.Kills)
	t.row("kills inside open effects", r.InsideEffects)
	t.row("acknowledged events", fmt.Sprintf("%d (%.0f/s over %.0f s, restarts included)", r.Acked, r.rate(), r.Seconds))
	t.row("start to first answer", fmt.Sprintf("median %.0f ms, longest %.0f ms", r.StartMedian, r.StartMax))
	r.rows(t)
	_ = t.w.Flush()
}

// verdict is an error where the run found a fault, or proved too little.
func (r *report) verdict() error {
	var f faulty
	f.check(r.Kills < r.wantKills, "%d kills of %d", r.Kills, r.wantKills)
	f.check(r.InsideEffects < r.wantInside(), "%d kills fell inside open effects, of at least %d", r.InsideEffects, r.wantInside())
	r.check(&f)
	return errors.Join(f.found...)
}

func (r *report) write(dir string) error {
	if r.rate() < minRate {
		return fmt.Errorf("%.0f acknowledgements a second: a run under %d proves too little", r.rate(), minRate)
	}
	return writeJSON(dir, "chaos.json", r)
}
