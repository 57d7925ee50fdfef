//go:build unix

package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"relais/internal/store"
)

// childRole is the environment variable that makes the test's binary another process of a test.
const childRole = "RELAIS_SQLITE_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := childRoles[role](os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var childRoles = map[string]func(dir string) error{"append": childAppends, "readonly": childReadOnly, "small disk": childSmallDisk, "back up": childBacksUp, "back up on small disk": childBacksUpOnSmallDisk}

// child starts this binary in another role. Its first argument is the data folder.
func child(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, dir)
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// childAppends acknowledges events, by printing their ids, until it is killed.
func childAppends(dir string) error {
	s, err := Open(context.Background(), Options{Dir: dir, CheckpointBytes: 1 << 20})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				batch := benchBatch(1, 5)
				if _, err := s.Append(context.Background(), batch); err != nil {
					return
				}
				mu.Lock()
				fmt.Println(batch[0].Event.ID)
				mu.Unlock()
				if _, err := s.Claim(context.Background(), store.ClaimParams{Node: "n", Max: 4, Lanes: []store.LaneRoom{{Lane: 1, Max: 4}}}); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return s.Close()
}
