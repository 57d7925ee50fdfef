package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/api"
)

// TestMain lets this test's own executable stand in for relais as the server under test: what is tested
// here is the measuring, and how a run goes on when a server misbehaves.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"serve", CommandNoStore, CommandPrefill}, os.Args[1]) {
		if err := standIn(os.Args[1], os.Args[2:]); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// standIn is the least that a run needs of relais: it checks signatures, answers, and posts each
// document's number to every URL in its configuration.
func standIn(command string, args []string) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	config, data := flags.String("config", "", ""), flags.String("data", "", "")
	listen, admin := flags.String("listen", "", ""), flags.String("admin-listen", "", "")
	flags.String("events", "", "")
	flags.String("old", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if command == CommandPrefill {
		return os.MkdirAll(*data, 0o700)
	}
	text, err := os.ReadFile(*config)
	if err != nil {
		return err
	}
	targets := regexp.MustCompile(`http://[^"]+`).FindAllString(string(text), -1)
	work := make(chan int64, 10_000)
	for range 8 {
		go func() {
			for id := range work {
				for _, target := range targets {
					body, _ := json.Marshal(map[string]int64{"id": id})
					if answer, err := http.Post(target, "application/json", bytes.NewReader(body)); err == nil {
						_ = answer.Body.Close()
					}
				}
			}
		}()
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		check := newRequest("", "", sourceKey)
		check.hash.Write(check.key)
		check.hash.Write(body)
		if r.Header.Get("X-Webhook-Signature") != hexOf(check.hash.Sum(nil)) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		text, _ := url.QueryUnescape(string(body))
		if at := strings.LastIndex(text, "relatedid"); len(targets) > 0 && at >= 0 {
			if id, ok := findID([]byte(text[at:])); ok {
				select {
				case work <- id:
				default: // what is held waits in the real one's database; here it is let go
				}
			}
		}
		_, _ = io.WriteString(w, "received")
	})
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *admin != "" {
		var asked atomic.Int64
		control, err := api.Listen(*data)
		if err != nil {
			return err
		}
		go func() { // last: whoever asks here finds the rest in place
			_ = http.ListenAndServe(*admin, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, "%s %d\n", deletedMetric, asked.Add(1))
			}))
		}()
		go func() {
			_ = http.Serve(control, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
		}()
	}
	return http.Serve(listener, handler)
}

func hexOf(sum []byte) string {
	const alphabet = "0123456789abcdef"
	var b strings.Builder
	for _, c := range sum {
		b.WriteByte(alphabet[c>>4])
		b.WriteByte(alphabet[c&15])
	}
	return b.String()
}

func quickOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Dir: onDisk(t), Results: t.TempDir(), Turn: 300 * time.Millisecond, Rounds: 1, Events: 10_000,
		Progress: t.Output(), Verification: Verification{Whole: succeeds, Bare: succeeds, What: "nothing"},
	}
}

func succeeds() error { return nil }

// standInRows are those for which a stand-in is enough; the others need relais' own store.
var standInRows = []string{"verify", "throughput", "latency", "quiet", "end-to-end", "flood", "ready", "waiting", "stored", "scan"}

func TestARunMeasuresEveryRowAndJudgesEveryTarget(t *testing.T) {
	opts := quickOptions(t)
	opts.Only = standInRows
	var table bytes.Buffer
	opts.Table = &table
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"time of a verification : of the bare hash",
		"server CPU per ack, ingest : no-store",
		"throughput at 64 connections, ingest : no-store",
		"ack p99 at 1,000/s above no-store's, in fsync p99",
		"resident memory at 1,000/s",
		"ack p99 at 100/s",
		"end to end p50 at 500/s",
		"ack p99 in a flood of bad signatures : without",
		"growth of the data folder by the flood",
		"start to ready with 10000 stored",
		"the same after SIGKILL",
		"resident memory with 10000 waiting",
		"CPU per event with 10000 stored : with none",
		"ack p99 with a full scan and retention : without",
	}
	var got []string
	for _, target := range report.Targets {
		got = append(got, target.Name)
		if !strings.Contains(table.String(), target.Name) {
			t.Errorf("the table lacks %q", target.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("targets are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	files, err := os.ReadDir(opts.Results)
	if err != nil || len(files) != 1 {
		t.Fatalf("results: %v, %v", files, err)
	}
	text, err := os.ReadFile(filepath.Join(opts.Results, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	var written Report
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if len(written.Rows) != len(report.Rows) || written.Machine.Cores == 0 || written.Revision == "" {
		t.Errorf("written: %d rows of %d, %+v, revision %q", len(written.Rows), len(report.Rows), written.Machine, written.Revision)
	}
	if left, _ := filepath.Glob("relais-bench-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestARunOfOneRowRunsNoOther(t *testing.T) {
	opts := quickOptions(t)
	opts.Only = []string{"quiet"}
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 1 || len(report.Targets) != 1 {
		t.Errorf("rows %v, targets %v", report.Rows, report.Targets)
	}
}

func TestAnUnknownRowIsRefusedWithTheOnesThatExist(t *testing.T) {
	_, err := Run(t.Context(), Options{Only: []string{"speed"}})
	if err == nil || !strings.Contains(err.Error(), "end-to-end") {
		t.Errorf("error %v", err)
	}
}

func TestARowThatFailsIsToldAfterTheOthers(t *testing.T) {
	opts := quickOptions(t)
	opts.Only = []string{"quiet", "scan"}
	opts.Events = 2 // fewer old events than the server says that it deleted
	var table bytes.Buffer
	opts.Table = &table
	report, err := Run(t.Context(), opts)
	if !errors.Is(err, errRetentionDone) {
		t.Errorf("error %v", err)
	}
	if report == nil || len(report.Rows) != 1 || len(report.Failed) != 1 {
		t.Fatalf("report %+v", report)
	}
	if !strings.Contains(table.String(), "NOT MEASURED: row scan") {
		t.Error(table.String())
	}
}

func TestAVerificationThatRefusesIsNotMeasured(t *testing.T) {
	opts := quickOptions(t)
	opts.Only = []string{"verify"}
	refused := errors.New("another signature")
	opts.Verification.Whole = func() error { return refused }
	report, err := Run(t.Context(), opts)
	if !errors.Is(err, refused) || len(report.Rows) != 0 {
		t.Errorf("%v %+v", err, report)
	}
}

func TestAServerThatDoesNotStartIsShownWithWhatItSaid(t *testing.T) {
	opts := quickOptions(t)
	opts.Only = []string{"quiet"}
	opts.Binary = "/bin/sh"
	_, err := Run(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready") || !strings.Contains(err.Error(), "serve") {
		t.Errorf("error %v", err)
	}
}

func TestACancelledRunLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	opts := quickOptions(t)
	opts.Turn = time.Hour
	opts.Only = []string{"latency"}
	time.AfterFunc(300*time.Millisecond, cancel)
	if _, err := Run(ctx, opts); err == nil {
		t.Error("a cancelled run returns as if it had ended")
	}
	if left, _ := filepath.Glob("relais-bench-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
