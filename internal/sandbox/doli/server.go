package doli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relais/internal/sandbox"
)

// Prefix is where the API stands.
const Prefix = "/api/index.php"

// Object is something of Dolibarr, as its API shows it.
type Object = map[string]any

// Options say what the Dolibarr is like.
type Options struct {
	Key string // default "doli-key"
	// NoWebhooks leaves the calls for webhooks out, as versions before 18 do.
	NoWebhooks bool
	Now        func() time.Time
}

// Dolibarr is an http.Handler.
type Dolibarr struct {
	opts   Options
	mux    *http.ServeMux
	faults sandbox.Faults

	mu       sync.Mutex
	lastID   int64
	kept     map[string]map[int64]*row // by the API's name of the kind
	requests map[string]int
}

// row is an object with what the API doesn't show.
type row struct {
	object  Object
	changed time.Time // the column tms
	visible time.Time // when its transaction ends
}

// New makes an empty Dolibarr.
func New(o Options) *Dolibarr {
	if o.Key == "" {
		o.Key = "doli-key"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Dolibarr{opts: o, mux: http.NewServeMux(), kept: map[string]map[int64]*row{}, requests: map[string]int{}}
	d.routes()
	return d
}

// Serve answers on a free port of loopback until the server is closed.
func (d *Dolibarr) Serve() *httptest.Server { return httptest.NewServer(d) }

// ServeHTTP answers the API.
func (d *Dolibarr) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// Misbehave adds a fault, in the form that sandbox.ParseFault reads.
func (d *Dolibarr) Misbehave(text string) error {
	f, err := sandbox.ParseFault(text)
	if err == nil {
		d.faults.Add(f)
	}
	return err
}

// Behave ends all faults.
func (d *Dolibarr) Behave() { d.faults.Clear() }

// Requests counts the calls of a method and a path below Prefix: Requests("POST", "/invoices").
func (d *Dolibarr) Requests(method, path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests[method+" "+path]
}

// failed is an error in Dolibarr's shape.
type failed struct {
	status  int
	message string
}

func fail(status int, format string, args ...any) *failed {
	return &failed{status, fmt.Sprintf(format, args...)}
}

// call is one request with its body read.
type call struct {
	*http.Request
	body  Object
	fault sandbox.Fault
}

func (c *call) id() int64 {
	id, err := strconv.ParseInt(c.PathValue("id"), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

type handler func(c *call) (any, *failed)

const maxBody = 4 << 20

// handle wraps a call with what each one meets.
func (d *Dolibarr) handle(pattern string, parameters []string, h handler) {
	method, path, _ := strings.Cut(pattern, " ")
	d.mux.HandleFunc(method+" "+Prefix+path, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, fault: d.begin(r)}
		no := d.allowed(c, parameters)
		var value any
		if no == nil {
			value, no = h(c)
		}
		if no != nil {
			refuse(w, no)
			return
		}
		if c.fault.DropAnswer || c.fault.CommitLate > 0 {
			panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to close a connection
		}
		answer(w, http.StatusOK, value)
	})
}

// begin counts the request, and is as slow or as rude as it has to be.
func (d *Dolibarr) begin(r *http.Request) sandbox.Fault {
	path := strings.TrimPrefix(r.URL.Path, Prefix)
	d.mu.Lock()
	d.requests[r.Method+" "+path]++
	d.mu.Unlock()
	fault := d.faults.Draw(r.Method, path)
	if fault.Delay > 0 {
		<-time.After(fault.Delay)
	}
	if fault.DropRequest {
		panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to close a connection
	}
	return fault
}

func (d *Dolibarr) allowed(c *call, parameters []string) *failed {
	if c.fault.Status != 0 {
		return fail(c.fault.Status, "%s", http.StatusText(c.fault.Status))
	}
	if c.Header.Get("Dolapikey") != d.opts.Key {
		return fail(http.StatusUnauthorized, "Unauthorized: Failed to login to API. No parameter 'HTTP_DOLAPIKEY' on HTTP header (and no parameter DOLAPIKEY in URL).")
	}
	for name := range c.URL.Query() {
		if !slices.Contains(parameters, name) {
			return fail(http.StatusBadRequest, "Bad Request: unknown parameter %s", name)
		}
	}
	data, err := io.ReadAll(io.LimitReader(c.Body, maxBody))
	if err != nil {
		return fail(http.StatusBadRequest, "Bad Request: the body can't be read")
	}
	if len(data) > 0 {
		if c.Header.Get("Content-Type") != "application/json" {
			return fail(http.StatusUnsupportedMediaType, "Unsupported Media Type")
		}
		decoder := json.NewDecoder(strings.NewReader(string(data)))
		decoder.UseNumber()
		if err := decoder.Decode(&c.body); err != nil {
			return fail(http.StatusBadRequest, "Bad Request: Error parsing JSON")
		}
	}
	return nil
}

func refuse(w http.ResponseWriter, no *failed) {
	if no.status == http.StatusNotModified {
		w.WriteHeader(no.status)
		return
	}
	answer(w, no.status, Object{
		"error": Object{"code": no.status, "message": no.message},
		"debug": Object{"source": "api_invoices.class.php:1 at call stage", "stages": Object{"success": []string{"get", "route"}, "failure": []string{"call"}}},
	})
}

func answer(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone
}
