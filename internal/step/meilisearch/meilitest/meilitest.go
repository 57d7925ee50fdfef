// Package meilitest imitates the part of Meilisearch that relais calls: documents and tasks, checked as
// strictly as the documentation of its API has them, with its errors and their codes. Tasks are done in
// order, at once, or when a test that holds them lets them go.
package meilitest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is an imitation that runs.
type Server struct {
	URL string

	key string

	mu      sync.Mutex
	indexes map[string]*index
	tasks   []*task
	held    bool
	waiting []func()
	fail    *Fault
}

type index struct {
	primaryKey string
	documents  map[string]map[string]any
}

// Fault is an error as Meilisearch writes it.
type Fault struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Type    string `json:"type"`
	Link    string `json:"link"`

	status int
}

type task struct {
	UID        int64   `json:"uid"`
	IndexUID   string  `json:"indexUid"`
	Status     string  `json:"status"`
	Type       string  `json:"type"`
	Error      *Fault  `json:"error"`
	EnqueuedAt string  `json:"enqueuedAt"`
	StartedAt  *string `json:"startedAt"`
	FinishedAt *string `json:"finishedAt"`
}

// Start starts an imitation that asks for the key, or for none where it is "".
func Start(t testing.TB, key string) *Server {
	t.Helper()
	s := &Server{key: key, indexes: map[string]*index{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Hold keeps tasks enqueued until Release.
func (s *Server) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

// Release does the tasks that wait, in order.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	for _, do := range s.waiting {
		do()
	}
	s.waiting = nil
}

// FailNext lets the next task end with an error of that type and code, as a full disk would.
func (s *Server) FailNext(typ, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = &Fault{Message: "it failed", Code: code, Type: typ}
}

// Document is a document as it is stored; nil where there is none.
func (s *Server) Document(uid, id string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.indexes[uid]; at != nil {
		return at.documents[id]
	}
	return nil
}

// Count is the number of an index' documents; -1 where there is no such index.
func (s *Server) Count(uid string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.indexes[uid]; at != nil {
		return len(at.documents)
	}
	return -1
}

// Tasks is how many tasks were taken.
func (s *Server) Tasks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks)
}

func invalid(status int, code, format string, args ...any) *Fault {
	return &Fault{Message: fmt.Sprintf(format, args...), Code: code, Type: "invalid_request", status: status}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer, no := s.answer(r)
	if no != nil {
		no.Link = "https://docs.meilisearch.com/errors#" + no.Code
		status, answer = no.status, no
	}
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone hears nothing
}

var (
	documentsPath = regexp.MustCompile(`^/indexes/([^/]+)/documents$`)
	deletePath    = regexp.MustCompile(`^/indexes/([^/]+)/documents/delete-batch$`)
	tasksPath     = regexp.MustCompile(`^/tasks/([^/]+)$`)
	uidGrammar    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,400}$`)
	idGrammar     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,511}$`)
)

func (s *Server) answer(r *http.Request) (int, any, *Fault) {
	path := r.URL.EscapedPath()
	adds, deletes, asks := documentsPath.FindStringSubmatch(path), deletePath.FindStringSubmatch(path), tasksPath.FindStringSubmatch(path)
	known := adds != nil && (r.Method == http.MethodPost || r.Method == http.MethodPut) || deletes != nil && r.Method == http.MethodPost || asks != nil && r.Method == http.MethodGet
	switch {
	case adds == nil && deletes == nil && asks == nil:
		return http.StatusNotFound, nil, nil
	case !known:
		return http.StatusMethodNotAllowed, nil, nil
	}
	if no := s.authorize(r); no != nil {
		return 0, nil, no
	}
	if asks != nil {
		return s.task(asks[1])
	}
	body, no := readJSON(r)
	if no != nil {
		return 0, nil, no
	}
	for name := range r.URL.Query() {
		if name != "primaryKey" && name != "csvDelimiter" || deletes != nil {
			return 0, nil, invalid(400, "bad_request", "Unknown parameter `%s`", name)
		}
	}
	if deletes != nil {
		return s.remove(deletes[1], body)
	}
	return s.add(adds[1], r.URL.Query().Get("primaryKey"), r.Method == http.MethodPut, body)
}

func (s *Server) authorize(r *http.Request) *Fault {
	if s.key == "" {
		return nil
	}
	given := r.Header.Get("Authorization")
	switch given {
	case "":
		return &Fault{Message: "The Authorization header is missing. It must use the bearer authorization method.", Code: "missing_authorization_header", Type: "auth", status: 401}
	case "Bearer " + s.key:
		return nil
	}
	return &Fault{Message: "The provided API key is invalid.", Code: "invalid_api_key", Type: "auth", status: 403}
}

func readJSON(r *http.Request) (any, *Fault) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "":
		return nil, invalid(415, "missing_content_type", "A Content-Type header is missing.")
	case "application/json":
	default:
		return nil, invalid(415, "invalid_content_type", "The Content-Type `%s` is invalid.", kind)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || len(strings.TrimSpace(string(body))) == 0 {
		return nil, invalid(400, "missing_payload", "A json payload is missing.")
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil || decoder.More() {
		return nil, invalid(400, "malformed_payload", "The json payload provided is malformed.")
	}
	return value, nil
}

func (s *Server) task(text string) (int, any, *Fault) {
	uid, err := strconv.ParseInt(text, 10, 32)
	if err != nil || uid < 0 {
		return 0, nil, invalid(400, "invalid_task_uid", "Task uid `%s` is invalid. It should only contain numeric characters.", text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if uid >= int64(len(s.tasks)) {
		return 0, nil, invalid(404, "task_not_found", "Task `%d` not found.", uid)
	}
	copied := *s.tasks[uid]
	return 200, copied, nil
}

func (s *Server) add(uid, key string, partial bool, body any) (int, any, *Fault) {
	list, ok := body.([]any)
	if !ok {
		list = []any{body}
	}
	documents := make([]map[string]any, len(list))
	for i, item := range list {
		if documents[i], ok = item.(map[string]any); !ok {
			return 0, nil, invalid(400, "malformed_payload", "The json payload provided is malformed: invalid type, expected a map.")
		}
	}
	return s.enqueue(uid, "documentAdditionOrUpdate", func() *Fault { return s.put(uid, key, partial, documents) })
}

func (s *Server) remove(uid string, body any) (int, any, *Fault) {
	list, ok := body.([]any)
	if !ok {
		return 0, nil, invalid(400, "bad_request", "Invalid value type: expected an array")
	}
	ids := make([]string, len(list))
	for i, item := range list {
		id, no := documentID(item)
		if no != nil {
			return 0, nil, invalid(400, "bad_request", "Invalid value type at `[%d]`", i)
		}
		ids[i] = id
	}
	return s.enqueue(uid, "documentDeletion", func() *Fault {
		at := s.indexes[uid]
		if at == nil {
			return invalid(404, "index_not_found", "Index `%s` not found.", uid)
		}
		for _, id := range ids {
			delete(at.documents, id)
		}
		return nil
	})
}

func (s *Server) enqueue(uid, typ string, do func() *Fault) (int, any, *Fault) {
	if !uidGrammar.MatchString(uid) {
		return 0, nil, invalid(400, "invalid_index_uid", "`%s` is not a valid index uid.", uid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &task{UID: int64(len(s.tasks)), IndexUID: uid, Status: "enqueued", Type: typ, EnqueuedAt: time.Now().UTC().Format(time.RFC3339Nano)}
	s.tasks = append(s.tasks, t)
	enqueued := map[string]any{"taskUid": t.UID, "indexUid": uid, "status": "enqueued", "type": typ, "enqueuedAt": t.EnqueuedAt}
	fail := s.fail
	s.fail = nil
	run := func() {
		at := time.Now().UTC().Format(time.RFC3339Nano)
		t.StartedAt, t.FinishedAt, t.Status = &at, &at, "succeeded"
		if t.Error = fail; fail == nil {
			t.Error = do()
		}
		if t.Error != nil {
			t.Status = "failed"
			t.Error.Link = "https://docs.meilisearch.com/errors#" + t.Error.Code
		}
	}
	if s.held {
		s.waiting = append(s.waiting, run)
	} else {
		run()
	}
	return http.StatusAccepted, enqueued, nil
}

// put does a task: all its documents, or none.
func (s *Server) put(uid, key string, partial bool, documents []map[string]any) *Fault {
	at := s.indexes[uid]
	if at == nil {
		at = &index{documents: map[string]map[string]any{}}
		s.indexes[uid] = at
	}
	if at.primaryKey != "" && key != "" && key != at.primaryKey && len(at.documents) > 0 {
		return invalid(400, "index_primary_key_already_exists", "Index `%s`: Index already has a primary key: `%s`.", uid, at.primaryKey)
	}
	if at.primaryKey == "" && key == "" && len(documents) > 0 {
		var no *Fault
		if key, no = inferKey(uid, documents[0]); no != nil {
			return no
		}
	}
	if at.primaryKey == "" {
		at.primaryKey = key
	}
	ids := make([]string, len(documents))
	for i, document := range documents {
		value, has := document[at.primaryKey]
		if !has {
			return invalid(400, "missing_document_id", "Index `%s`: Document doesn't have a `%s` attribute", uid, at.primaryKey)
		}
		var no *Fault
		if ids[i], no = documentID(value); no != nil {
			return no
		}
	}
	for i, document := range documents {
		if old := at.documents[ids[i]]; partial && old != nil {
			for name, value := range document {
				old[name] = value
			}
			continue
		}
		at.documents[ids[i]] = document
	}
	return nil
}

// inferKey takes the member whose name ends with "id", where there is one such.
func inferKey(uid string, document map[string]any) (string, *Fault) {
	var found []string
	for name := range document {
		if strings.HasSuffix(strings.ToLower(name), "id") {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return "", invalid(400, "index_primary_key_no_candidate_found", "Index `%s`: The primary key inference failed as the engine did not find any field ending with `id` in its name.", uid)
	case 1:
		return found[0], nil
	}
	return "", invalid(400, "index_primary_key_multiple_candidates_found", "Index `%s`: The primary key inference failed as the engine found %d fields ending with `id` in their names.", uid, len(found))
}

func documentID(value any) (string, *Fault) {
	switch v := value.(type) {
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return v.String(), nil
		}
	case string:
		if idGrammar.MatchString(v) {
			return v, nil
		}
	}
	return "", invalid(400, "invalid_document_id", "Document identifier is invalid.")
}
