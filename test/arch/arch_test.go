// Package arch keeps the packages of relais in their order.
package arch

import (
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "relais"

// order is which packages of ours each one may import: by name, all below a folder ("internal/..."), or
// all but one ("!internal/demo"). The left-most knows nobody; app, and what uses it, are the only ones
// that know all. A package that isn't listed may not exist.
var order = map[string][]string{
	"internal/core": {},

	"internal/store":           {"internal/core"},
	"internal/store/sqlite":    {"internal/core", "internal/store"},
	"internal/store/postgres":  {"internal/core", "internal/store"},
	"internal/store/storetest": {"internal/core", "internal/store"},
	// It runs other people's servers, and knows none of relais.
	"internal/testserver": {},
	// It knows PostgreSQL's programs and none of relais.
	"internal/store/postgres/pgtest": {"internal/testserver"},
	"internal/store/spool":           {"internal/core", "internal/store"},

	"internal/egress": {"internal/core"},
	"internal/expr":   {"internal/core"},
	// It makes certificates for the servers that tests start.
	"internal/egress/certtest": {},
	"internal/sandbox":         {"internal/core"},
	"internal/sandbox/doli":    {"internal/sandbox"},
	"internal/telemetry":       {"internal/core"},
	"internal/config":          {"internal/core", "internal/expr"},
	"internal/source":          {"internal/core", "internal/expr", "internal/config"},
	"internal/route":           {"internal/core", "internal/config", "internal/expr", "internal/store"},

	"internal/step": {"internal/core", "internal/config", "internal/expr", "internal/store"},
	// It is the protocol that kinds of steps which make things share.
	"internal/step/once": {"internal/core", "internal/step", "internal/store"},
	// It drives steps that follow it.
	"internal/step/once/oncetest": {"internal/core", "internal/step", "internal/store"},
	// It calls the APIs of kinds that follow it.
	"internal/step/rest":     append([]string{"internal/step/once"}, stepKind...),
	"internal/step/sellsy":   onceKind,
	"internal/step/dolibarr": onceKind,
	"internal/step/httpreq":  stepKind,
	"internal/step/slack":    stepKind,
	"internal/step/sqlstep":  stepKind,
	// It knows MariaDB's programs and none of relais.
	"internal/step/sqlstep/mysqltest": {"internal/egress/certtest", "internal/testserver"},
	"internal/step/email":             stepKind,
	// It knows a mail server's program and none of relais.
	"internal/step/email/mailtest": {},
	"internal/step/redis":          stepKind,
	"internal/step/n8n":            stepKind,
	"internal/step/alert":          stepKind,
	"internal/step/emit":           stepKind,
	"internal/step/meilisearch":    stepKind,
	// It imitates Meilisearch, and knows none of relais.
	"internal/step/meilisearch/meilitest": {},
	// It knows Redis' programs and none of relais.
	"internal/step/redis/redistest": {},

	"internal/ingest": {"internal/core", "internal/config", "internal/route", "internal/source", "internal/store", "internal/telemetry"},
	"internal/lane":   {"internal/core", "internal/config", "internal/store", "internal/telemetry"},
	"internal/api":    {"internal/core", "internal/config", "internal/expr", "internal/route", "internal/source", "internal/step", "internal/store", "internal/telemetry"},
	"internal/bench":  {"internal/core", "internal/store", "internal/api", "internal/lane"},

	"internal/app":  {"internal/...", "!internal/bench", "!internal/demo"},
	"internal/demo": {"internal/api", "internal/app", "internal/core", "internal/sandbox"},
	"cmd/relais":    {"internal/..."},
	"test/arch":     {},
	"test/chaos":    {"internal/..."},
	"test/cluster":  {"internal/..."},
	"test/examples": {"internal/..."},
	"test/hostile":  {"internal/..."},
	"test/secrets":  {"internal/..."},

	"test/monitoring": {"internal/..."},
	"test/asyncapi":   {"internal/..."},

	"internal/asyncapi": {"internal/core", "internal/config", "internal/source"},
}

// stepKind is what a kind of step may know: the engine it is called by, and how to reach the world.
var stepKind = []string{"internal/core", "internal/expr", "internal/config", "internal/egress", "internal/step", "internal/store"}

// onceKind is one that makes what may not be made twice.
var onceKind = append([]string{"internal/step/once", "internal/step/rest"}, stepKind...)

// testsToo is what tests may import besides: the real stores and the sandbox stand where mocks would.
var testsToo = []string{"internal/store/sqlite", "internal/store/postgres", "internal/store/postgres/pgtest", "internal/store/storetest", "internal/egress/certtest", "internal/step/email/mailtest", "internal/step/redis/redistest", "internal/step/sqlstep/mysqltest", "internal/step/meilisearch/meilitest", "internal/step/once/oncetest", "internal/sandbox", "internal/sandbox/doli", "internal/core"}

// violation says why a package may not import another, or "".
func violation(from, to string, test bool) string {
	allowed, known := order[from]
	if !known {
		return fmt.Sprintf("%s has no place in the order: give it one in test/arch, and in docs/architecture.md", from)
	}
	if strings.HasPrefix(from, "test/") && test {
		return "" // tests of the whole may know the whole
	}
	if test {
		allowed = append(slices.Clone(allowed), testsToo...)
	}
	if slices.Contains(allowed, "!"+to) {
		allowed = nil
	}
	for _, pattern := range allowed {
		if whole, ok := strings.CutSuffix(pattern, "/..."); ok && strings.HasPrefix(to, whole+"/") || pattern == to {
			return ""
		}
	}
	return fmt.Sprintf("%s imports %s, which is not to its left", from, to)
}

// ours are the imports that are packages of this module, as paths within it.
func ours(imports []string) []string {
	var paths []string
	for _, name := range imports {
		if within, ok := strings.CutPrefix(name, module+"/"); ok {
			paths = append(paths, within)
		}
	}
	return paths
}

// inspect returns the violations of one folder's package.
func inspect(root, dir string) ([]string, error) {
	// Files for every system count, not only those of the one that runs this.
	context := build.Default
	context.UseAllFiles = true
	pkg, err := context.ImportDir(filepath.Join(root, dir), build.IgnoreVendor)
	if err != nil && len(pkg.GoFiles)+len(pkg.TestGoFiles)+len(pkg.XTestGoFiles) == 0 {
		return nil, err
	}
	from := filepath.ToSlash(dir)
	var found []string
	for _, to := range ours(pkg.Imports) {
		if v := violation(from, to, false); v != "" {
			found = append(found, v)
		}
	}
	for _, to := range append(ours(pkg.TestImports), ours(pkg.XTestImports)...) {
		if v := violation(from, to, true); v != "" && to != from {
			found = append(found, "a test of "+v)
		}
	}
	if _, known := order[from]; !known {
		found = append(found, violation(from, "", false))
	}
	return found, nil
}

// folders lists the module's folders that hold Go files.
func folders(root string) ([]string, error) {
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !entry.IsDir() && path.Ext(name) == ".go" {
			dir, err := filepath.Rel(root, filepath.Dir(name))
			if err != nil {
				return err
			}
			seen[dir] = true
		}
		return nil
	})
	var list []string
	for dir := range seen {
		list = append(list, dir)
	}
	slices.Sort(list)
	return list, err
}

func TestNoPackageImportsOneToItsRight(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	dirs, err := folders(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(dirs, filepath.Join("internal", "core")) {
		t.Fatalf("internal/core is not among %v", dirs)
	}
	for _, dir := range dirs {
		found, err := inspect(root, dir)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		for _, v := range found {
			t.Error(v)
		}
	}
}

// The order itself must have a direction: if two packages may import each other, it forbids nothing.
func TestTheOrderHasNoCircle(t *testing.T) {
	var visit func(name string, path []string)
	visit = func(name string, path []string) {
		if slices.Contains(path, name) {
			t.Errorf("the order has a circle: %s", strings.Join(append(path, name), " → "))
			return
		}
		for _, next := range order[name] {
			if !strings.HasSuffix(next, "/...") && !strings.HasPrefix(next, "!") {
				visit(next, append(slices.Clone(path), name))
			}
		}
	}
	for name := range order {
		visit(name, nil)
	}
}

func TestTheOrderRefusesWhatItShould(t *testing.T) {
	refused := []struct {
		from, to string
		test     bool
	}{
		{"internal/core", "internal/store", false},
		{"internal/store", "internal/store/sqlite", false},
		{"internal/store/sqlite", "internal/config", false},
		{"internal/ingest", "internal/store/sqlite", false},
		{"internal/ingest", "internal/lane", false},
		{"internal/lane", "internal/ingest", false},
		{"internal/lane", "internal/step", false},
		{"internal/step", "internal/step/sellsy", false},
		{"internal/step/sellsy", "internal/sandbox", false},
		{"internal/api", "internal/app", false},
		{"internal/expr", "internal/config", false},
		{"internal/expr", "internal/config", true},
		{"internal/config", "internal/source", false},
		{"internal/app", "cmd/relais", false},
		{"internal/app", "internal/demo", false},
		{"internal/bench", "internal/app", false},
		{"internal/util", "internal/core", false},
	}
	for _, c := range refused {
		if violation(c.from, c.to, c.test) == "" {
			t.Errorf("%s may import %s (test: %t)", c.from, c.to, c.test)
		}
	}
	allowed := []struct {
		from, to string
		test     bool
	}{
		{"internal/store", "internal/core", false},
		{"internal/app", "internal/store/sqlite", false},
		{"internal/lane", "internal/store/sqlite", true},
		{"internal/step/sellsy", "internal/sandbox", true},
	}
	for _, c := range allowed {
		if v := violation(c.from, c.to, c.test); v != "" {
			t.Error(v)
		}
	}
}

// A made-up package, written to disk and read as the real ones are, must be found out.
func TestAFabricatedImportIsFound(t *testing.T) {
	root := t.TempDir()
	write := func(dir, file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("internal/core", "core.go", "package core\n\nimport _ \"fmt\"\n")
	write("internal/core", "core_windows.go", "package core\n\nimport _ \"relais/internal/store\"\n")
	write("internal/expr", "expr_test.go", "package expr\n\nimport _ \"relais/internal/app\"\n")
	write("internal/helpers", "helpers.go", "package helpers\n")
	dirs, err := folders(root)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, dir := range dirs {
		violations, err := inspect(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, violations...)
	}
	want := []string{
		"internal/core imports internal/store, which is not to its left",
		"a test of internal/expr imports internal/app, which is not to its left",
		"internal/helpers has no place in the order: give it one in test/arch, and in docs/architecture.md",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
}
