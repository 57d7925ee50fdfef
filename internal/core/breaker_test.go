package core

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBreakerOpensRestsProbesAndCloses(t *testing.T) {
	rule := BreakerRule{After: 3, Rest: 10 * time.Second, MaxRest: 35 * time.Second}
	now := time.Unix(1000, 0)
	start := now
	var s BreakerState
	for range 2 {
		s = rule.Note(s, EvidenceDown, now)
		if s.Phase(now) != BreakerClosed {
			t.Fatalf("not closed after %d failures", s.Failures)
		}
	}
	for _, rest := range []time.Duration{10 * time.Second, 20 * time.Second, 35 * time.Second, 35 * time.Second} {
		s = rule.Note(s, EvidenceDown, now)
		if got := s.RestUntil.Sub(now); got != rest {
			t.Fatalf("after %d failures it rests %v, want %v", s.Failures, got, rest)
		}
		if s.Phase(s.RestUntil.Add(-1)) != BreakerResting {
			t.Fatal("it doesn't rest until its time")
		}
		if late := rule.Note(s, EvidenceDown, now.Add(time.Second)); late != s {
			t.Fatalf("a failure from before it opened changed %+v to %+v", s, late)
		}
		now = s.RestUntil
		if s.Phase(now) != BreakerProbing {
			t.Fatal("it doesn't probe when its rest is over")
		}
		if same := rule.Note(s, EvidenceNone, now); same != s {
			t.Fatal("an attempt that says nothing about the destination ended the probing")
		}
	}
	if !s.Since.Equal(start) {
		t.Errorf("the row of failures began at %v, want %v", s.Since, start)
	}
	if s = rule.Note(s, EvidenceUp, now); s != (BreakerState{}) {
		t.Errorf("a success leaves %+v", s)
	}
}

func TestBreakerThatIsOffNeverOpens(t *testing.T) {
	var s BreakerState
	for range 1000 {
		s = (BreakerRule{}).Note(s, EvidenceDown, time.Unix(1, 0))
	}
	if s.Phase(time.Unix(1, 0)) != BreakerClosed {
		t.Error("it opened")
	}
}

func TestBreakerRestsNeverShrinkInARowNorPassTheirBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := BreakerRule{
			After:   rapid.IntRange(1, 5).Draw(t, "after"),
			Rest:    time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "rest")),
			MaxRest: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "max")),
		}
		now, last := time.Unix(0, 1), time.Duration(0)
		var s BreakerState
		for range rapid.IntRange(1, 200).Draw(t, "failures") {
			s = rule.Note(s, EvidenceDown, now)
			if s.RestUntil.IsZero() {
				continue
			}
			rest := s.RestUntil.Sub(now)
			if rest < last || rest <= 0 || rest > rule.MaxRest {
				t.Fatalf("rest %v after %v, bound %v", rest, last, rule.MaxRest)
			}
			last, now = rest, s.RestUntil
		}
	})
}

func TestEvidence(t *testing.T) {
	for _, c := range []struct {
		reason Reason
		final  bool
		want   Evidence
	}{
		{ReasonNone, false, EvidenceUp},
		{ReasonTimeout, false, EvidenceDown},
		{ReasonRefused, false, EvidenceDown},
		{ReasonStatus, false, EvidenceDown},
		{ReasonStatus, true, EvidenceUp},
		{ReasonAuth, true, EvidenceDown},
		{ReasonInvalidData, true, EvidenceUp},
		{ReasonExpression, true, EvidenceNone},
		{ReasonInternal, false, EvidenceNone},
		{ReasonSettling, false, EvidenceNone},
		{ReasonHeld, false, EvidenceNone},
		{ReasonInterrupted, false, EvidenceNone},
		{ReasonSkipped, false, EvidenceNone},
	} {
		if got := EvidenceOf(c.reason, c.final); got != c.want {
			t.Errorf("EvidenceOf(%q, %v) = %v, want %v", c.reason, c.final, got, c.want)
		}
	}
}
