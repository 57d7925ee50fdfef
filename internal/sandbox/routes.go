package sandbox

import (
	"net/http"
	"time"
)

func (s *Sandbox) routes() {
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST /oauth2/access-tokens", s.api(false, s.issueToken))
	for pattern, h := range map[string]handler{
		"GET /v2/estimates/{id}":          s.getEstimate,
		"PUT /v2/estimates/{id}/status":   s.putStatus,
		"POST /v2/estimates/search":       s.searchEstimates,
		"POST /v2/invoices":               s.postInvoice,
		"GET /v2/invoices/{id}":           s.getInvoice,
		"POST /v2/invoices/search":        s.postSearch,
		"POST /v2/invoices/{id}/validate": s.postValidate,
		"GET /v2/quotas":                  s.getQuotas,
		"GET /v2/webhooks":                s.listWebhooks,
		"POST /v2/webhooks":               s.postWebhook,
		"GET /v2/webhooks/{id}":           s.getWebhook,
		"PUT /v2/webhooks/{id}":           s.putWebhook,
		"DELETE /v2/webhooks/{id}":        s.deleteWebhook,
		"GET /v2/webhooks/events":         s.webhookEvents,
	} {
		s.mux.HandleFunc(pattern, s.api(true, h))
	}
	s.mux.HandleFunc("/v2/", s.api(true, func(*request) (int, any, *apiError) { return 0, nil, notFound("Route") }))
	s.controls()
}

func (s *Sandbox) getEstimate(r *request) (int, any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.estimates[r.id()]
	if o == nil {
		return 0, nil, notFound("Estimate")
	}
	return http.StatusOK, shown(o, r.http.URL.Query()["embed[]"]), nil
}

func (s *Sandbox) putStatus(r *request) (int, any, *apiError) {
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	wrong := details{}
	newStatus.check("", body, wrong)
	if len(wrong) > 0 {
		return 0, nil, invalid(wrong)
	}
	status, _ := body["status"].(string)
	s.mu.Lock()
	o := s.estimates[r.id()]
	if o == nil {
		s.mu.Unlock()
		return 0, nil, notFound("Estimate")
	}
	err := s.setStatus(o, status)
	changed := s.estimates[r.id()]
	hooks := s.subscribers("estimate.step")
	s.mu.Unlock()
	if err != nil {
		return 0, nil, internal(err)
	}
	s.notifyAll(hooks, r.id())
	return http.StatusOK, shown(changed, nil), nil
}

func (s *Sandbox) postInvoice(r *request) (int, any, *apiError) {
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inv, failed := s.createInvoice(body)
	if failed != nil {
		return 0, nil, failed
	}
	if r.fault.CommitLate > 0 {
		s.commitLate(inv, r.fault)
		return http.StatusCreated, nil, nil
	}
	return s.commit(inv, r.fault)
}

// commit keeps the invoice. The caller holds the lock.
func (s *Sandbox) commit(inv *invoice, fault Fault) (int, any, *apiError) {
	if err := s.journal("invoice", inv.object); err != nil {
		return 0, nil, internal(err)
	}
	s.keepInvoice(inv, s.opts.Now().Add(fault.SearchLag))
	return http.StatusCreated, inv.object, nil
}

// commitLate keeps the invoice after the request has ended; closing the sandbox ends the wait.
func (s *Sandbox) commitLate(inv *invoice, fault Fault) {
	s.late.Go(func() {
		timer := time.NewTimer(fault.CommitLate)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closed:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _, _ = s.commit(inv, fault) // nobody is left to be told
	})
}

func (s *Sandbox) getInvoice(r *request) (int, any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.invoices[r.id()]
	if inv == nil {
		return 0, nil, notFound("Invoice")
	}
	return http.StatusOK, inv.object, nil
}

func (s *Sandbox) postSearch(r *request) (int, any, *apiError) {
	p, failed := readPage(r.http.URL.Query(), "id", "number", "created", "date", "amount", "due_date")
	if failed != nil {
		return 0, nil, failed
	}
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, failed := s.searchInvoices(body, p)
	return http.StatusOK, found, failed
}

func (s *Sandbox) postValidate(r *request) (int, any, *apiError) {
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, failed := s.validateInvoice(r.id(), body)
	return http.StatusOK, o, failed
}

func (s *Sandbox) getQuotas(*request) (int, any, *apiError) {
	return http.StatusOK, s.quotas.report(), nil
}
