//go:build unix

package pgtest_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store/postgres/pgtest"
)

// victim, in the environment, makes TestVictim start servers and wait to be killed.
const victim = "PGTEST_VICTIM"

// TestVictim is the process that TestNothingOutlivesItsProcess kills. It runs on its own too: it is then
// a test that has a database and a server.
func TestVictim(t *testing.T) {
	s := pgtest.Server(t)
	mine := s.URL("relais")
	if os.Getenv(victim) == "" {
		connect(t, mine)
		return
	}
	s.Pause()
	shared := pgtest.URL(t)
	for _, url := range []string{shared, pgtest.Bouncer(t, shared)} {
		connect(t, url)
		_, _ = os.Stdout.WriteString("url " + url + "\n")
	}
	_, _ = os.Stdout.WriteString("ready\n")
	select {}
}

func TestNothingOutlivesItsProcess(t *testing.T) {
	temp := t.TempDir()
	// The servers' user must get through to it.
	for _, dir := range []string{filepath.Dir(temp), temp} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), victim+"=1", "TMPDIR="+temp, "RELAIS_TEST_POSTGRES=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var urls []string
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		if url, ok := strings.CutPrefix(lines.Text(), "url "); ok {
			urls = append(urls, url)
		} else {
			t.Log(lines.Text())
		}
	}
	if len(urls) != 2 {
		t.Fatalf("the process said %q", urls)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked

	within(t, time.Minute, "its folder is still there", func() bool {
		left, err := os.ReadDir(temp)
		return err == nil && len(left) == 0
	})
	for _, url := range urls {
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Errorf("%s still answers", url)
		}
	}
}

// within waits for what another process does and tells nobody.
func within(t *testing.T, limit time.Duration, otherwise string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(otherwise)
		}
	}
}
