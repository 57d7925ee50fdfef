package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"relais/internal/core"
	"relais/internal/store"
)

type listEffects struct {
	Page
	State  string `query:"state" enum:"open,sent,done,unknown"`
	Prefix string `query:"prefix" doc:"Whose key begins so" example:"default/compta/invoice/"`
}

type effectList struct{ Body List[Effect] }

type oneEffect struct {
	Key string `path:"key" doc:"The key, with / written as %2F" example:"default%2Fcompta%2Finvoice%2Festimate%2F52437688"`
}

type effectDetail struct{ Body Effect }

// Resolve is a person's word on an effect that relais could not decide.
type Resolve struct {
	Done   json.RawMessage `json:"done,omitempty" doc:"It exists in the other system: as this JSON object, with its id"`
	Absent bool            `json:"absent,omitempty" doc:"It does not exist: the next attempt may do it"`
}

type resolveRequest struct {
	By
	Key  string `path:"key" doc:"The key, with / written as %2F"`
	Body Resolve
}

func (s *server) registerEffects() {
	register(s, operation(http.MethodGet, "/effects", "list-effects", "effects", "List effects, by key", 422), s.listEffects)
	register(s, operation(http.MethodGet, "/effects/{key}", "get-effect", "effects", "One effect", 404), s.getEffect)
	register(s, operation(http.MethodPost, "/effects/{key}/resolve", "resolve-effect", "effects",
		"Say what became of an effect that could not be decided", 404, 409, 422), s.resolveEffect)
}

// Keys hold slashes, so that their cursor is encoded where a number is not.
var cursorEncoding = base64.RawURLEncoding

func (s *server) listEffects(ctx context.Context, in *listEffects) (*effectList, error) {
	after, err := cursorEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, at("query.cursor", core.Errorf(core.CodeInvalid, "%q is not a cursor: use next_cursor of the page before", in.Cursor))
	}
	rows, err := s.Store.Effects(ctx, store.EffectFilter{State: store.EffectState(in.State), Key: in.Prefix, After: string(after), Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	return &effectList{listed(rows, in.Limit, viewEffect, func(e *store.Effect) string { return cursorEncoding.EncodeToString([]byte(e.Key)) })}, nil
}

func (s *server) getEffect(ctx context.Context, in *oneEffect) (*effectDetail, error) {
	e, err := s.Store.Effect(ctx, in.Key)
	if err != nil {
		return nil, err
	}
	return &effectDetail{viewEffect(&e)}, nil
}

func (s *server) resolveEffect(ctx context.Context, in *resolveRequest) (*effectDetail, error) {
	done := len(in.Body.Done) > 0 && string(in.Body.Done) != "null"
	if done == in.Body.Absent {
		return nil, at("body", core.Errorf(core.CodeInvalid, "say either done, with the id that it has in the other system, or absent"))
	}
	p := store.ResolveEffect{Key: in.Key, Absent: in.Body.Absent, By: in.by()}
	if done {
		var object map[string]any
		if err := json.Unmarshal(in.Body.Done, &object); err != nil || object["id"] == nil {
			return nil, at("body.done", core.Errorf(core.CodeInvalid, `done must be an object with the id: {"id": 52437688}`))
		}
		p.Done = in.Body.Done
	}
	e, err := s.Store.ResolveEffect(ctx, p)
	if err != nil {
		return nil, err
	}
	s.Changed()
	return &effectDetail{viewEffect(&e)}, nil
}
