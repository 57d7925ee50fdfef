package meilitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

type request struct{ method, path, key, kind, body string }

func (s *Server) send(t *testing.T, q request) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), q.method, s.URL+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if q.key != "" {
		r.Header.Set("Authorization", "Bearer "+q.key)
	}
	if q.kind != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, answer
}

func TestRequestsThatMeilisearchRefuses(t *testing.T) {
	s := Start(t, "key")
	const docs, kind = "/indexes/products/documents", "application/json"
	for _, c := range []struct {
		request
		status int
		code   string
	}{
		{request{"POST", docs, "", kind, `[]`}, 401, "missing_authorization_header"},
		{request{"POST", docs, "wrong", kind, `[]`}, 403, "invalid_api_key"},
		{request{"POST", docs, "key", "", `[]`}, 415, "missing_content_type"},
		{request{"POST", docs, "key", "text/plain", `[]`}, 415, "invalid_content_type"},
		{request{"POST", docs, "key", kind, ``}, 400, "missing_payload"},
		{request{"POST", docs, "key", kind, `[{]`}, 400, "malformed_payload"},
		{request{"POST", docs, "key", kind, `[1]`}, 400, "malformed_payload"},
		{request{"POST", docs + "?key=id", "key", kind, `[]`}, 400, "bad_request"},
		{request{"POST", "/indexes/a%20b/documents", "key", kind, `[]`}, 400, "invalid_index_uid"},
		{request{"POST", docs + "/delete-batch", "key", kind, `{"id":1}`}, 400, "bad_request"},
		{request{"POST", docs + "/delete-batch", "key", kind, `[{"id":1}]`}, 400, "bad_request"},
		{request{"GET", "/tasks/x", "key", "", ""}, 400, "invalid_task_uid"},
		{request{"GET", "/tasks/7", "key", "", ""}, 404, "task_not_found"},
		{request{"PATCH", docs, "key", kind, `[]`}, 405, ""},
		{request{"POST", "/documents", "key", kind, `[]`}, 404, ""},
	} {
		status, answer := s.send(t, c.request)
		code, _ := answer["code"].(string)
		if status != c.status || code != c.code {
			t.Errorf("%v: %d %v", c.request, status, answer)
		}
	}
	if s.Tasks() != 0 {
		t.Errorf("%d tasks were taken", s.Tasks())
	}
}

func TestTasksEndAsMeilisearchEndsThem(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body string
		status, code             string
	}{
		{"inferred key", "POST", "documents", `[{"productId":"a-1","n":1}]`, "succeeded", ""},
		{"one document", "POST", "documents", `{"id":1}`, "succeeded", ""},
		{"no candidate", "POST", "documents", `[{"n":1}]`, "failed", "index_primary_key_no_candidate_found"},
		{"two candidates", "POST", "documents", `[{"id":1,"productId":2}]`, "failed", "index_primary_key_multiple_candidates_found"},
		{"a said key", "POST", "documents?primaryKey=productId", `[{"id":1,"productId":2}]`, "succeeded", ""},
		{"no id", "POST", "documents?primaryKey=sku", `[{"id":1}]`, "failed", "missing_document_id"},
		{"a bad id", "POST", "documents", `[{"id":"a b"}]`, "failed", "invalid_document_id"},
		{"a fraction", "POST", "documents", `[{"id":1.5}]`, "failed", "invalid_document_id"},
		{"no index", "POST", "documents/delete-batch", `[1,"a"]`, "failed", "index_not_found"},
	} {
		s := Start(t, "")
		status, answer := s.send(t, request{c.method, "/indexes/p/" + c.path, "", "application/json", c.body})
		if status != 202 || answer["status"] != "enqueued" || answer["indexUid"] != "p" {
			t.Errorf("%s: %d %v", c.name, status, answer)
		}
		_, task := s.send(t, request{method: "GET", path: fmt.Sprintf("/tasks/%v", answer["taskUid"])})
		fault, _ := task["error"].(map[string]any)
		code, _ := fault["code"].(string)
		if task["status"] != c.status || code != c.code {
			t.Errorf("%s: %v", c.name, task)
		}
	}
}

func TestDocumentsAreReplacedOrChangedOrDeleted(t *testing.T) {
	s := Start(t, "")
	do := func(method, path, body string) {
		s.send(t, request{method, "/indexes/p/documents" + path, "", "application/json", body})
	}
	do("POST", "", `[{"id":1,"a":"x","b":"y"},{"id":2}]`)
	do("PUT", "", `[{"id":1,"a":"z"}]`)
	if d := s.Document("p", "1"); d["a"] != "z" || d["b"] != "y" {
		t.Errorf("changed to %v", d)
	}
	do("POST", "", `[{"id":1,"a":"w"}]`)
	if d := s.Document("p", "1"); d["a"] != "w" || d["b"] != nil {
		t.Errorf("replaced by %v", d)
	}
	s.Hold()
	do("POST", "/delete-batch", `[1,9]`)
	if s.Count("p") != 2 {
		t.Error("a held task was done")
	}
	s.Release()
	if s.Count("p") != 1 || s.Document("p", "1") != nil {
		t.Errorf("%d documents", s.Count("p"))
	}
}
