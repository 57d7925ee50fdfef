// Command chaos kills relais at random instants, again and again on the same data, and then counts.
//
// Three processes take part besides the one that is killed: this one, which sends signed webhooks and keeps
// the list of what was acknowledged; a sandbox of Sellsy that commits late, drops answers and lags in
// search; and nobody else. What is counted at the end is read from the database's file and from the
// sandbox, not asked of relais: acknowledged events that are not there, deliveries that did not
// succeed, and invoices for each estimate.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"relais/internal/sandbox"
)

// sandboxVariable makes this program be the sandbox: it is how the sandbox gets a process of its own.
const sandboxVariable = "RELAIS_CHAOS_SANDBOX"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if os.Getenv(sandboxVariable) != "" {
		if err := sandbox.Main(ctx, os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	o := options{Log: os.Stderr}
	flag.IntVar(&o.Kills, "kills", 200, "how many times relais is killed")
	flag.Float64Var(&o.Rate, "rate", 420, "webhooks a second")
	flag.DurationVar(&o.MaxLife, "max-life", 2*time.Second, "the longest time between two kills")
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano()), "of the instants and the estimates")
	flag.StringVar(&o.Results, "results", "bench/results", "folder for the report; empty for none")
	flag.Parse()
	report, err := run(ctx, o)
	if report != nil {
		report.print(os.Stdout)
	}
	if err == nil && o.Results != "" {
		err = report.write(o.Results)
	}
	if err == nil {
		err = report.verdict()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}
