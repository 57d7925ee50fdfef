// Package meilisearch is the step meilisearch/index: documents put into an index of a Meilisearch, or
// taken out of it.
//
// Meilisearch takes a request as a task, answers with the task's number, and does it later, in order. A
// document is known by its primary key, so that one that is sent twice ends as if it had been sent once:
// after a lost answer the step sends it again. What is wrong with a document is found by the task, and
// seen here only with wait: true. An older document that comes after a newer one replaces it: where that
// matters, the route says order_by.
package meilisearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// Index is the kind meilisearch/index, calling through e.
func Index(e *egress.Egress) step.Kind {
	return step.Kind{
		Name:       "meilisearch/index",
		Class:      step.ClassAtLeastOnce,
		Connection: "meilisearch",
		Result:     []string{"task", "documents"},
		Doc: "Puts documents into an index, or deletes some by their ids. Its result has `task` (the task's number) and `documents` (how many were sent). " +
			"A document that is sent twice ends as if it had been sent once, so that what had no answer is sent again. Meilisearch checks documents after it has answered: with `wait: true` the step ends when the task does, and fails when it fails.",
		Params: []step.Param{
			{Name: "index", Type: step.TypeString, Required: true, Literal: true, Check: checkUID, Doc: "The index' uid; it is made when it isn't there."},
			{Name: "documents", Type: step.TypeAny, Doc: "A document, or a list of documents."},
			{Name: "delete", Type: step.TypeAny, Doc: "In place of `documents`: an id, or a list of ids, of documents to delete. What isn't there is no error."},
			{Name: "primary_key", Type: step.TypeString, Literal: true, Doc: "The member that identifies a document, where the index doesn't know it yet. Documents are then checked to have it before they are sent."},
			{Name: "partial", Type: step.TypeBool, Literal: true, Default: false, Doc: "Whether members that a document leaves out keep their values; else the document is replaced."},
			{Name: "wait", Type: step.TypeBool, Literal: true, Default: false, Doc: "Whether to wait, within the step's `timeout`, until Meilisearch has done it."},
		},
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) { return run(ctx, call, e.Client()) },
	}
}

func run(ctx context.Context, call *step.Call, client *http.Client) (step.Result, error) {
	c, ok := call.Connection.(*connection)
	if !ok {
		return nil, fmt.Errorf("meilisearch/index got a connection of type %T", call.Connection)
	}
	order, err := orderOf(call.With)
	if err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
	}
	api := &api{connection: c, client: client, now: call.Now}
	if order.count == 0 {
		return step.Result{"status": "skipped", "message": "there are no documents"}, nil
	}
	var accepted struct {
		TaskUID *int64 `json:"taskUid"`
	}
	if err := api.call(ctx, order.method, order.path, order.body, &accepted); err != nil {
		return nil, err
	}
	if accepted.TaskUID == nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData, Message: "Meilisearch's answer has no taskUid: is the connection's url that of a Meilisearch?"}
	}
	if wait, _ := call.With["wait"].(bool); wait {
		if err := api.wait(ctx, *accepted.TaskUID); err != nil {
			return nil, err
		}
	}
	return step.Result{"task": *accepted.TaskUID, "documents": int64(order.count)}, nil
}

// order is what is asked of Meilisearch.
type order struct {
	method, path string
	body         []byte
	count        int
}

func orderOf(with map[string]any) (order, error) {
	index, _ := with["index"].(string)
	documents, add := with["documents"]
	ids, remove := with["delete"]
	if add == remove {
		return order{}, errors.New("one of documents and delete must be given")
	}
	path := "/indexes/" + url.PathEscape(index) + "/documents"
	if remove {
		list := asList(ids)
		for i, id := range list {
			if err := checkID(id); err != nil {
				return order{}, fmt.Errorf("delete: id %d: %w", i+1, err)
			}
		}
		body, err := encode(list)
		return order{method: http.MethodPost, path: path + "/delete-batch", body: body, count: len(list)}, err
	}
	key, _ := with["primary_key"].(string)
	list := asList(documents)
	for i, document := range list {
		object, ok := document.(map[string]any)
		if !ok {
			return order{}, fmt.Errorf("documents: document %d is not an object", i+1)
		}
		if key == "" {
			continue
		}
		if err := checkID(object[key]); err != nil {
			return order{}, fmt.Errorf("documents: document %d: %s: %w", i+1, key, err)
		}
	}
	out := order{method: http.MethodPost, path: path, count: len(list)}
	if partial, _ := with["partial"].(bool); partial {
		out.method = http.MethodPut
	}
	if key != "" {
		out.path += "?primaryKey=" + url.QueryEscape(key)
	}
	var err error
	out.body, err = encode(list)
	return out, err
}

func asList(value any) []any {
	if list, ok := value.([]any); ok {
		return list
	}
	return []any{value}
}

func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, errors.New("the documents can't be written as JSON")
	}
	return out.Bytes(), nil
}

// Meilisearch's grammar of uids and of documents' ids.
var (
	uidGrammar = regexp.MustCompile(`^[A-Za-z0-9_-]{1,400}$`)
	idGrammar  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,511}$`)
)

func checkUID(value any) error {
	text, _ := value.(string)
	if !uidGrammar.MatchString(text) {
		return errors.New("an index' uid has letters, digits, - and _ only, at most 400 of them")
	}
	return nil
}

func checkID(value any) error {
	switch v := value.(type) {
	case int64:
		return nil
	case string:
		if idGrammar.MatchString(v) {
			return nil
		}
	case float64:
		if v == float64(int64(v)) {
			return nil
		}
		return errors.New("an id is a whole number or a text, and " + strconv.FormatFloat(v, 'f', -1, 64) + " is neither")
	case nil:
		return errors.New("it is missing")
	}
	return errors.New("an id is a whole number, or a text of letters, digits, - and _, at most 511 of them")
}
