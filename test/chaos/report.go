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

// report is what a run found.
type report struct {
	Date          string  `json:"date"`
	Machine       string  `json:"machine"`
	Seed          uint64  `json:"seed"`
	Kills         int     `json:"kills"`
	InsideEffects int     `json:"kills_inside_open_effects"`
	Seconds       float64 `json:"seconds"`
	DrainSeconds  float64 `json:"drain_seconds"`
	Sent          int     `json:"webhooks_sent"`
	Acked         int     `json:"acknowledged"`
	Stored        int     `json:"stored"`
	Lost          int     `json:"acknowledged_lost"`
	NotCompleted  int     `json:"not_completed"`
	Estimates     int     `json:"estimates"`
	Invoiced      int     `json:"estimates_with_one_invoice"`
	Missing       int     `json:"estimates_without_invoice"`
	Doubled       int     `json:"estimates_with_several_invoices"`
	StartMedian   float64 `json:"start_median_ms"`
	StartMax      float64 `json:"start_max_ms"`

	wantKills int
	starts    []time.Duration
}

func newReport(o options) *report {
	return &report{
		Date: time.Now().UTC().Format(time.RFC3339), Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
		Seed: o.Seed, wantKills: o.Kills,
	}
}

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

func (r *report) rate() float64 { return float64(r.Acked) / max(r.Seconds, 0.001) }

func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("kills", r.Kills)
	row("kills inside open effects", r.InsideEffects)
	row("acknowledged events", fmt.Sprintf("%d (%.0f/s over %.0f s, restarts included)", r.Acked, r.rate(), r.Seconds))
	row("start to first answer", fmt.Sprintf("median %.0f ms, longest %.0f ms", r.StartMedian, r.StartMax))
	row("acknowledged events lost", r.Lost)
	row("acknowledged events not completed", r.NotCompleted)
	row("estimates", r.Estimates)
	row("estimates without their invoice", r.Missing)
	row("estimates with several invoices", r.Doubled)
	_ = w.Flush()
}

// verdict is an error where the run found a fault, or proved too little.
func (r *report) verdict() error {
	var faults []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(r.Kills < r.wantKills, "%d kills of %d", r.Kills, r.wantKills)
	check(r.InsideEffects < r.wantKills/10, "%d kills fell inside open effects, of at least %d", r.InsideEffects, r.wantKills/10)
	check(r.Lost > 0, "%d acknowledged events were lost", r.Lost)
	check(r.NotCompleted > 0, "%d acknowledged events were not completed", r.NotCompleted)
	check(r.Missing > 0, "%d estimates have no invoice", r.Missing)
	check(r.Doubled > 0, "%d estimates have several invoices", r.Doubled)
	check(r.Acked == 0 || r.Estimates == 0, "nothing was acknowledged")
	return errors.Join(faults...)
}

func (r *report) write(dir string) error {
	if r.rate() < minRate {
		return fmt.Errorf("%.0f acknowledgements a second: a run under %d proves too little", r.rate(), minRate)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "chaos.json"), append(text, '\n'), 0o644) //nolint:gosec // a report for everybody
}
