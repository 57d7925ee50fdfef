package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"relais/internal/api"
	"relais/internal/app"
	"relais/internal/sandbox"
)

// sellsy is the sandbox in its process.
type sellsy struct {
	url string
	cmd *exec.Cmd
}

func startSellsy(ctx context.Context, command []string) (*sellsy, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // relais itself
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the sandbox of Sellsy did not start: %w", err)
	}
	return &sellsy{url: strings.TrimSpace(strings.TrimPrefix(line, "sandbox ")), cmd: cmd}, nil
}

func (s *sellsy) stop() {
	_ = s.cmd.Process.Kill() // it may have ended with the context
	_ = s.cmd.Wait()
}

func (s *sellsy) estimate(ctx context.Context, e sandbox.Estimate) (int64, error) {
	var made struct {
		IDs []int64 `json:"ids"`
	}
	err := call(ctx, http.DefaultClient, s.url+"/sandbox/estimates", sandbox.NewEstimates{Estimate: e}, &made)
	if err != nil || len(made.IDs) != 1 {
		return 0, fmt.Errorf("making a quote in the sandbox: %w", err)
	}
	return made.IDs[0], nil
}

func (s *sellsy) notify(ctx context.Context, n sandbox.Notification) (sandbox.Answer, error) {
	var a sandbox.Answer
	return a, call(ctx, http.DefaultClient, s.url+"/sandbox/notify", n, &a)
}

func (s *sellsy) inspect(ctx context.Context) (sandbox.Inspection, error) {
	var i sandbox.Inspection
	return i, call(ctx, http.DefaultClient, s.url+"/sandbox/invoices", nil, &i)
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
func (s *sellsy) invoiceOf(ctx context.Context, estimate int64) (*invoice, error) {
	var list []invoice
	if err := call(ctx, http.DefaultClient, fmt.Sprintf("%s/sandbox/invoices?estimate=%d", s.url, estimate), nil, &list); err != nil {
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
	return call(ctx, c.client, "http://relais"+api.Prefix+path, nil, into)
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

func (d *delivery) took() string { return milliseconds(d.FinishedAt.Sub(d.CreatedAt)) }

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

// call posts body as JSON, or gets where there is none.
func call(ctx context.Context, client *http.Client, url string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	method, text := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		method = http.MethodPost
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s was answered %s", method, url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
