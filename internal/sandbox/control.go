package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// The controls stand beside the API, without a token: they are for whoever started the sandbox, on loopback.

func (s *Sandbox) controls() {
	s.mux.HandleFunc("GET /sandbox/health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, object{"status": "ok", "service": "sellsy-sandbox"})
	})
	s.mux.HandleFunc("GET /sandbox/invoices", s.inspect)
	s.mux.HandleFunc("POST /sandbox/estimates", s.controlEstimates)
	s.mux.HandleFunc("POST /sandbox/invoices", s.controlInvoice)
	s.mux.HandleFunc("POST /sandbox/faults", s.controlFaults)
	s.mux.HandleFunc("DELETE /sandbox/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.Behave()
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("POST /sandbox/notify", s.controlNotify)
}

// Inspection is the answer of GET /sandbox/invoices: the invoices of every estimate, those without any
// included.
type Inspection struct {
	Estimates map[int64][]int64 `json:"estimates"`
	Invoices  int               `json:"invoices"`
}

// Inspect tells which invoices each estimate has.
func (s *Sandbox) Inspect() Inspection {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := Inspection{Estimates: make(map[int64][]int64, len(s.estimates)), Invoices: len(s.invoices)}
	for id := range s.estimates {
		list.Estimates[id] = append([]int64{}, s.byEstimate[id]...)
	}
	return list
}

// inspect answers GET /sandbox/invoices, or with ?estimate=ID the whole invoices of that one.
func (s *Sandbox) inspect(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query().Get("estimate")
	if asked == "" {
		writeJSON(w, http.StatusOK, s.Inspect())
		return
	}
	id, err := strconv.ParseInt(asked, 10, 64)
	if err != nil {
		http.Error(w, "estimate is a number", http.StatusBadRequest)
		return
	}
	list := []json.RawMessage{}
	for _, number := range s.InvoicesOf(id) {
		inv, err := s.Invoice(number)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		list = append(list, inv)
	}
	writeJSON(w, http.StatusOK, list)
}

// NewEstimates is the body of POST /sandbox/estimates: Count estimates like Estimate, each of a company
// of its own when Count is more than one. The answer is {"ids": [...]}.
type NewEstimates struct {
	Estimate Estimate `json:"estimate"`
	Count    int      `json:"count"`
}

func (s *Sandbox) controlEstimates(w http.ResponseWriter, r *http.Request) {
	var body NewEstimates
	if !readControl(w, r, &body) {
		return
	}
	ids := []int64{}
	for i := range max(body.Count, 1) {
		e := body.Estimate
		if body.Count > 1 {
			e.ID, e.Company = 0, int64(defaultCompany+i)
		}
		id, err := s.AddEstimate(e)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ids = append(ids, id)
	}
	writeJSON(w, http.StatusCreated, object{"ids": ids})
}

func (s *Sandbox) controlInvoice(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Estimate int64          `json:"estimate"`
		More     map[string]any `json:"more"`
	}
	if !readControl(w, r, &body) {
		return
	}
	id, err := s.AddInvoice(body.Estimate, body.More)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusCreated, object{"id": id})
}

// controlFaults takes one fault a line, as ParseFault reads them.
func (s *Sandbox) controlFaults(w http.ResponseWriter, r *http.Request) {
	var list []Fault
	lines := bufio.NewScanner(http.MaxBytesReader(w, r.Body, maxBody))
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		f, err := ParseFault(lines.Text())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		list = append(list, f)
	}
	if err := lines.Err(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, f := range list {
		s.Misbehave(f)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sandbox) controlNotify(w http.ResponseWriter, r *http.Request) {
	var n Notification
	if !readControl(w, r, &n) {
		return
	}
	answer, err := s.Notify(r.Context(), n)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("the body: %v", err), http.StatusBadRequest)
		return false
	}
	return true
}
