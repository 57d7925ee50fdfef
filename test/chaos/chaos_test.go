package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"relais/internal/sandbox"
)

func TestMain(m *testing.M) {
	if os.Getenv(sandboxVariable) != "" {
		if err := sandbox.Main(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The short form of make chaos.
func TestAcknowledgedEventsSurviveKillsAndAreInvoicedOnce(t *testing.T) {
	t.Parallel() // with the cluster's: both mostly wait
	report, err := run(t.Context(), options{Kills: 20, Rate: 300, MaxLife: time.Second, Seed: 1, Log: t.Output()})
	if report != nil {
		report.print(t.Output())
	}
	if err == nil {
		err = report.verdict()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerdictSeesEveryFault(t *testing.T) {
	good := report{outcome: outcome{Acked: 10, Estimates: 3}, Kills: 20, wantKills: 20, InsideEffects: 5}
	if err := good.verdict(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*report){
		"lost":       func(r *report) { r.Lost = 1 },
		"incomplete": func(r *report) { r.NotCompleted = 1 },
		"missing":    func(r *report) { r.Missing = 1 },
		"doubled":    func(r *report) { r.Doubled = 1 },
		"twice":      func(r *report) { r.Duplicates = 1 },
		"few kills":  func(r *report) { r.Kills = 19 },
		"no effects": func(r *report) { r.InsideEffects = 1 },
		"no load":    func(r *report) { r.Acked = 0 },
	} {
		r := good
		spoil(&r)
		if r.verdict() == nil {
			t.Errorf("%s: no fault was seen", name)
		}
	}
}
