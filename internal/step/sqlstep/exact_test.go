//go:build unix

package sqlstep

import (
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
)

var errCrash = errors.New("crash")

func (b *bench) payment() map[string]any {
	return map[string]any{"statements": []any{
		map[string]any{"statement": "UPDATE orders SET paid_cents = paid_cents + 1990 WHERE id = 1 AND state = 'PENDING'", "expect_rows": uint64(1)},
		map[string]any{"statement": "UPDATE orders SET state = 'PAID' WHERE id = 1"},
		map[string]any{"statement": b.text("INSERT INTO orders (id, reference) VALUES ($1, $2) RETURNING id"), "args": []any{int64(3), "A-3"}},
	}}
}

// crash makes a connection's next step end at a point, once.
func crash(opened step.Connections, at Point) {
	hit := false
	SetHook(opened["base"].Value, func(p Point) error {
		if p == at && !hit {
			hit = true
			return errCrash
		}
		return nil
	})
}

func TestACrashAtAnyPointDoesItOnce(t *testing.T) {
	everywhereAndPooled(t, func(t *testing.T, b *bench) {
		b.withEffects()
		for _, point := range []Point{PointMarked, PointRan, PointCommitted} {
			b.must("DELETE FROM orders WHERE id = 3")
			b.must("UPDATE orders SET state = 'PENDING', paid_cents = 0 WHERE id = 1")
			opened := b.open()
			crash(opened, point)
			p := b.compile(opened, config.Step{Use: "sql/exec", With: b.payment()})
			claimed := event(nil)
			if out, _ := b.attempt(p, claimed); out.Verdict == store.VerdictSucceeded {
				t.Fatalf("%s: there was no crash", point)
			}
			claimed.Delivery.Claim++
			out, result := b.attempt(p, claimed)
			if out.Verdict != store.VerdictSucceeded || result["rows_affected"] != int64(3) || !reflect.DeepEqual(result["row"], map[string]any{"id": int64(3)}) {
				t.Errorf("%s: %s %s %v", point, out.Verdict, out.Message, result)
			}
			if repeated := result["repeated"] == true; repeated != (point == PointCommitted) {
				t.Errorf("%s: repeated is %t", point, repeated)
			}
			if b.number("SELECT paid_cents FROM orders WHERE id = 1") != 1990 {
				t.Errorf("%s: paid twice, or never", point)
			}
			claimed.Delivery.Replay = 1
			if out, result = b.attempt(p, claimed); out.Verdict != store.VerdictSucceeded || result["repeated"] != true {
				t.Errorf("a replay: %s %s %v", out.Verdict, out.Message, result)
			}
		}
	})
}

const childURL = "SQLSTEP_TEST_CHILD_URL"

// TestKilledBetweenCommitAndRecord is killed by itself, as kill -9, when all is committed and nobody was told.
func TestKilledBetweenCommitAndRecord(t *testing.T) {
	if url := os.Getenv(childURL); url != "" {
		b := &bench{t: t, kind: "postgres", settings: map[string]any{"url": config.NewSecret(url), "effects": true}}
		opened := b.open()
		SetHook(opened["base"].Value, func(p Point) error {
			if p == PointCommitted {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Kill()
				select {}
			}
			return nil
		})
		claimed := event(nil)
		claimed.Delivery.Event = core.EventID{}
		b.attempt(b.compile(opened, config.Step{Use: "sql/exec", With: b.payment()}), claimed)
		t.Fatal("it lives")
	}
	b := openBench(t, "postgres")
	b.withEffects()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilledBetweenCommitAndRecord$")
	child.Env = append(os.Environ(), childURL+"="+address(b.settings))
	out, err := child.CombinedOutput()
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended with %v\n%s", err, out)
	}
	if b.number("SELECT paid_cents FROM orders WHERE id = 1") != 1990 {
		t.Fatal("the child was killed before its commit")
	}
	claimed := event(nil)
	claimed.Delivery.Event = core.EventID{}
	again, result := b.attempt(b.compile(b.open(), config.Step{Use: "sql/exec", With: b.payment()}), claimed)
	if again.Verdict != store.VerdictSucceeded || result["repeated"] != true || result["rows_affected"] != int64(3) {
		t.Errorf("%s %s %v", again.Verdict, again.Message, result)
	}
	if b.number("SELECT paid_cents FROM orders WHERE id = 1") != 1990 {
		t.Error("paid twice")
	}
}

func TestAttemptsAtOnceDoItOnce(t *testing.T) {
	everywhereAndPooled(t, func(t *testing.T, b *bench) {
		b.withEffects()
		claimed := event(nil)
		with := map[string]any{"statement": "UPDATE orders SET paid_cents = paid_cents + 1"}
		var programs []*step.Program
		for range 6 {
			programs = append(programs, b.compile(b.open(), config.Step{Use: "sql/exec", With: with})) // as on nodes of their own
		}
		var all sync.WaitGroup
		for _, p := range programs {
			all.Go(func() {
				for {
					out, _ := b.attempt(p, claimed)
					if out.Verdict == store.VerdictSucceeded {
						return
					}
					if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonBusy {
						t.Errorf("%s %s %s", out.Verdict, out.Reason, out.Message)
						return
					}
				}
			})
		}
		all.Wait()
		if n := b.number("SELECT paid_cents FROM orders WHERE id = 1"); n != 1 {
			t.Errorf("it was done %d times", n)
		}
	})
}

func TestAKeyOfTheUsersKeepsASecondMessageFromDoingIt(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		b.withEffects()
		p := b.compile(b.open(), config.Step{Use: "sql/exec", With: map[string]any{
			"statement": "UPDATE orders SET paid_cents = paid_cents + 1 WHERE id = 1", "key": "payment/${{ event.data.ref }}"}})
		for _, ref := range []string{"A-1", "A-1", "a-1", "A-1", "a-1"} {
			if out, _ := b.attempt(p, event(map[string]any{"ref": ref})); out.Verdict != store.VerdictSucceeded {
				t.Error(out.Message)
			}
		}
		if n := b.number("SELECT paid_cents FROM orders WHERE id = 1"); n != 2 {
			t.Errorf("it was done %d times", n)
		}
		if out, _ := b.attempt(p, event(map[string]any{"ref": "A\n"})); out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter {
			t.Errorf("%s %s", out.Verdict, out.Message)
		}
	})
}

func TestAMissingTableOfEffectsIsToldWithItsStatement(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		b.settings["effects"] = true
		with := map[string]any{"statement": "UPDATE orders SET paid_cents = 1"}
		out, _ := b.run("sql/exec", with, nil)
		_, ddl, found := strings.Cut(out.Message, "Make it with: ")
		if out.Verdict != store.VerdictDead || !found || b.number("SELECT MAX(paid_cents) FROM orders") != 0 {
			t.Fatalf("%s %s", out.Verdict, out.Message)
		}
		b.must(ddl)
		if out, _ = b.run("sql/exec", with, nil); out.Verdict != store.VerdictSucceeded {
			t.Error(out.Message)
		}
	})
}

// A connection that is lost while the commit is on its way: the server was told to end the session.
func TestALostCommitIsUnknownUnlessExact(t *testing.T) {
	const kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relais' AND datname = current_database()"
	for _, exact := range []bool{false, true} {
		b := openBench(t, "postgres")
		if exact {
			b.withEffects()
		}
		opened := b.open()
		SetHook(opened["base"].Value, func(p Point) error {
			if p == PointRan {
				b.must(kill)
			}
			return nil
		})
		s := config.Step{Use: "sql/exec", With: map[string]any{"statement": "UPDATE orders SET paid_cents = 1"}, Timeout: 10 * time.Second}
		if !exact {
			s.OnUnknown = "stop"
		}
		out, _ := b.attempt(b.compile(opened, s), event(nil))
		want := store.VerdictRetry
		if !exact {
			want = store.VerdictDead
		}
		if out.Verdict != want || out.Reason != core.ReasonUnknown {
			t.Errorf("exact %t: %s %s %s", exact, out.Verdict, out.Reason, out.Message)
		}
	}
}
