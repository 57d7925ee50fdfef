package storetest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// childRole is the environment variable that makes a test's binary another process of the test.
const childRole = "RELAIS_STORE_CHILD"

// Main is a package's TestMain: it runs the tests or, where Child started the binary, one of the roles on a folder.
func Main(m *testing.M, roles map[string]func(dir string) error) {
	if role := os.Getenv(childRole); role != "" {
		if err := roles[role](os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Child is this binary in another role, to be started, and the lines that it prints.
func Child(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, dir) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}
