package step

import (
	"errors"
	"testing"
)

func TestWhatIsKeptIsClosedAfterItsLastUserOnceRetired(t *testing.T) {
	made, closed := 0, 0
	k := Kept[int]{Make: func() (int, error) { made++; return made, nil }, Close: func(int) { closed++ }}
	expect := func(when string, wantMade, wantClosed int) {
		t.Helper()
		if made != wantMade || closed != wantClosed {
			t.Errorf("%s: made %d times and closed %d times, want %d and %d", when, made, closed, wantMade, wantClosed)
		}
	}
	use := func() (int, func()) {
		t.Helper()
		shared, done, err := k.Use()
		if err != nil {
			t.Fatal(err)
		}
		return shared, done
	}
	expect("unused", 0, 0)
	_, done := use()
	done()
	first, doneFirst := use()
	second, doneSecond := use()
	if first != 1 || second != 1 {
		t.Errorf("two users got %d and %d", first, second)
	}
	doneFirst()
	expect("in force", 1, 0)
	k.Retire()
	expect("retired while it is used", 1, 0)
	doneSecond()
	expect("after the last user", 1, 1)
	_, done = use()
	done()
	expect("used again by what runs on", 2, 2)
	k.Retire()
	expect("retired twice", 2, 2)
}

func TestWhatCouldNotBeMadeIsTriedAgain(t *testing.T) {
	away := errors.New("away")
	k := Kept[int]{Make: func() (int, error) { return 0, away }, Close: func(int) { t.Error("what was never made is closed") }}
	if _, _, err := k.Use(); !errors.Is(err, away) {
		t.Error(err)
	}
	k.Retire()
	k.Make = func() (int, error) { return 7, nil }
	k.Close = func(int) {}
	if shared, done, err := k.Use(); err != nil || shared != 7 {
		t.Error(shared, err)
	} else {
		done()
	}
}
