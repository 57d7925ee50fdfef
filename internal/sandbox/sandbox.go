package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options say what the sandbox's account is like. The zero value is a good-natured account.
type Options struct {
	ClientID      string        // default "sandbox-client"
	ClientSecret  string        // default "sandbox-secret"
	PersonalToken string        // a static token that is always good; "" for none
	TokenLifetime time.Duration // default 1 h
	PerSecond     int           // requests; 0 is no quota
	PerMinute     int
	// Journal is a file that keeps estimates, invoices and webhooks; "" keeps them in memory.
	Journal string
	Seed    uint64 // of the faults' probability
	Faults  []Fault
	Now     func() time.Time
	// Client sends webhooks; default http.DefaultClient.
	Client *http.Client
}

// Sandbox is an http.Handler: the API under /v2, the tokens under /oauth2, and under /sandbox what tests
// and people need to drive and to inspect it.
type Sandbox struct {
	opts   Options
	mux    *http.ServeMux
	faults Faults
	quotas *quotas
	closed chan struct{}
	late   sync.WaitGroup

	mu         sync.Mutex
	lastID     int64
	estimates  map[int64]object
	invoices   map[int64]*invoice
	byEstimate map[int64][]int64
	byRelated  map[objectRef][]*invoice
	known      map[objectRef]bool
	prices     map[objectRef]object
	webhooks   map[int64]object
	tokens     map[string]time.Time
	issued     int
	requests   map[string]int
	file       *os.File
}

// New makes a sandbox, with what its journal holds.
func New(opts Options) (*Sandbox, error) {
	if opts.ClientID == "" {
		opts.ClientID = "sandbox-client"
	}
	if opts.ClientSecret == "" {
		opts.ClientSecret = "sandbox-secret"
	}
	if opts.TokenLifetime == 0 {
		opts.TokenLifetime = time.Hour
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Client == nil {
		opts.Client = http.DefaultClient
	}
	s := &Sandbox{
		opts: opts, closed: make(chan struct{}), quotas: newQuotas(opts.PerSecond, opts.PerMinute),
		lastID: 1000, estimates: map[int64]object{}, invoices: map[int64]*invoice{},
		byEstimate: map[int64][]int64{}, byRelated: map[objectRef][]*invoice{}, known: map[objectRef]bool{},
		prices: map[objectRef]object{}, webhooks: map[int64]object{}, tokens: map[string]time.Time{},
		requests: map[string]int{},
	}
	s.faults.random = rand.New(rand.NewPCG(opts.Seed, 1)) // faults have to be the same again, not secret
	for _, f := range opts.Faults {
		s.faults.Add(f)
	}
	if opts.Journal != "" {
		if err := s.openJournal(opts.Journal); err != nil {
			return nil, err
		}
	}
	s.routes()
	return s, nil
}

// Close ends what is slow, commits what is late, and closes the journal.
func (s *Sandbox) Close() error {
	close(s.closed)
	s.late.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// nextID gives ids for everything in the account. The caller holds the lock.
func (s *Sandbox) nextID() int64 {
	s.lastID++
	return s.lastID
}

// request is one call with its body read.
type request struct {
	http  *http.Request
	body  []byte
	fault Fault
}

func (r *request) id() int64 {
	id, err := strconv.ParseInt(r.http.PathValue("id"), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

func (r *request) object() (object, *apiError) {
	if len(bytes.TrimSpace(r.body)) == 0 {
		return object{}, nil
	}
	o, err := decodeObject(r.body)
	if err != nil {
		return nil, &apiError{status: http.StatusBadRequest, message: err.Error()}
	}
	return o, nil
}

// handler answers one call; a nil value has no body.
type handler func(r *request) (status int, value any, failed *apiError)

const maxBody = 4 << 20

// api wraps a handler with what every call of the API meets: faults, quotas, tokens.
func (s *Sandbox) api(needsToken bool, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, hr.Body, maxBody))
		if err != nil {
			writeJSON(w, http.StatusBadRequest, (&apiError{status: http.StatusBadRequest, message: "The body can't be read"}).body())
			return
		}
		s.count(hr)
		r := &request{http: hr, body: body, fault: s.faults.Draw(hr.Method, hr.URL.Path)}
		s.sleep(r.fault.Delay)
		if r.fault.DropRequest {
			panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to close a connection
		}
		status, value, failed := s.answer(w, r, needsToken, h)
		if failed != nil {
			status, value = failed.status, failed.body()
		} else if r.fault.DropAnswer || r.fault.CommitLate > 0 {
			panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to close a connection
		}
		if value == nil {
			w.WriteHeader(status)
			return
		}
		writeJSON(w, status, value)
	}
}

func (s *Sandbox) answer(w http.ResponseWriter, r *request, needsToken bool, h handler) (int, any, *apiError) {
	if needsToken {
		if wait, ok := s.quotas.take(s.opts.Now(), w.Header()); !ok {
			retryAfter(w, wait)
			return 0, nil, &apiError{status: http.StatusTooManyRequests, message: "Quota exceeded"}
		}
	}
	if status := r.fault.Status; status != 0 {
		if status == http.StatusTooManyRequests {
			w.Header().Set("X-Quota-Remaining-By-Second", "0")
		}
		if r.fault.RetryAfter > 0 {
			retryAfter(w, r.fault.RetryAfter)
		}
		return 0, nil, &apiError{status: status, message: http.StatusText(status)}
	}
	if needsToken {
		if failed := s.authorised(r.http); failed != nil {
			return 0, nil, failed
		}
	}
	return h(r)
}

func retryAfter(w http.ResponseWriter, wait time.Duration) {
	seconds := int64((wait + time.Second - 1) / time.Second)
	w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
}

func (s *Sandbox) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closed:
	}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone
}

// ServeHTTP answers the API, the tokens and the controls.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Sandbox) count(r *http.Request) {
	s.mu.Lock()
	s.requests[r.Method+" "+r.URL.Path]++
	s.mu.Unlock()
}

// Requests counts the calls of a method and a path: Requests("POST", "/v2/invoices").
func (s *Sandbox) Requests(method, path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[method+" "+path]
}

// InvoicesOf lists the invoices of an estimate, oldest first, deposits included.
func (s *Sandbox) InvoicesOf(estimate int64) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.byEstimate[estimate])
}

// Invoice returns an invoice as the API shows it, as JSON.
func (s *Sandbox) Invoice(id int64) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.invoices[id]
	if inv == nil {
		return nil, fmt.Errorf("there is no invoice %d", id)
	}
	return json.Marshal(inv.object)
}

// Server is a sandbox that listens.
type Server struct {
	*Sandbox
	URL      string // http://127.0.0.1:PORT; the API is below /v2
	server   *http.Server
	finished chan error
}

// Serve listens on address ("" is a free port of loopback) until Close.
func Serve(address string, opts Options) (*Server, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	s, err := New(opts)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address) //nolint:noctx // it ends with Close
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	server := &Server{
		Sandbox: s, URL: "http://" + listener.Addr().String(), finished: make(chan error, 1),
		server: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second},
	}
	go func() { server.finished <- server.server.Serve(listener) }()
	return server, nil
}

// Close stops listening and ends the sandbox.
func (s *Server) Close() error {
	err := s.server.Close()
	if served := <-s.finished; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, s.Sandbox.Close())
}
