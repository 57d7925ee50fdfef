package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Purge chooses what is deleted for good: named events, or those for which a condition holds.
type Purge struct {
	Events []string  `json:"events,omitempty" maxItems:"1000" doc:"These events"`
	Where  string    `json:"where,omitempty" maxLength:"65536" doc:"A CEL condition on event" example:"event.data.email == \"anne@example.fr\""`
	Source string    `json:"source,omitempty"`
	Type   string    `json:"type,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	DryRun bool      `json:"dry_run,omitempty" doc:"Only tell what would be deleted"`
}

// Purged says what a purge deleted, or would delete.
type Purged struct {
	DryRun  bool `json:"dry_run"`
	Read    int  `json:"read" doc:"Events that were looked at"`
	Matched int  `json:"matched"`
	Purged  int  `json:"purged"`
	// Busy events have a delivery that runs: nothing is taken from under it.
	Busy int `json:"busy" doc:"Kept because a delivery of theirs was running: ask again"`
	// Undecided are events for which the condition has no value; they are kept.
	Undecided        int      `json:"undecided" doc:"Kept because the condition could not be evaluated on them, a missing key for instance"`
	UndecidedExample string   `json:"undecided_example,omitempty"`
	Events           []string `json:"events" doc:"The first hundred that matched"`
	// Note is set when rows are gone and an older copy of their bytes may still be on the disk.
	Note string `json:"note,omitempty" doc:"What is still to be done"`
}

type purgeRequest struct {
	By
	Body Purge
}

type purgeResult struct{ Body Purged }

const (
	scanPage   = 200 // events with bodies in memory at once
	purgeBatch = 50  // events that one transaction deletes: acknowledgements wait for no more than that
	shownIDs   = 100
)

func (s *server) purge(ctx context.Context, in *purgeRequest) (*purgeResult, error) {
	ids, result, err := s.choosePurge(ctx, &in.Body)
	if err != nil {
		return nil, err
	}
	result.DryRun, result.Matched = in.Body.DryRun, len(ids)
	for _, id := range ids[:min(len(ids), shownIDs)] {
		result.Events = append(result.Events, id.String())
	}
	if in.Body.DryRun {
		return &purgeResult{*result}, nil
	}
	if err := s.purgeIDs(ctx, ids, in.by(), result); err != nil {
		return nil, err
	}
	return &purgeResult{*result}, nil
}

func (s *server) choosePurge(ctx context.Context, p *Purge) ([]core.EventID, *Purged, error) {
	result := &Purged{Events: []string{}}
	switch {
	case len(p.Events) == 0 && p.Where == "":
		return nil, nil, at("body.where", core.Errorf(core.CodeInvalid, "a purge needs a condition (where) or events: it deletes for good"))
	case len(p.Events) > 0 && p.Where != "":
		return nil, nil, at("body.events", core.Errorf(core.CodeInvalid, "give events or where, not both"))
	case p.Where != "":
		ids, err := s.eventsWhere(ctx, p, result)
		return ids, result, err
	}
	ids := make([]core.EventID, 0, len(p.Events))
	for i, text := range p.Events {
		field := fmt.Sprintf("body.events[%d]", i)
		id, err := core.ParseEventID(text)
		if err != nil {
			return nil, nil, at(field, err)
		}
		if _, err := s.Store.Event(ctx, id); err != nil {
			return nil, nil, at(field, err)
		}
		ids = append(ids, id)
	}
	result.Read = len(ids)
	return ids, result, nil
}

// eventsWhere reads every event that the filter takes, repeats included (they hold the same person's
// data), a page at a time.
func (s *server) eventsWhere(ctx context.Context, p *Purge, result *Purged) ([]core.EventID, error) {
	holds, err := s.condition("body.where", p.Where)
	if err != nil {
		return nil, err
	}
	types, err := pattern("body.type", p.Type)
	if err != nil {
		return nil, err
	}
	var ids []core.EventID
	var without undecided
	filter := store.EventFilter{Source: p.Source, Type: types, Since: p.Since, Until: p.Until, Repeats: true, Body: true}
	err = s.scan(ctx, filter, func(event *core.Event) (bool, error) {
		result.Read++
		ok, err := without.chosen(ctx, holds, event)
		if ok {
			ids = append(ids, event.ID)
		}
		return false, err
	})
	result.Undecided, result.UndecidedExample = without.count, without.example
	return ids, err
}

// purgeIDs deletes in small transactions; where one of a batch is running, the others still go.
func (s *server) purgeIDs(ctx context.Context, ids []core.EventID, by string, result *Purged) error {
	for batch := range slices.Chunk(ids, purgeBatch) {
		err := s.purgeBatch(ctx, batch, by, result)
		if err == nil {
			continue
		}
		if core.CodeOf(err) != core.CodeConflict {
			return err
		}
		for i := range batch {
			err := s.purgeBatch(ctx, batch[i:i+1], by, result)
			if core.CodeOf(err) == core.CodeConflict {
				result.Busy++
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// purgeBatch deletes one batch. An error that comes with a number means that the rows are gone and the
// log behind them could not be emptied: the next batch empties it, and only the last one's note stays.
func (s *server) purgeBatch(ctx context.Context, batch []core.EventID, by string, result *Purged) error {
	n, err := s.Store.Purge(ctx, batch, by)
	result.Purged += n
	if n > 0 {
		result.Note = ""
		if err != nil {
			result.Note = err.Error()
		}
		return nil
	}
	return err
}

// asInvalid gives the error of an expression, which is for whoever wrote it, a code.
func asInvalid(err error) error {
	if core.CodeOf(err) != "" {
		return err
	}
	return core.Errorf(core.CodeInvalid, "%w", err)
}
