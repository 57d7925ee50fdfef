//go:build unix

package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var errNoServer = errors.New("no PostgreSQL server on this machine (initdb, postgres): run scripts/setup, " +
	"or install the package postgresql, or set " + environment + " to the URL of a server where databases may be created")

var errNoBouncer = errors.New("no PgBouncer on this machine: run scripts/setup, or install the package pgbouncer")

// serverBinaries is the folder of initdb and postgres.
var serverBinaries = sync.OnceValues(findServer)

func findServer() (string, error) {
	var places []string
	if found, err := exec.LookPath("initdb"); err == nil {
		// Through the link: initdb looks for its companions beside itself.
		if real, err := filepath.EvalSymlinks(found); err == nil {
			places = append(places, filepath.Dir(real))
		}
	}
	if out, err := exec.CommandContext(context.Background(), "pg_config", "--bindir").Output(); err == nil {
		places = append(places, strings.TrimSpace(string(out)))
	}
	debian, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(debian, func(a, b string) int { return major(b) - major(a) })
	for _, dir := range append(places, debian...) {
		if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", errNoServer
}

// major is the version in /usr/lib/postgresql/17/bin; 9 comes before 17.
func major(bin string) int {
	n, err := strconv.ParseFloat(filepath.Base(filepath.Dir(bin)), 64)
	if err != nil {
		return 0
	}
	return int(n)
}

func findBouncer() (string, error) {
	if found, err := exec.LookPath("pgbouncer"); err == nil {
		return found, nil
	}
	if debian := "/usr/sbin/pgbouncer"; executable(debian) {
		return debian, nil
	}
	return "", errNoBouncer
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
