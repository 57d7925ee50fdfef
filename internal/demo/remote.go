package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"relais/internal/api"
	"relais/internal/app"
	"relais/internal/sandbox"
)

// newEstimate makes a quote in the sandbox.
func (s *story) newEstimate(ctx context.Context, e sandbox.Estimate) (int64, error) {
	ids, err := s.sellsy.AddEstimates(ctx, sandbox.NewEstimates{Estimate: e})
	if err != nil || len(ids) != 1 {
		return 0, fmt.Errorf("making a quote in the sandbox: %w", err)
	}
	return ids[0], nil
}

// invoice is what is told of an invoice.
type invoice struct {
	ID       int64             `json:"id"`
	Number   string            `json:"number"`
	Currency string            `json:"currency"`
	Rows     []json.RawMessage `json:"rows"`
	Amounts  map[string]any    `json:"amounts"`
}

// name is the invoice's number, or its id as long as it is a draft.
func (i *invoice) name() string {
	if i.Number != "" {
		return i.Number
	}
	return fmt.Sprintf("#%d", i.ID)
}

func (i *invoice) total() any { return i.Amounts["total_incl_tax"] }

// invoiceOf is the one invoice of an estimate.
func (s *story) invoiceOf(ctx context.Context, estimate int64) (*invoice, error) {
	var list []invoice
	if err := s.sellsy.InvoicesOf(ctx, estimate, &list); err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, failed("quote %d has %d invoices in Sellsy, and should have one", estimate, len(list))
	}
	return &list[0], nil
}

// control talks to relais on its socket.
type control struct {
	hook, admin string
	client      *http.Client
}

func newControl(where app.Addresses) *control {
	return &control{
		hook: "http://" + where.Listen + "/webhook/sellsy", admin: where.Admin,
		client: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", where.Socket)
		}}},
	}
}

func (c *control) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://relais"+api.Prefix+path, nil)
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("GET %s was answered %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (c *control) events(ctx context.Context) ([]api.Event, error) {
	var page struct {
		Items []api.Event `json:"items"`
	}
	return page.Items, c.get(ctx, "/events?repeats=true", &page)
}

// delivery is a delivery with what its steps made.
type delivery struct {
	api.Delivery
	Steps []struct {
		Result map[string]any `json:"result"`
	} `json:"steps"`
}

func (d *delivery) ended() bool { return d.State != "pending" && d.State != "running" }

func (d *delivery) status() any {
	if len(d.Steps) == 0 {
		return nil
	}
	return d.Steps[0].Result["status"]
}

func (d *delivery) took() time.Duration { return d.FinishedAt.Sub(d.CreatedAt) }

func (c *control) deliveries(ctx context.Context) ([]delivery, error) {
	var page struct {
		Items []delivery `json:"items"`
	}
	return page.Items, c.get(ctx, "/deliveries", &page)
}

func (c *control) delivery(ctx context.Context, id string) (*delivery, error) {
	var d delivery
	return &d, c.get(ctx, "/deliveries/"+id, &d)
}
