//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// scratch holds what is built for all tests of the package.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "relais-cluster-")
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	scratch = dir
	defer func() { _ = os.RemoveAll(dir) }()
	flag.Parse()
	// The tests wait for leases and retries most of the time; the cores are busy all the same.
	if err := flag.Set("test.parallel", "8"); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var currentBinary = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return build(root, "current")
})

// current is the program as this tree has it.
func current(t *testing.T) string {
	t.Helper()
	path, err := currentBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func moduleRoot() (string, error) { return filepath.Abs(filepath.Join("..", "..")) }

func build(dir, name string, flags ...string) (string, error) {
	path := filepath.Join(scratch, name)
	args := append([]string{"build", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + name, "-o", path}, flags...)
	if _, err := output(dir, "go", append(args, "./cmd/relais")...); err != nil {
		return "", err
	}
	return path, nil
}

// output runs a program in a folder.
func output(dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// maxBack is how many commits before this one are tried for one that builds.
const maxBack = 5

// previous builds the program of the commit before this one. Where there is none to build it is this tree's:
// a version that knows one migration less than the next one all the same.
func previous(t *testing.T) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if missing := noHistory(t, root); missing != "" {
		t.Logf("%s: the current program stands for the previous one", missing)
		return current(t)
	}
	var broken error
	for back := 1; back <= maxBack; back++ {
		revision := fmt.Sprintf("HEAD~%d", back)
		if _, err := output(root, "git", "rev-parse", "--verify", "--quiet", revision+"^{commit}"); err != nil {
			break
		}
		dir := t.TempDir()
		archive := filepath.Join(dir, "tree.tar")
		if _, err := output(root, "git", "archive", "--format=tar", "-o", archive, revision); err != nil {
			t.Fatal(err)
		}
		if _, err := output(dir, "tar", "-xf", archive); err != nil {
			t.Fatal(err)
		}
		path, err := build(dir, "previous")
		if err == nil {
			t.Logf("the previous program is that of %s", revision)
			return path
		}
		broken = errors.Join(broken, fmt.Errorf("%s: %w", revision, err))
	}
	t.Fatalf("no commit before this one builds: %v", broken)
	return ""
}

// noHistory says why there is no previous commit to be had, or "". A repository that git can't read fails
// the test.
func noHistory(t *testing.T, root string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return "this tree has no .git (it was unpacked from an archive)"
	}
	if _, err := exec.LookPath("git"); err != nil {
		return "git isn't installed"
	}
	count, err := output(root, "git", "rev-list", "--count", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if count != "1" {
		return ""
	}
	shallow, err := output(root, "git", "rev-parse", "--is-shallow-repository")
	if err != nil {
		t.Fatal(err)
	}
	if shallow == "true" {
		return "the clone is shallow and holds one commit: clone with a depth of 2 or more"
	}
	return "this is the first commit"
}

// nextSQL is a release's expanding step: what the version before goes on working beside.
const nextSQL = `ALTER TABLE delivery ADD COLUMN next_note text;
ALTER TABLE delivery_done ADD COLUMN next_note text;
ALTER TABLE delivery_kept ADD COLUMN next_note text;
ALTER TABLE event ADD COLUMN next_note text;
ALTER TABLE event_kept ADD COLUMN next_note text;
ALTER TABLE lane ADD COLUMN next_note text NOT NULL DEFAULT 'new';
CREATE TABLE next_thing (id bigint PRIMARY KEY);
`

// next builds this tree with one migration and some settings more, laid over it for the compiler only.
func next(t *testing.T) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store := filepath.Join(root, "internal", "store", "postgres")
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	lay := func(at, text string) {
		from := filepath.Join(dir, filepath.Base(at))
		if err := os.WriteFile(from, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[at] = from
	}
	lay(filepath.Join(store, "migrations", "9999_next.sql"), nextSQL)
	lay(filepath.Join(store, "next.go"), "package postgres\n\nfunc init() {\n\tschemaSteps = append(schemaSteps, schemaStep{oldest: 1, alters: \"delivery, delivery_done, delivery_kept, event, event_kept, lane\"})\n}\n")
	settings := filepath.Join(root, "internal", "config", "config.go")
	source, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	with := string(source)
	for _, object := range []string{"Route", "Step", "Connection", "Lanes"} {
		opening := "type " + object + " struct {\n"
		if !strings.Contains(with, opening) {
			t.Fatalf("%s has no %q", settings, opening)
		}
		with = strings.Replace(with, opening, opening+"\tNextNote string\n\tNextLimits struct{ Day, Hour int }\n", 1)
	}
	lay(settings, with)
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := build(root, "next", "-overlay", file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
