package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a run found, as it is written to the results.
type Report struct {
	Date     time.Time `json:"date"`
	Revision string    `json:"revision"`
	Seconds  float64   `json:"seconds"`
	Machine  Machine   `json:"machine"`
	Rows     []Row     `json:"rows"`
	Targets  []Target  `json:"targets"`
	// Failed are the rows that couldn't be measured, and why.
	Failed []string `json:"failed,omitempty"`
}

// Machine is what it was measured on.
type Machine struct {
	System    string `json:"system"`
	Kernel    string `json:"kernel"`
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	MemoryMiB int64  `json:"memory_mib"`
	Go        string `json:"go"`
	// Disk is the file system that data folders are on, with those of its options that measurements depend on.
	Disk string `json:"disk,omitempty"`
}

// Row is one load on one server, all its turns together. A member that wasn't measured is 0.
type Row struct {
	Name      string  `json:"name"`
	Load      string  `json:"load"`
	Requests  int64   `json:"requests"`
	Accepted  int64   `json:"accepted"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	// Processor is the server's processor time for each accepted request.
	Processor float64 `json:"processor_us"`
	// Resident is the largest RssAnon seen: mapped files are not in it.
	Resident float64 `json:"resident_mb"`
}

// Target is one thing that was to be reached.
type Target struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Measured float64 `json:"measured"`
	// Limit is the most that is allowed, or the least where AtLeast is set.
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least"`
	Met     bool    `json:"met"`
	// Turns are the values whose median is Measured.
	Turns []float64 `json:"turns,omitempty"`
	// Note says what the number rests on.
	Note string `json:"note,omitempty"`
}

func newReport(ctx context.Context, revision string) *Report {
	machine := describeMachine()
	machine.Cores = runtime.NumCPU()
	machine.Go = runtime.Version()
	if revision == "" {
		revision = "unknown"
		if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
			revision = strings.TrimSpace(string(out))
		}
	}
	return &Report{Date: time.Now().UTC(), Revision: revision, Machine: machine}
}

// judge adds a target, met when the median of its turns keeps within the limit.
func (r *Report) judge(t Target) {
	t.Measured = median(t.Turns)
	if t.AtLeast {
		t.Met = t.Measured >= t.Limit
	} else {
		t.Met = t.Measured <= t.Limit
	}
	r.Targets = append(r.Targets, t)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func milliseconds(h *hdrhistogram.Histogram, percentile float64) float64 {
	return float64(h.ValueAtPercentile(percentile)) / 1000
}

// WriteTable prints the rows, then each target with whether it was met.
func (r *Report) WriteTable(w io.Writer) error {
	m := r.Machine
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "relais %s, %s, %s %s, %d × %s, %s, data on %s\n\n",
		r.Revision, r.Date.Format(time.DateTime), m.System, m.Kernel, m.Cores, m.Processor, m.Go, cmp.Or(m.Disk, "a disk that isn't known"))
	fmt.Fprintln(out, "row\tload\trequests\taccepted\tper second\tp50 ms\tp99 ms\tmax ms\tCPU µs each\tmemory MB")
	for _, row := range r.Rows {
		fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, row.Load, row.Requests,
			row.Accepted, cell(row.PerSecond), cell(row.P50), cell(row.P99), cell(row.Max),
			cell(row.Processor), cell(row.Resident))
	}
	fmt.Fprintln(out, "\ntarget\tmeasured\tallowed\t\tturns")
	for _, t := range r.Targets {
		sign, verdict := "≤", "met"
		if t.AtLeast {
			sign = "≥"
		}
		if !t.Met {
			verdict = "MISSED"
		}
		turns := make([]string, len(t.Turns))
		for i, v := range t.Turns {
			turns[i] = number(v)
		}
		fmt.Fprintf(out, "%s\t%s %s\t%s %s %s\t%s\t%s\n", t.Name, number(t.Measured), t.Unit,
			sign, number(t.Limit), t.Unit, verdict, strings.Join(turns, " "))
	}
	fmt.Fprintln(out)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	for _, t := range r.Targets {
		if t.Note != "" {
			if _, err := fmt.Fprintf(w, "%s: %s.\n", t.Name, t.Note); err != nil {
				return fmt.Errorf("print the table: %w", err)
			}
		}
	}
	for _, why := range r.Failed {
		if _, err := fmt.Fprintf(w, "NOT MEASURED: %s\n", why); err != nil {
			return fmt.Errorf("print the table: %w", err)
		}
	}
	_, err := fmt.Fprintln(w, "\nLatency counts from when a request was due. Memory is RssAnon: mapped files are not in it. "+
		"CPU is the server's alone. Ratios are medians of turns that alternate in this run.")
	return err
}

func cell(v float64) string {
	if v == 0 {
		return "–"
	}
	return number(v)
}

// number writes three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// WriteJSON writes the report to a new file of the folder, and returns its path.
func (r *Report) WriteJSON(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // results are published
		return "", fmt.Errorf("make the folder for results: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write the results: %w", err)
	}
	path := filepath.Join(dir, r.Date.Format("20060102T150405Z")+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil { //nolint:gosec // as above
		return "", fmt.Errorf("write the results: %w", err)
	}
	return path, nil
}
