package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relais/internal/api"
	"relais/internal/core"
)

// backingUp is an API whose backups are made by the given function.
func backingUp(w *world, backUp api.BackUp) http.Handler {
	return api.New(api.Deps{
		Store: w.store, BackUp: backUp, State: func() api.State { return api.State{} },
		Version: "1.2.3", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
}

func askBackup(t *testing.T, h http.Handler, body string) (int, map[string]any) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, api.Prefix+"/backup", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, req)
	var tree map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &tree); err != nil {
		t.Fatalf("%q: %v", answer.Body, err)
	}
	return answer.Code, tree
}

func progressOf(t *testing.T, h http.Handler) api.BackupProgress {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, api.Prefix+"/backup", nil))
	var p api.BackupProgress
	if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil || answer.Code != http.StatusOK {
		t.Fatalf("%d %q: %v", answer.Code, answer.Body, err)
	}
	return p
}

func TestBackupTellsHowFarItIs(t *testing.T) {
	w := newWorld(t)
	var h http.Handler
	h = backingUp(w, func(_ context.Context, b api.Backup, progress func(copied, total int64)) (api.BackedUp, error) {
		if b.File == "/b.db" { // while the first one runs
			return api.BackedUp{}, core.Errorf(core.CodeConflict, "another backup is being made")
		}
		progress(10, 30)
		if status, _ := askBackup(t, h, `{"file":"/b.db"}`); status != http.StatusConflict {
			t.Errorf("a second one: %d", status)
		}
		if p := progressOf(t, h); p != (api.BackupProgress{Running: true, File: "/a.db", Copied: 10, Total: 30}) {
			t.Errorf("progress is %+v", p)
		}
		return api.BackedUp{File: b.File, Bytes: 30, Events: 2}, nil
	})
	status, tree := askBackup(t, h, `{"file":"/a.db"}`)
	if status != http.StatusOK || tree["file"] != "/a.db" || tree["bytes"] != 30.0 || tree["events"] != 2.0 || tree["took_ms"] == nil {
		t.Errorf("%d %v", status, tree)
	}
	if p := progressOf(t, h); p.Running {
		t.Errorf("afterwards: %+v", p)
	}
	if status, _ := askBackup(t, h, `{"file":""}`); status != http.StatusUnprocessableEntity {
		t.Errorf("without a file: %d", status)
	}
}

func TestBackupIsOnlyForTheMachinesOwnUser(t *testing.T) {
	w := newWorld(t)
	made := 0
	server := httptest.NewServer(backingUp(w, func(context.Context, api.Backup, func(int64, int64)) (api.BackedUp, error) {
		made++
		return api.BackedUp{}, nil
	}))
	defer server.Close()
	answer, err := http.Post(server.URL+api.Prefix+"/backup", "application/json", strings.NewReader(`{"file":"/etc/cron.d/x"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusForbidden || made != 0 {
		t.Errorf("over TCP: %d %s, %d made", answer.StatusCode, text, made)
	}
}

func TestBackupOfAStoreThatIsNoFile(t *testing.T) {
	w := newWorld(t)
	status, tree, _ := w.call(http.MethodPost, "/api/v1/backup", `{"file":"/a.db"}`)
	if detail, _ := tree["detail"].(string); status != http.StatusConflict || !strings.Contains(detail, "pg_dump") {
		t.Errorf("%d %v", status, tree)
	}
}
