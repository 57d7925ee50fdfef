package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// flood posts so many different webhooks to an address, one after the other.
func flood(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range n {
		answer, err := http.Post(args[1], "application/json", strings.NewReader(fmt.Sprintf(`{"event":"a.b","n":%d}`, i)))
		ts.Check(err)
		ts.Check(answer.Body.Close())
		if answer.StatusCode != http.StatusOK {
			ts.Fatalf("webhook %d was answered %d", i, answer.StatusCode)
		}
	}
}

// killed runs a command, and kills it once so many lines that a pattern matches stand in its standard error. It sets
// a variable to what the pattern's group found last.
func killed(ts *testscript.TestScript, _ bool, args []string) {
	binary, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(binary, args[4:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR"), "LANG=C"}
	said, err := cmd.StderrPipe()
	ts.Check(err)
	after, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(cmd.Start())
	pattern, lines, last := regexp.MustCompile(args[2]), 0, ""
	for scanner := bufio.NewScanner(said); scanner.Scan(); {
		if found := pattern.FindStringSubmatch(scanner.Text()); found != nil {
			if last, lines = found[1], lines+1; lines == after {
				ts.Check(cmd.Process.Kill())
			}
		}
	}
	if err := cmd.Wait(); err == nil || lines < after {
		ts.Fatalf("it ended by itself (%v) after %d lines", err, lines)
	}
	ts.Setenv(args[0], last)
}

// each asserts of the deliveries in the last command's output, as JSON, that every one of so many events has that many,
// and that at most so many have one more.
func each(ts *testscript.TestScript, _ bool, args []string) {
	var want [3]int
	for i := range want {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		want[i] = n
	}
	var page struct {
		Items []struct{ Event string } `json:"items"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &page))
	byEvent := map[string]int{}
	for _, d := range page.Items {
		byEvent[d.Event]++
	}
	more := 0
	for event, n := range byEvent {
		switch n {
		case want[1]:
		case want[1] + 1:
			more++
		default:
			ts.Fatalf("%s has %d deliveries, want %d", event, n, want[1])
		}
	}
	if len(byEvent) != want[0] || more > want[2] {
		ts.Fatalf("%d events have deliveries, %d of them one more; want %d and at most %d", len(byEvent), more, want[0], want[2])
	}
}
