package sandbox

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is one way in which the sandbox misbehaves, for the requests that it matches.
type Fault struct {
	// On is a method and a path, "POST /v2/invoices"; * stands for one segment of the path; "" is any request.
	On string
	// Skip lets so many matching requests pass first; Times is how many are hit, 0 for all;
	// Probability is how many of them, 0 for all.
	Skip, Times int
	Probability float64

	Delay       time.Duration // before anything is done
	Status      int           // answered instead of doing anything: 401, 429, 503, …
	RetryAfter  time.Duration // told with Status
	DropRequest bool          // the connection closes and nothing is done
	DropAnswer  bool          // it is done, and the connection closes
	// CommitLate, on POST /v2/invoices: the connection closes, and the invoice exists so long after.
	CommitLate time.Duration
	// SearchLag, on POST /v2/invoices: searches find the invoice so long after it exists.
	SearchLag time.Duration
}

// ParseFault reads the form that the command line and the control endpoint take:
//
//	POST /v2/invoices p=0.1 times=3 commit_late=2s
//
// with any of skip=N times=N p=F delay=D status=N retry_after=D drop_request drop_answer commit_late=D
// search_lag=D. "*" stands for any request.
func ParseFault(text string) (Fault, error) {
	var f Fault
	words := strings.Fields(text)
	switch {
	case len(words) >= 1 && words[0] == "*":
		words = words[1:]
	case len(words) >= 2 && strings.HasPrefix(words[1], "/"):
		f.On = words[0] + " " + words[1]
		words = words[2:]
	default:
		return f, fmt.Errorf("fault %q: it starts with a method and a path, or *", text)
	}
	for _, word := range words {
		if err := f.set(word); err != nil {
			return f, fmt.Errorf("fault %q: %w", text, err)
		}
	}
	return f, nil
}

func (f *Fault) set(word string) (err error) {
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "skip":
		f.Skip, err = strconv.Atoi(value)
	case "times":
		f.Times, err = strconv.Atoi(value)
	case "p":
		f.Probability, err = strconv.ParseFloat(value, 64)
	case "delay":
		f.Delay, err = time.ParseDuration(value)
	case "status":
		f.Status, err = strconv.Atoi(value)
	case "retry_after":
		f.RetryAfter, err = time.ParseDuration(value)
	case "drop_request":
		f.DropRequest = true
	case "drop_answer":
		f.DropAnswer = true
	case "commit_late":
		f.CommitLate, err = time.ParseDuration(value)
	case "search_lag":
		f.SearchLag, err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("%q is not a misbehaviour", name)
	}
	return err
}

// Faults is the list in force, with how often each was met. Its zero value is empty.
type Faults struct {
	mu     sync.Mutex
	random *rand.Rand
	active []*activeFault
}

type activeFault struct {
	Fault
	met, hit int
}

// Add puts a fault in force.
func (fs *Faults) Add(f Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.active = append(fs.active, &activeFault{Fault: f})
}

// Clear ends all faults.
func (fs *Faults) Clear() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.active = nil
}

// Draw is what happens to one request: every fault that hits it, together.
func (fs *Faults) Draw(method, requestPath string) Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var all Fault
	for _, f := range fs.active {
		if !f.matches(method, requestPath) {
			continue
		}
		f.met++
		if f.met <= f.Skip || f.Times > 0 && f.hit >= f.Times {
			continue
		}
		if f.Probability > 0 && fs.random != nil && fs.random.Float64() >= f.Probability {
			continue
		}
		f.hit++
		all.Delay += f.Delay
		all.CommitLate = max(all.CommitLate, f.CommitLate)
		all.SearchLag = max(all.SearchLag, f.SearchLag)
		all.DropRequest = all.DropRequest || f.DropRequest
		all.DropAnswer = all.DropAnswer || f.DropAnswer
		if f.Status != 0 {
			all.Status, all.RetryAfter = f.Status, f.RetryAfter
		}
	}
	return all
}

func (f *activeFault) matches(method, requestPath string) bool {
	if f.On == "" {
		return true
	}
	wantMethod, wantPath, _ := strings.Cut(f.On, " ")
	ok, err := path.Match(wantPath, requestPath)
	return err == nil && ok && wantMethod == method
}

// Misbehave adds a fault.
func (s *Sandbox) Misbehave(f Fault) { s.faults.Add(f) }

// Behave ends all faults.
func (s *Sandbox) Behave() { s.faults.Clear() }
