package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Pause is what is paused: its deliveries wait, and events are still accepted and stored.
type Pause struct {
	Scope  string    `json:"scope" enum:"all,source,route,endpoint"`
	Name   string    `json:"name,omitempty" doc:"Of the source, route or endpoint"`
	Reason string    `json:"reason,omitempty" maxLength:"500"`
	By     string    `json:"by,omitempty" readOnly:"true"`
	At     time.Time `json:"at,omitzero" readOnly:"true"`
}

// Scope names what is resumed.
type Scope struct {
	Scope string `json:"scope" enum:"all,source,route,endpoint"`
	Name  string `json:"name,omitempty"`
}

type pauseRequest struct {
	By
	Body Pause
}

type resumeRequest struct {
	By
	Body Scope
}

type pauseList struct{ Body List[Pause] }

func (s *server) registerPauses() {
	register(s, operation(http.MethodGet, "/pauses", "list-pauses", "pauses", "List what is paused"), s.listPauses)
	register(s, operation(http.MethodPost, "/pause", "pause", "pauses", "Let deliveries wait", 422, 503), s.pause)
	register(s, operation(http.MethodPost, "/resume", "resume", "pauses", "Let deliveries run again", 404, 422, 503), s.resume)
}

func (s *server) listPauses(ctx context.Context, _ *struct{}) (*pauseList, error) {
	pauses, err := s.pauses(ctx)
	return &pauseList{List[Pause]{Items: pauses}}, err
}

func (s *server) pauses(ctx context.Context) ([]Pause, error) {
	rows, err := s.Store.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Pause, len(rows))
	for i, p := range rows {
		out[i] = Pause{Scope: string(p.Scope), Name: p.Name, Reason: p.Reason, By: p.By, At: p.At.UTC()}
	}
	return out, nil
}

func (s *server) pause(ctx context.Context, in *pauseRequest) (*pauseList, error) {
	scope := store.PauseScope(in.Body.Scope)
	if err := s.checkName("body.name", scope, in.Body.Name); err != nil {
		return nil, err
	}
	p := store.Pause{Scope: scope, Name: in.Body.Name, Reason: in.Body.Reason, By: in.by(), At: s.Now()}
	if err := s.Store.SetPause(ctx, p); err != nil {
		return nil, err
	}
	s.Changed()
	return s.listPauses(ctx, nil)
}

// resume takes names that aren't configured any more: what was paused before it was removed, or
// renamed, must not stay paused for ever.
func (s *server) resume(ctx context.Context, in *resumeRequest) (*pauseList, error) {
	rows, err := s.Store.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	scope := store.PauseScope(in.Body.Scope)
	if !slices.ContainsFunc(rows, func(p store.Pause) bool { return p.Scope == scope && p.Name == in.Body.Name }) {
		if err := s.checkName("body.name", scope, in.Body.Name); err != nil {
			return nil, err
		}
		what := in.Body.Scope
		if in.Body.Name != "" {
			what += " " + in.Body.Name
		}
		return nil, core.Errorf(core.CodeNotFound, "%s is not paused", what)
	}
	if err := s.Store.Resume(ctx, scope, in.Body.Name, in.by()); err != nil {
		return nil, err
	}
	s.Changed()
	return s.listPauses(ctx, nil)
}

// checkName refuses a name that nothing of that scope has.
func (s *server) checkName(field string, scope store.PauseScope, name string) error {
	var known []string
	switch scope {
	case store.PauseAll:
		if name != "" {
			return at(field, core.Errorf(core.CodeInvalid, "all takes no name"))
		}
		return nil
	case store.PauseSource:
		known = s.Sources()
	default:
		for _, d := range s.Routes().Destinations() {
			if string(d.Kind) == string(scope) {
				known = append(known, d.Name)
			}
		}
	}
	if slices.Contains(known, name) {
		return nil
	}
	return at(field, noSuch(string(scope), name, known))
}
