package main

import (
	"errors"
	"testing"

	"relais/internal/api"
)

func TestReconcileLooksAgainAtWhatMayBeOnItsWay(t *testing.T) {
	errAway := errors.New("away")
	for name, c := range map[string]struct {
		answers []api.Reconciled
		leaves  bool
		err     error // of the last answer
		made    int
		waiting int
	}{
		"nothing waits":            {answers: []api.Reconciled{{Made: 2}}, made: 2},
		"made at the second look":  {answers: []api.Reconciled{{Made: 1, Waiting: 2}, {Made: 2}}, made: 3},
		"accepted in between":      {answers: []api.Reconciled{{Waiting: 1}, {Made: 1, Waiting: 4}}, made: 1, waiting: 4},
		"left to the next time":    {answers: []api.Reconciled{{Made: 1, Waiting: 2}}, leaves: true, made: 1, waiting: 2},
		"the second look fails":    {answers: []api.Reconciled{{Waiting: 2}, {}}, err: errAway},
		"the first look fails too": {answers: []api.Reconciled{{}}, err: errAway},
	} {
		asked, waited := 0, 0
		out, err := twice(func() (api.Reconciled, error) {
			asked++
			if asked == len(c.answers) {
				return c.answers[asked-1], c.err
			}
			return c.answers[asked-1], nil
		}, func(*api.Reconciled) bool { waited++; return !c.leaves })
		if !errors.Is(err, c.err) || out.Made != c.made || out.Waiting != c.waiting {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		if asked != len(c.answers) || waited > 1 {
			t.Errorf("%s: asked %d times, waited %d times", name, asked, waited)
		}
	}
}
