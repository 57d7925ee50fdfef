// Package bench measures relais from outside, as a sender and a receiver see it.
//
// The load is open loop: requests are due by a schedule that doesn't wait for answers, and latency is
// counted from when a request was due, so that a stall is charged to every request that was due in it.
// A closed loop at a fixed number of connections is used only for throughput and for the cost of one
// request. The servers under test are child processes: the generator's work is never counted as theirs.
//
// Targets are ratios between rows of the same run wherever that is possible, measured in turns (one,
// the other, one, the other) and judged by the median of the turns' ratios: a machine that is shared or
// noisy slows both sides.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options are what a run is given. The zero value of a member asks for its default.
type Options struct {
	// Binary is the relais that is measured; default this executable.
	Binary string
	// Only are names of rows (Names lists them); empty runs all.
	Only []string
	// Dir is where data folders are made: it must be on the disk that is to be measured. They are
	// removed at the end.
	Dir string
	// Results is the folder that the JSON is written to; "" writes none.
	Results string
	// Revision is the revision of the source, for the record; default what git says here.
	Revision string
	// Turn is how long one turn of load lasts, after a fifth of it to warm up; default 4 s.
	Turn time.Duration
	// Rounds is how many turns each side of a ratio gets; default 5: the median of many short turns forgets
	// what else the machine did in some of them.
	Rounds int
	// Postgres is the URL of a server where databases may be created; "" starts one from this machine's
	// binaries, in Dir.
	Postgres string
	// Events is how many events wait in the large database; default 1,000,000.
	Events int
	// Verification is what the row verify measures: this package knows none of relais' sources.
	Verification Verification
	// Table receives the result, Progress a line for each thing that is being done.
	Table    io.Writer
	Progress io.Writer
}

func (o *Options) setDefaults() error {
	if o.Binary == "" {
		binary, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this executable: %w", err)
		}
		o.Binary = binary
	}
	if o.Turn <= 0 {
		o.Turn = 4 * time.Second
	}
	if o.Rounds <= 0 {
		o.Rounds = 5
	}
	if o.Events <= 0 {
		o.Events = 1_000_000
	}
	if o.Table == nil {
		o.Table = io.Discard
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	known := Names()
	for _, name := range o.Only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no row %q: allowed are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// row is one part of a run: it measures, and adds what it found to the report.
type row struct {
	name string
	run  func(*run, context.Context) error
	// long rows run only when they are named.
	long bool
}

// rows stand in the order in which they run: the first ones need empty databases, the last ones share
// the large one.
var rows = []row{
	{name: "verify", run: (*run).verify},
	{name: "throughput", run: (*run).throughput},
	{name: "latency", run: (*run).latency},
	{name: "quiet", run: (*run).quiet},
	{name: "end-to-end", run: (*run).endToEnd},
	{name: "flood", run: (*run).flood},
	{name: "ready", run: (*run).ready},
	{name: "waiting", run: (*run).waiting},
	{name: "stored", run: (*run).stored},
	{name: "scan", run: (*run).scan},
	{name: "postgres", run: (*run).ingestPostgres},
	{name: "stored-postgres", run: (*run).storedPostgres},
	{name: "drain", run: (*run).drain},
	{name: "claim", run: (*run).claim},
	{name: "fair", run: (*run).fair, long: true},
	{name: "drop", run: (*run).drop, long: true},
	{name: "stored-long", run: (*run).storedLong, long: true},
}

// runs tells whether a row is among those that were asked for.
func (r row) runs(only []string) bool {
	return slices.Contains(only, r.name) || len(only) == 0 && !r.long
}

// Names lists the rows that Options.Only may name.
func Names() []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return names
}

// run is a run under way.
type run struct {
	opts   Options
	dir    string
	ids    idSpace
	report *Report
	// large is the data folder with Options.Events events waiting; "" until a row asks for it.
	large string
	// database is the PostgreSQL; nil until a row asks for it.
	database *database
}

// Run measures, prints the table and writes the JSON. A target that is missed is not an error: the
// report says so. A row that can't be measured is one, and is told after the others were.
func Run(ctx context.Context, opts Options) (*Report, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	if opts.Dir != "" {
		if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder for data: %w", err)
		}
	}
	dir, err := os.MkdirTemp(opts.Dir, "relais-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for data: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays behind is in a temporary folder
	// The children are started in other working folders than this one might be.
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find the folder for data: %w", err)
	}
	if err := refuseMemoryDisk(dir); err != nil {
		return nil, err
	}
	r := &run{opts: opts, dir: dir, report: newReport(ctx, opts.Revision)}
	r.report.Machine.Disk = describeDisk(dir)
	defer func() { r.database.stop() }()
	var failed []error
	for _, row := range rows {
		if !row.runs(opts.Only) {
			continue
		}
		r.progress("%s", row.name)
		if err := row.run(r, ctx); err != nil {
			err = fmt.Errorf("row %s: %w", row.name, err)
			if ctx.Err() != nil {
				return nil, err
			}
			// What the other rows measured is worth having.
			failed = append(failed, err)
			r.report.Failed = append(r.report.Failed, err.Error())
			r.progress("  not measured: %s", err)
		}
	}
	r.report.Seconds = time.Since(r.report.Date).Seconds()
	err = r.report.WriteTable(opts.Table)
	if opts.Results != "" {
		path, writeErr := r.report.WriteJSON(opts.Results)
		r.progress("written to %s", path)
		err = errors.Join(err, writeErr)
	}
	return r.report, errors.Join(err, errors.Join(failed...))
}

func (r *run) progress(format string, args ...any) {
	since := time.Since(r.report.Date).Round(time.Second)
	// Progress is for whoever watches; a closed terminal must not end the run.
	_, _ = fmt.Fprintf(r.opts.Progress, "%6s  %s\n", since, fmt.Sprintf(format, args...))
}
