//go:build unix

package sqlstep

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/store"
)

func TestADatabaseThatIsAwayIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for kind, settings := range map[string]map[string]any{
		"postgres": {"url": config.NewSecret("postgres://u:s3cret@" + l.Addr().String() + "/d?sslmode=disable")},
		"mysql":    {"url": config.NewSecret("mysql://u:s3cret@" + l.Addr().String() + "/d")},
		"sqlite":   {"path": filepath.Join(t.TempDir(), "none.db")},
	} {
		b := &bench{t: t, kind: kind, settings: settings}
		want := core.ReasonRefused
		if kind == "sqlite" {
			want = core.ReasonMaintenance
		}
		if out, _ := b.run("sql/exec", map[string]any{"statement": "SELECT 1"}, nil); out.Verdict != store.VerdictRetry || out.Reason != want {
			t.Errorf("%s: %s %s %s", kind, out.Verdict, out.Reason, out.Message)
		}
	}
}

func TestAWrongPasswordIsFinalAndUntold(t *testing.T) {
	b := openBench(t, "mysql")
	url := strings.Replace(address(b.settings), "s3cret", "s3cret-wrong", 1)
	b.settings["url"] = config.NewSecret(url)
	if out, _ := b.run("sql/query", map[string]any{"statement": "SELECT 1"}, nil); out.Verdict != store.VerdictDead || out.Reason != core.ReasonAuth {
		t.Errorf("%s %s %s", out.Verdict, out.Reason, out.Message)
	}
}

func TestALockedRowIsTriedAgainWithinTheStepsTimeout(t *testing.T) {
	everywhereAndPooled(t, func(t *testing.T, b *bench) {
		begin := map[string]string{"postgres": "BEGIN", "mysql": "START TRANSACTION", "sqlite": "BEGIN IMMEDIATE"}[b.kind]
		conn, err := b.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for _, statement := range []string{begin, "UPDATE orders SET paid_cents = 5 WHERE id = 1"} {
			if _, err := conn.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		p := b.compile(b.open(), config.Step{Use: "sql/exec", With: map[string]any{"statement": "UPDATE orders SET paid_cents = 1 WHERE id = 1"}, Timeout: 300 * time.Millisecond})
		out, _ := b.attempt(p, event(nil))
		if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTimeout && out.Reason != core.ReasonBusy {
			t.Errorf("%s %s %s", out.Verdict, out.Reason, out.Message)
		}
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		p = b.compile(b.open(), config.Step{Use: "sql/exec", With: map[string]any{"statement": "UPDATE orders SET paid_cents = 1 WHERE id = 1"}})
		if out, _ := b.attempt(p, event(nil)); out.Verdict != store.VerdictSucceeded {
			t.Errorf("afterwards: %s %s", out.Verdict, out.Message)
		}
	})
}

func TestAnAttemptUnderARetiredConfigurationEndsAsItBegan(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		opened := b.open()
		p := b.compile(opened, config.Step{Use: "sql/exec", With: map[string]any{"statement": "UPDATE orders SET paid_cents = paid_cents + 1"}})
		SetHook(opened["base"].Value, func(point Point) error {
			if point == PointRan {
				opened.Retire()
			}
			return nil
		})
		for range 2 {
			if out, _ := b.attempt(p, event(nil)); out.Verdict != store.VerdictSucceeded {
				t.Errorf("%s %s", out.Verdict, out.Message)
			}
		}
		if b.kind == "postgres" && b.number("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'relais' AND datname = current_database() AND state = 'active'") != 0 {
			t.Error("a connection stays open")
		}
	})
}

func TestNoPathLeadsIntoTheDataFolder(t *testing.T) {
	data, elsewhere := t.TempDir(), t.TempDir()
	own := filepath.Join(data, "relais.db")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(from, name string, make func(string, string) error) string {
		path := filepath.Join(elsewhere, name)
		if err := make(from, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kind := sqliteKind(data)
	for name, path := range map[string]string{
		"itself": own, "by dots": filepath.Join(elsewhere, "..", filepath.Base(data)) + "/./relais.db", "below": filepath.Join(data, "spool", "x.db"), "new": filepath.Join(data, "new.db"),
		"a link": link(own, "link.db", os.Symlink), "a folder's link": filepath.Join(link(data, "folder", os.Symlink), "relais.db"),
		"in a linked folder": filepath.Join(elsewhere, "folder", "new.db"), "a hard link": link(own, "hard.db", os.Link),
		"no file": ":memory:", "an address": "file:" + own,
	} {
		if _, err := kind.Open(map[string]any{"path": path}); err == nil {
			t.Errorf("%s was opened: %s", name, path)
		}
	}
	// A path that was fine when the configuration was read, and leads into the folder when it is opened.
	path := filepath.Join(elsewhere, "later.db")
	opened, err := kind.Open(map[string]any{"path": path})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, path); err != nil {
		t.Fatal(err)
	}
	c, _ := opened.(*Connection)
	defer c.Retire()
	if _, err := c.begin(t.Context(), false); err == nil || !strings.Contains(err.Error(), "data folder") {
		t.Errorf("it was opened: %v", err)
	}
}

func TestCheckRefusesWhatTheFileAloneShows(t *testing.T) {
	b := &bench{t: t, kind: "postgres", settings: map[string]any{"url": config.NewSecret("postgres://u@h/d")}}
	plain := b.open()
	for says, with := range map[string]map[string]any{
		"no ${{ }} may stand here":            {"statement": "SELECT ${{ event.data.x }}"},
		"[0]: statement: no ${{ }} may stand": {"statements": []any{map[string]any{"statement": "SELECT '${{ event.data.x }}'"}}},
		"several go under statements":         {"statement": "SELECT 1; SELECT 2"},
		"COMMIT can't be used":                {"statement": "/* x */ -- y\n commit"},
		"ATTACH can't be used":                {"statement": "ATTACH $1 AS x"},
		"statement is missing":                {},
		"stands in place of":                  {"statement": "SELECT 1", "statements": []any{map[string]any{"statement": "SELECT 1"}}},
		"a number of rows":                    {"statement": "SELECT 1", "expect_rows": "some"},
		"a list of values":                    {"statement": "SELECT 1", "args": "x"},
		"effects: true":                       {"statement": "SELECT 1", "key": "x"},
		`no such parameter`:                   {"statements": []any{map[string]any{"statement": "SELECT 1", "arg": []any{}}}},
	} {
		_, err := step.Compile(config.Route{Name: "r", Steps: []config.Step{{ID: "s", Use: "sql/exec", With: with}}},
			step.NewRegistry(Kinds(), Connections(nil, "")), plain, step.Options{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", with, err, says)
		}
	}
	for _, statement := range []string{"SELECT ';'", "SELECT 1;", "SELECT 1; -- end", "SET LOCAL lock_timeout = '1s'", "SELECT $$ ; $$", "SELECT \"a;b\" FROM t", "(SELECT 1)"} {
		if err := checkStatement(statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func TestSettingsThatCannotWorkAreRefusedWithoutShowingThem(t *testing.T) {
	for kind, urls := range map[string][]string{
		"postgres": {"", "s3cret", "http://u:s3cret@h/d", "postgres:///d", "postgres://u:s3cret@h/d?sslmode=maybe", "postgres://u:s3cret@h:port/d", "postgres://u:12?s3cret@h/d"},
		"mysql":    {"", "s3cret", "u:s3cret@tcp(h)/d", "mysql:///d", "mysql://u:12?s3cret@h/d", "mysql://u:s3cret@h/d?tls=maybe", "mysql://u:s3cret@h/d?allowAllFiles=true", "mysql://u:s3cret@h/d?tls=true&ca=/none"},
	} {
		for _, url := range urls {
			k, _ := step.NewRegistry(nil, Connections(new(egress.Egress), "")).ConnectionKind(kind)
			if _, err := k.Open(map[string]any{"url": config.NewSecret(url)}); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s %q: %v", kind, url, err)
			}
		}
	}
}
