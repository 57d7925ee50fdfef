package postgres

import (
	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// wanted is what a claim asks for, and what it gets.
type wanted struct {
	ids    []int64
	before []int64 // they may have steps
	events map[int32][][16]byte
	old    [][16]byte // of days whose partition may be gone

	taken map[core.DeliveryID]bool
	found map[core.EventID]core.Event
	steps map[core.DeliveryID][]store.StepResult
}

func newWanted(chosen []candidate, today int32) *wanted {
	n := len(chosen)
	w := &wanted{
		ids: make([]int64, n), events: map[int32][][16]byte{},
		taken: make(map[core.DeliveryID]bool, n), found: make(map[core.EventID]core.Event, n),
	}
	for i := range chosen {
		c := &chosen[i]
		w.ids[i] = int64(c.ID)
		if c.before() {
			w.before = append(w.before, int64(c.ID))
		}
		if _, twice := w.found[c.Event]; twice {
			continue
		}
		w.found[c.Event] = core.Event{}
		w.events[c.day] = append(w.events[c.day], c.Event)
		if c.day < today {
			w.old = append(w.old, c.Event)
		}
	}
	return w
}

func (w *wanted) readTaken(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		w.taken[core.DeliveryID(id)] = true
		return nil
	})
	return err
}

func (w *wanted) readEvents(rows pgx.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanEvent(rows, true)
		if err != nil {
			return err
		}
		w.found[e.ID] = e
	}
	return rows.Err()
}

func (w *wanted) readSteps(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	w.steps = map[core.DeliveryID][]store.StepResult{}
	var delivery int64
	var step store.StepResult
	_, err = pgx.ForEachRow(rows, []any{&delivery, &step.Step, &step.Definition, (*[]byte)(&step.Result)}, func() error {
		id := core.DeliveryID(delivery)
		w.steps[id] = append(w.steps[id], step)
		step.Result = nil
		return nil
	})
	return err
}
