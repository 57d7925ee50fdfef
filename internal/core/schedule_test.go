package core

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDefaultScheduleMakesTenAttempts(t *testing.T) {
	var s Schedule // nil is the default
	for attempts, want := range DefaultSchedule {
		if got, ok := s.Next(attempts, 0.5); !ok || got != want {
			t.Errorf("after %d attempts: %v, %v; want %v", attempts, got, ok, want)
		}
	}
	if got, ok := s.Next(10, 0.5); ok {
		t.Errorf("an eleventh attempt after %v", got)
	}
}

func TestEmptyScheduleMakesNoAttempt(t *testing.T) {
	if _, ok := (Schedule{}).Next(0, 0); ok {
		t.Error("a schedule without delays makes an attempt")
	}
}

func TestJitterStaysWithinAFifth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		delay := rapid.Int64Range(0, int64(30*24*time.Hour)).Draw(t, "delay")
		low, high := rapid.Float64Range(0, 0.9999999).Draw(t, "jitter"), rapid.Float64Range(0, 0.9999999).Draw(t, "jitter2")
		if low > high {
			low, high = high, low
		}
		s := Schedule{time.Duration(delay)}
		a, _ := s.Next(0, low)
		b, _ := s.Next(0, high)
		if a > b {
			t.Fatalf("more jitter gave less: %v, %v", a, b)
		}
		if float64(a) < float64(delay)*0.8-1 || float64(b) > float64(delay)*1.2+1 {
			t.Fatalf("%v and %v are not within a fifth of %v", a, b, s[0])
		}
	})
}

func TestClampRetryAfter(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		-time.Second:         0,
		0:                    0,
		time.Millisecond:     time.Second,
		30 * time.Minute:     30 * time.Minute,
		365 * 24 * time.Hour: 24 * time.Hour,
	} {
		if got := ClampRetryAfter(asked); got != want {
			t.Errorf("ClampRetryAfter(%v) = %v, want %v", asked, got, want)
		}
	}
}

func TestPastMaxAge(t *testing.T) {
	made := time.Unix(1000, 0)
	for _, c := range []struct {
		age, bound time.Duration
		want       bool
	}{
		{time.Hour, 0, false},
		{time.Hour, time.Hour, false},
		{time.Hour + 1, time.Hour, true},
	} {
		if got := PastMaxAge(made, made.Add(c.age), c.bound); got != c.want {
			t.Errorf("age %v, bound %v: %v", c.age, c.bound, got)
		}
	}
}
