package sellsy

import (
	"context"
	"net/http"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/sandbox"
	"relais/internal/step"
	"relais/internal/step/once/oncetest"
	"relais/internal/store"
)

// bench is one Sellsy account, one ledger, and the step on both.
type bench struct {
	t       *testing.T
	sellsy  *sandbox.Sandbox
	book    oncetest.Book
	account *Connection
	event   *core.Event // that attempts are for; may be nil
}

func newBench(t *testing.T, b oncetest.Book, o sandbox.Options) *bench {
	t.Helper()
	s, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	kind := ConnectionKind(&http.Client{Transport: oncetest.Wire{Handler: s}})
	opened, err := kind.Open(map[string]any{
		"base_url": "http://127.0.0.1:1/v2", "client_id": "sandbox-client", "client_secret": "sandbox-secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	account := opened.(*Connection)
	start := time.Now()
	account.rules.Clock = func() time.Duration { return time.Since(start) }
	return &bench{t: t, sellsy: s, book: b, account: account}
}

func (b *bench) estimate(e sandbox.Estimate) int64 {
	b.t.Helper()
	id, err := b.sellsy.AddEstimate(e)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bench) handMade(estimate int64, more map[string]any) int64 {
	b.t.Helper()
	id, err := b.sellsy.AddInvoice(estimate, more)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// attempt runs the step once, for one claim.
func (b *bench) attempt(holder store.Holder, account *Connection, with map[string]any) (step.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return run(ctx, &step.Call{
		With: with, Connection: account, ConnectionName: "compta", StepID: "facture",
		Delivery: core.Delivery{ID: holder.Delivery, Claim: holder.Claim}, Event: b.event,
		Effects: oncetest.NewLedger(b.book, holder),
		Now:     time.Now,
	})
}

// drive attempts a delivery until it ends.
func (b *bench) drive(id core.DeliveryID, with map[string]any) outcome {
	b.t.Helper()
	out := oncetest.Drive(b.t, b.book, id, func(holder store.Holder) (step.Result, error) { return b.attempt(holder, b.account, with) })
	return outcome{result: out.Result, dead: out.Dead, attempts: out.Attempts}
}

var errCrash = oncetest.ErrCrash

const lease = oncetest.Lease

const prefix = oncetest.Prefix

func pass(d time.Duration) { oncetest.Pass(d) }

// outcome is how a delivery ended.
type outcome struct {
	result   step.Result
	dead     *step.Failure
	attempts int // that used up a place in the schedule
}

func (b *bench) invoices(estimate int64) []int64 { return b.sellsy.InvoicesOf(estimate) }
