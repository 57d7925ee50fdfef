//go:build unix

package pgtest_test

import (
	"testing"

	"relais/internal/store/postgres/pgtest"
)

func TestCutLineIsSilentUntilHealed(t *testing.T) {
	direct := pgtest.URL(t)
	line := pgtest.Relay(t, direct)
	through := line.URL(direct)
	run(t, connect(t, direct), "CREATE TABLE events (id int)")
	busy, idle := connect(t, through), connect(t, through)

	line.Cut()
	silent(t, busy, "INSERT INTO events VALUES (1)")
	unreachable(t, through)
	line.Heal()

	if n := ask[int](t, idle, "SELECT count(*) FROM events"); n != 0 {
		t.Error("what was sent over a cut line arrived")
	}
	connect(t, through)
}

func TestHeldLineDeliversLate(t *testing.T) {
	direct := pgtest.URL(t)
	line := pgtest.Relay(t, direct)
	run(t, connect(t, direct), "CREATE TABLE events (id int)")
	node := connect(t, line.URL(direct))

	line.Hold()
	inserted := make(chan error, 1)
	go func() {
		_, err := node.Exec(t.Context(), "INSERT INTO events VALUES (1)")
		inserted <- err
	}()
	unreachable(t, line.URL(direct))
	select {
	case err := <-inserted:
		t.Fatalf("answered over a held line: %v", err)
	default:
	}
	line.Heal()

	if err := <-inserted; err != nil {
		t.Fatal(err)
	}
	if n := ask[int](t, connect(t, direct), "SELECT count(*) FROM events"); n != 1 {
		t.Errorf("%d events", n)
	}
}
