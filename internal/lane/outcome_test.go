package lane

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"relais/internal/core"
	"relais/internal/store"
)

func TestConclude(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	young := core.Delivery{CreatedAt: now.Add(-time.Minute)}
	retry := store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonStatus, Message: "503"}
	for name, c := range map[string]struct {
		e    ending
		in   store.Outcome
		want store.Outcome
	}{
		"success says nothing": {
			ending{delivery: young}, store.Outcome{Verdict: store.VerdictSucceeded, Reason: core.ReasonStatus, Delay: 1},
			store.Outcome{Verdict: store.VerdictSucceeded},
		},
		"skipped says so": {
			ending{delivery: young}, store.Outcome{Verdict: store.VerdictSkipped, Message: "refused quote"},
			store.Outcome{Verdict: store.VerdictSkipped, Reason: core.ReasonSkipped, Message: "refused quote"},
		},
		"first retry takes the schedule's second delay": {
			ending{delivery: young, jitter: 0.5}, retry,
			store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonStatus, Message: "503", Delay: 5 * time.Second},
		},
		"a later Retry-After wins": {
			ending{delivery: young, jitter: 0.5}, store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonMaintenance, Delay: 30 * time.Minute},
			store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonMaintenance, Delay: 30 * time.Minute},
		},
		"an earlier Retry-After doesn't": {
			ending{delivery: core.Delivery{CreatedAt: now, Attempts: 1}, jitter: 0.5}, store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonRateLimited, Delay: time.Minute},
			store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonRateLimited, Delay: 5 * time.Minute},
		},
		"a year's Retry-After is a day's": {
			ending{delivery: young, jitter: 0.5}, store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonStatus, Delay: 365 * 24 * time.Hour},
			store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonStatus, Delay: 24 * time.Hour},
		},
		"the last attempt exhausts": {
			ending{delivery: core.Delivery{CreatedAt: now, Attempts: 9}, settings: Settings{FIFOStop: true}}, retry,
			store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonExhausted, Message: "the last of 10 attempts failed: 503", FIFOStop: true},
		},
		"without a message the reason is said": {
			ending{delivery: young, settings: Settings{Schedule: core.Schedule{0}}}, store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout},
			store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonExhausted, Message: "the last of 1 attempts failed: timeout"},
		},
		"max_age ends what would come back too late": {
			ending{delivery: young, jitter: 0.5, settings: Settings{MaxAge: time.Minute}}, retry,
			store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonMaxAge, Message: "older than its max_age of 1m0s before it could be tried again: 503"},
		},
		"max_age ends a wait too": {
			ending{delivery: young, settings: Settings{MaxAge: time.Minute}}, store.Outcome{Verdict: store.VerdictDefer, Reason: core.ReasonHeld, Delay: time.Hour},
			store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonMaxAge, Message: "older than its max_age of 1m0s before it could be tried again: effect_held"},
		},
		"max_age leaves no sent effect without a look-up": {
			ending{delivery: young, settings: Settings{MaxAge: time.Minute}}, store.Outcome{Verdict: store.VerdictDefer, Reason: core.ReasonSettling, Delay: time.Hour},
			store.Outcome{Verdict: store.VerdictDefer, Reason: core.ReasonSettling, Delay: time.Hour},
		},
		"a wait of no time doesn't spin": {
			ending{delivery: young}, store.Outcome{Verdict: store.VerdictDefer, Reason: core.ReasonHeld},
			store.Outcome{Verdict: store.VerdictDefer, Reason: core.ReasonHeld, Delay: minDefer},
		},
		"what a stop cut off is handed back": {
			ending{delivery: young, stopped: true}, retry,
			store.Outcome{Verdict: store.VerdictReturn, Reason: core.ReasonInterrupted, Message: "503"},
		},
		"what was sent before a stop isn't": {
			ending{delivery: young, jitter: 0.5, stopped: true}, store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonUnknown},
			store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonUnknown, Delay: 5 * time.Second},
		},
		"what ended by itself during a stop stands": {
			ending{delivery: young, stopped: true}, store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonInvalidData},
			store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonInvalidData},
		},
		"an unknown verdict is a fault": {
			ending{delivery: young, jitter: 0.5}, store.Outcome{Verdict: "well"},
			store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonInternal, Message: `the runner gave the verdict "well", which doesn't exist`, Delay: 5 * time.Second},
		},
	} {
		c.e.now = now
		if diff := cmp.Diff(c.want, c.e.conclude(c.in)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestStepsStayWithWhateverIsConcluded(t *testing.T) {
	steps := []store.StepResult{{Step: "facture", Definition: "x"}}
	for _, v := range []store.Verdict{store.VerdictSucceeded, store.VerdictSkipped, store.VerdictRetry, store.VerdictDefer, store.VerdictDead, store.VerdictReturn, "?"} {
		for _, attempts := range []int{0, 50} {
			e := ending{delivery: core.Delivery{Attempts: attempts}, stopped: v == store.VerdictRetry}
			if got := e.conclude(store.Outcome{Verdict: v, Steps: steps}); len(got.Steps) != 1 {
				t.Errorf("%q after %d attempts lost the results of its steps", v, attempts)
			}
		}
	}
}

func TestEvidenceOfOutcomes(t *testing.T) {
	for _, c := range []struct {
		raw     store.Outcome
		verdict store.Verdict
		want    core.Evidence
	}{
		{store.Outcome{Verdict: store.VerdictSucceeded}, store.VerdictSucceeded, core.EvidenceUp},
		{store.Outcome{Verdict: store.VerdictSkipped}, store.VerdictSkipped, core.EvidenceNone},
		{store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout}, store.VerdictDead, core.EvidenceDown},
		{store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout}, store.VerdictReturn, core.EvidenceNone},
		{store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonStatus}, store.VerdictDead, core.EvidenceUp},
		{store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonStatus}, store.VerdictRetry, core.EvidenceDown},
		{store.Outcome{Verdict: store.VerdictDefer, Reason: core.ReasonSettling}, store.VerdictDefer, core.EvidenceNone},
		{store.Outcome{Verdict: store.VerdictRetry}, store.VerdictRetry, core.EvidenceNone},
	} {
		if got := evidenceOf(c.raw, store.Outcome{Verdict: c.verdict}); got != c.want {
			t.Errorf("%s %s that became %s: %v, want %v", c.raw.Verdict, c.raw.Reason, c.verdict, got, c.want)
		}
	}
}

func TestMessagesAreBoundedText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		got := clip(string(rapid.SliceOfN(rapid.Byte(), 0, 3*messageBytes).Draw(t, "message")))
		if !utf8.ValidString(got) || len(got) > 3*messageBytes+8 {
			t.Fatalf("%d bytes, valid %v", len(got), utf8.ValidString(got))
		}
	})
	if got := clip(strings.Repeat("é", messageBytes)); len(got) > messageBytes+8 {
		t.Errorf("a long message keeps %d bytes", len(got))
	}
}
