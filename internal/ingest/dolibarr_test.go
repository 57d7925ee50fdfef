package ingest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
)

// leaked are values that Dolibarr sends of its connection to the database, in the captured requests.
var leaked = []string{"database_", "lastquery", "erp_base", "erpu", "10.11.12.13", "44417", "llx_hidden_table", "secret_column"}

// TestCapturedDolibarrRequests sends what a Dolibarr 22 sent, but for the values of its database: each is
// its event, nothing of the database is stored, and all other members are as they were.
func TestCapturedDolibarrRequests(t *testing.T) {
	byToken := config.Source{Name: "erp", Preset: "dolibarr", Secrets: []config.Secret{config.NewSecret("abc")}}
	byBasic := config.Source{Name: "erp", Preset: "dolibarr", Secrets: []config.Secret{config.NewSecret("user1:s3cret")},
		Verify: map[string]any{"variant": "basic"}}
	files, err := filepath.Glob("testdata/dolibarr-*.http")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d captured requests (%v)", len(files), err)
	}
	for _, file := range files {
		want := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "dolibarr-"), ".http")
		t.Run(want, func(t *testing.T) {
			header, body := captured(t, file)
			src, path := byToken, "/webhook?token=abc"
			if header.Get("Authorization") != "" {
				src, path = byBasic, "/webhook"
			}
			h := open(t, nil, src)
			for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded"} {
				header.Set("Content-Type", contentType)
				if got := h.send("POST", path, header, body); got.status != 200 {
					t.Fatalf("as %s: answered %d %s", contentType, got.status, got.body)
				}
			}
			events := h.store.stored()
			if len(events) != 2 || events[1].RepeatOf != events[0].ID {
				t.Fatalf("%d events are stored, want one and its repeat", len(events))
			}
			checkCaptured(t, want, body, &events[0])
			checkCaptured(t, want, body, &events[1])
		})
	}
}

func captured(t *testing.T, file string) (http.Header, []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(text, []byte("\n\n"))
	return req.Header, body
}

func checkCaptured(t *testing.T, want string, body []byte, event *core.Event) {
	t.Helper()
	if event.Type != want {
		t.Errorf("its type is %s", event.Type)
	}
	whole := string(event.Header) + event.Query + event.Path + string(event.Body)
	for _, text := range append(leaked, "token=abc", "dXNlcjE6czNjcmV0") {
		if strings.Contains(whole, text) {
			t.Errorf("%q is stored", text)
		}
	}
	var sent, stored any
	if err := json.Unmarshal(body, &sent); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(event.Body, &stored); err != nil {
		t.Fatal(err)
	}
	leaks := bytes.Contains(body, []byte("lastquery"))
	if event.Redacted != leaks {
		t.Errorf("it is said to be redacted: %v", event.Redacted)
	}
	if sent = withoutDB(sent); !reflect.DeepEqual(sent, stored) {
		t.Error("other members than the database's are gone or changed")
	}
}

func withoutDB(value any) any {
	switch value := value.(type) {
	case map[string]any:
		maps.DeleteFunc(value, func(name string, _ any) bool { return name == "db" })
		for name := range value {
			value[name] = withoutDB(value[name])
		}
	case []any:
		for i := range value {
			value[i] = withoutDB(value[i])
		}
	}
	return value
}

// TestDolibarrPaths: a test path is off until a source is a test, and whoever sets targets up can ask for
// the codes.
func TestDolibarrPaths(t *testing.T) {
	secrets := []config.Secret{config.NewSecret("abc")}
	h := open(t, nil, config.Source{Name: "erp", Preset: "dolibarr", Secrets: secrets})
	body := []byte(`{"triggercode":"BILL_PAYED","object":{"id":7}}`)
	if got := h.send("POST", "/webhook/test?token=abc", nil, body); got.status != 404 {
		t.Errorf("the test path of a source that is none: answered %d", got.status)
	}
	got := h.send("GET", "/webhook/events", nil, nil)
	if got.status != 200 || !strings.Contains(got.body, `"BILL_PAYED"`) || got.header.Get("Content-Type") != jsonType {
		t.Errorf("the list of codes: answered %d %s %.80s", got.status, got.header.Get("Content-Type"), got.body)
	}
	h = open(t, nil, config.Source{Name: "erp-test", Preset: "dolibarr", Secrets: secrets, Test: true})
	if got := h.send("POST", "/webhook/test?token=abc", nil, body); got.status != 200 || !h.store.stored()[0].Test {
		t.Errorf("the test path: answered %d, %+v", got.status, h.store.stored())
	}
}
