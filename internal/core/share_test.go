package core

import (
	"testing"

	"pgregory.net/rapid"
)

func sum(counts [Classes]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// The lots below the total are every outcome there is, so that this counts exactly what
// many claims with room for one come to.
func TestSharesOfSingleClaimsAddUpToTheWeights(t *testing.T) {
	waiting := [Classes]int{9, 9, 9, 9, 9, 9, 9, 9}
	_, total := classWeights(waiting)
	var got [Classes]int
	for lot := range uint64(total) {
		for class, n := range sharePriorities(1, waiting, lot) {
			got[class] += n
		}
	}
	retries := got[1] + got[3] + got[5] + got[7]
	if retries*10 != total {
		t.Errorf("retries got %d of %d, want a tenth", retries, total)
	}
	for side := range 2 {
		low := got[6+side]
		if low == 0 || got[side] != 8*low || got[2+side] != 4*low || got[4+side] != 2*low {
			t.Errorf("the shares are %v, want 8:4:2:1", got)
		}
	}
}

func TestShareTable(t *testing.T) {
	for _, c := range []struct {
		room    int
		waiting [Classes]int
		want    [Classes]int
	}{
		{0, [Classes]int{5}, [Classes]int{}},
		{-1, [Classes]int{5}, [Classes]int{}},
		{10, [Classes]int{}, [Classes]int{}},
		{15, [Classes]int{99, 0, 99, 0, 99, 0, 99, 0}, [Classes]int{8, 0, 4, 0, 2, 0, 1, 0}},
		{100, [Classes]int{0, 0, 0, 0, 500, 500, 0, 0}, [Classes]int{0, 0, 0, 0, 90, 10, 0, 0}},
		{100, [Classes]int{0, 0, 0, 0, 3, 500, 0, 0}, [Classes]int{0, 0, 0, 0, 3, 97, 0, 0}},
		{10, [Classes]int{0, 0, 0, 0, 0, 0, 4, 0}, [Classes]int{0, 0, 0, 0, 0, 0, 4, 0}},
	} {
		if got := SharePriorities(c.room, c.waiting); got != c.want {
			t.Errorf("SharePriorities(%d, %v) = %v, want %v", c.room, c.waiting, got, c.want)
		}
	}
}

func drawWaiting(t *rapid.T) (waiting [Classes]int) {
	for class := range waiting {
		waiting[class] = rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 3), rapid.IntRange(1, 5000)).Draw(t, "waiting")
	}
	return waiting
}

func TestSharesFillTheRoomAndNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		waiting := drawWaiting(t)
		room := rapid.IntRange(0, 3000).Draw(t, "room")
		given := sharePriorities(room, waiting, rapid.Uint64().Draw(t, "lot"))
		if got, want := sum(given), min(room, sum(waiting)); got != want {
			t.Fatalf("%d given, want %d", got, want)
		}
		for class, n := range given {
			if n < 0 || n > waiting[class] {
				t.Fatalf("class %d got %d of %d", class, n, waiting[class])
			}
		}
	})
}

func TestMoreRoomNeverGivesAHigherPriorityLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5000).Draw(t, "waiting")
		waiting := [Classes]int{n, n, n, n, n, n, n, n}
		given := sharePriorities(rapid.IntRange(1, 3000).Draw(t, "room"), waiting, rapid.Uint64().Draw(t, "lot"))
		for class := 2; class < Classes; class++ {
			// Rounding may move one.
			if given[class] > given[class-2]+1 {
				t.Fatalf("a lower priority got more: %v", given)
			}
		}
	})
}

// A flood of urgent deliveries refills its class after each claim; the lot is the real one.
func TestNothingStarvesBehindAFlood(t *testing.T) {
	for room := 1; room <= 3; room++ {
		for starved := 1; starved < Classes; starved++ {
			waiting := [Classes]int{0: 1000}
			waiting[starved] = 1
			for round := 0; ; round++ {
				if SharePriorities(room, waiting)[starved] == 1 {
					break
				}
				// The chance of one claim is 1/10 at least; of missing 5,000, less than 1e-200.
				if round == 5000 {
					t.Fatalf("class %d waits for ever with room for %d", starved, room)
				}
			}
		}
	}
}
