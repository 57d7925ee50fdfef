package bench

import (
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestTheReceiverCountsFromWhenAWebhookWasDue(t *testing.T) {
	r, err := newReceiver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	start := time.Now().Add(-time.Second)
	r.expect(start, 100*time.Millisecond, firstID, 2)
	if _, err := r.wait(t.Context(), time.Millisecond); err == nil || !strings.Contains(err.Error(), "2 of 2") {
		t.Errorf("with nothing arrived: %v", err)
	}
	for _, id := range []int64{firstID, firstID + 1, firstID + 1, firstID + 2} {
		answer, err := http.Post(r.url("/arrived"), "application/json", strings.NewReader(fmt.Sprintf(`{"id":"%d"}`, id)))
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusNoContent {
			t.Errorf("answered %d, %v", answer.StatusCode, err)
		}
	}
	seen, err := r.wait(t.Context(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// The first was due a second ago, the second 900 ms ago; the repeat and the stranger are not counted.
	if n, least := seen.TotalCount(), seen.Min(); n != 2 || least < 899_000 || seen.Max() < 999_000 {
		t.Errorf("%d counted, from %d to %d µs", n, least, seen.Max())
	}
}

func TestProcessorTimeIsThatOfAllThreads(t *testing.T) {
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Work until the clock of the process itself has moved: waiting doesn't move it.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		after, err := processorTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after >= before+50*time.Millisecond {
			return
		}
	}
	t.Error("ten seconds of work took no processor time")
}

func TestResidentMemoryGrowsWithWhatIsHeld(t *testing.T) {
	debug.FreeOSMemory() // or what earlier tests freed would be taken again
	before, err := residentBytes(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	after, err := residentBytes(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < 60<<20 {
		t.Errorf("64 MiB were taken, %d bytes are seen", grown)
	}
	held[0]++ // still in use
}

func TestSyncsAreMeasuredAtTheRateAndLeaveNoFile(t *testing.T) {
	dir := t.TempDir()
	seen, err := syncs(t.Context(), dir, 50, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n := seen.TotalCount(); n == 0 || n > 25 {
		t.Errorf("%d syncs in half a second at 50 a second", n)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAFolderInMemoryIsRefused(t *testing.T) {
	if err := refuseMemoryDisk("/dev/shm"); err == nil {
		t.Error("a folder in memory is taken for a disk")
	}
	if err := refuseMemoryDisk("/"); err != nil && !strings.Contains(err.Error(), "in memory") {
		t.Error(err)
	}
}

func TestATargetIsJudgedByTheMedianOfItsTurns(t *testing.T) {
	tests := []struct {
		turns   []float64
		limit   float64
		atLeast bool
		want    float64
		met     bool
	}{
		{turns: []float64{9, 1, 2}, limit: 2, want: 2, met: true},
		{turns: []float64{9, 1, 2.1}, limit: 2, want: 2.1},
		{turns: []float64{1, 4}, limit: 2.5, want: 2.5, met: true},
		{turns: []float64{0.4, 0.6, 0.5}, limit: 0.5, atLeast: true, want: 0.5, met: true},
		{turns: []float64{0.4, 0.6, 0.3}, limit: 0.5, atLeast: true, want: 0.4},
	}
	for _, test := range tests {
		var r Report
		r.judge(Target{Limit: test.limit, AtLeast: test.atLeast, Turns: test.turns})
		if got := r.Targets[0]; got.Measured != test.want || got.Met != test.met {
			t.Errorf("%v: measured %g, met %t; want %g, %t", test.turns, got.Measured, got.Met, test.want, test.met)
		}
	}
}

func TestAMissedTargetIsWrittenInCapitals(t *testing.T) {
	r := Report{Targets: []Target{{Name: "a", Unit: "ms", Measured: 12, Limit: 10, Note: "on a shared disk"}}}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "MISSED") || !strings.Contains(b.String(), "a: on a shared disk.") {
		t.Error(b.String())
	}
}
