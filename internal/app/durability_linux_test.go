package app

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"relais/internal/store/sqlite"
)

// childVariable makes the test's binary be a relais on the folder that it names.
const childVariable = "RELAIS_APP_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// The tests that stop processes mostly wait: many run at once, whatever the number of cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "48"); err != nil {
		panic(err)
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// childBinary is this test's binary without the race detector, built once for all tests: what they look at are the
// ends of processes and the passing of time, and nobody reads what the detector says in a process that is killed.
var childBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "relais-app-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "relais.test")
	if out, err := exec.CommandContext(context.Background(), "go", "test", "-c", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// built is the folder of what was built, removed at the end.
var built string

// childCommand is a command that runs relais on a folder.
func childCommand(t *testing.T, dir string, before ...string) *exec.Cmd {
	t.Helper()
	binary, err := childBinary()
	if err != nil {
		t.Fatal(err)
	}
	words := append(before, binary)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	return cmd
}

// child runs relais as its own process, with the sync mode that the environment says, and prints where it
// listens and its process id.
func child(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mode := sqlite.SyncFull
	if os.Getenv("RELAIS_APP_TEST_SYNC") == "off" {
		mode = sqlite.SyncOff
	}
	a, err := New(ctx, Options{
		Config: filepath.Join(dir, "relais.yaml"), Data: filepath.Join(dir, "data"), Log: os.Stderr, Env: os.LookupEnv,
		ReadyDelay: 1, sync: mode, opened: endAtPoint, Ready: func(where Addresses) { fmt.Println(where.Listen, os.Getpid()) },
	})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// A 2xx means stored: between the write of an event to the log and its answer, a sync of the log began and
// ended. What the process asks of the kernel is the proof; without syncs the same check must fail.
func TestAnswerLeavesAfterTheSync(t *testing.T) {
	t.Parallel()
	const webhooks = 25
	calls := traced(t, "", webhooks)
	if err := syncedBeforeAnswers(calls, webhooks); err != nil {
		t.Error(err)
	}
	if err := syncedBeforeAnswers(traced(t, "off", webhooks), webhooks); err == nil {
		t.Error("with synchronous=OFF the check passes: it proves nothing")
	} else if !strings.Contains(err.Error(), "no sync") {
		t.Errorf("with synchronous=OFF the check fails for another reason: %v", err)
	}
}

// traced runs relais under strace, sends it webhooks one after the other, and returns what was traced.
func traced(t *testing.T, mode string, webhooks int) []call {
	t.Helper()
	dir := t.TempDir()
	writeConfig(t, dir, "log: {level: error}\nsources:\n  sellsy: {preset: sellsy, secret: "+signingKey+"}\n")
	trace := filepath.Join(dir, "trace")
	cmd := childCommand(t, dir, "strace", "-f", "-yy", "-s", "10000", "-o", trace,
		"-e", "trace=pwrite64,pwritev,fsync,fdatasync,write,writev,sendto")
	cmd.Env = append(cmd.Env, "RELAIS_APP_TEST_SYNC="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("strace is needed (make setup installs it): %v", err)
	}
	var listen string
	var pid int
	if _, err := fmt.Fscanln(out, &listen, &pid); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, at: Addresses{Listen: listen}}
	for i := range webhooks {
		if status, text := r.post(signingKey, estimateStep(1, marker(i))); status != http.StatusOK {
			t.Fatalf("answered %d %s", status, text)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return readTrace(t, trace)
}

func marker(i int) string { return fmt.Sprintf("marker%04dx", i) }

// call is a system call: where in the trace it began and where it ended.
type call struct {
	name, text, result string
	began, ended       int
}

var (
	whole      = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+|\?).*$`)
	unfinished = regexp.MustCompile(`^(\d+) +(\w+)\((.*)<unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?).*$`)
)

func readTrace(t *testing.T, path string) []call {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var calls []call
	open := map[string]call{} // by thread
	for i, line := range strings.Split(string(text), "\n") {
		if m := whole.FindStringSubmatch(line); m != nil {
			calls = append(calls, call{name: m[2], text: m[3], result: m[4], began: i, ended: i})
		} else if m := unfinished.FindStringSubmatch(line); m != nil {
			open[m[1]] = call{name: m[2], text: m[3], began: i}
		} else if m := resumed.FindStringSubmatch(line); m != nil {
			c := open[m[1]]
			c.text, c.result, c.ended = c.text+m[3], m[4], i
			calls = append(calls, c)
		}
	}
	return calls
}

// syncedBeforeAnswers looks, for each webhook, for the first write of it to the log, the first whole sync
// of the log after that, and the webhook's answer: the answer must have begun after the sync had ended.
func syncedBeforeAnswers(calls []call, webhooks int) error {
	var answers []call
	for _, c := range calls {
		if strings.HasPrefix(c.name, "write") && strings.Contains(c.text, "TCP:") && strings.Contains(c.text, `"HTTP/1.1 200`) {
			answers = append(answers, c)
		}
	}
	if len(answers) != webhooks {
		return fmt.Errorf("%d answers were traced, want %d", len(answers), webhooks)
	}
	for i := range webhooks {
		written, synced := -1, -1
		for _, c := range calls {
			switch {
			case !strings.Contains(c.text, "relais.db-wal"):
			case written < 0 && strings.HasPrefix(c.name, "pwrite") && strings.Contains(c.text, marker(i)):
				written = c.ended
			case written >= 0 && synced < 0 && strings.HasSuffix(c.name, "sync") && c.began > written && c.result == "0":
				synced = c.ended
			}
		}
		switch {
		case written < 0:
			return fmt.Errorf("webhook %d was never written to the log", i)
		case synced < 0:
			return fmt.Errorf("webhook %d: no sync after its write", i)
		case answers[i].began < synced:
			return fmt.Errorf("webhook %d was answered before the sync of its write had ended", i)
		}
	}
	return nil
}
