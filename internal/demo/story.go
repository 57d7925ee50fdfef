package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relais/internal/sandbox"
)

// story is the demonstration as it goes.
type story struct {
	say    narrator
	dir    string
	data   string
	sellsy *sandbox.Remote
	relais *control
	slow   time.Duration // the longest answer
	seen   int           // deliveries that were told of
	// example is an accepted quote for the person to send a webhook about.
	example int64
}

// tell plays each scene, and counts at the end.
func (s *story) tell(ctx context.Context) error {
	withObject, err := s.newEstimate(ctx, sandbox.Estimate{Subject: "Rénovation de la cuisine", Rows: sandbox.SampleRows()})
	if err != nil {
		return err
	}
	withoutObject, err := s.newEstimate(ctx, sandbox.Estimate{Subject: "Contrat d'entretien"})
	if err != nil {
		return err
	}
	refused, err := s.newEstimate(ctx, sandbox.Estimate{Subject: "Véranda", Status: "refused"})
	if err != nil {
		return err
	}
	s.example = withObject
	at := time.Now().Unix()
	hook := sandbox.Notification{URL: s.relais.hook, Key: signingKey, Estimate: withObject, WithObject: true, At: at}

	for _, scene := range []func(context.Context) error{
		func(ctx context.Context) error { return s.invoice(ctx, sAccepted, hook) },
		func(ctx context.Context) error {
			other := hook
			other.Estimate, other.WithObject = withoutObject, false
			return s.invoice(ctx, sAcceptedBare, other)
		},
		func(ctx context.Context) error { return s.repeat(ctx, hook) },
		func(ctx context.Context) error {
			again := hook
			again.At = at + 1
			return s.existing(ctx, again)
		},
		func(ctx context.Context) error {
			no := hook
			no.Estimate = refused
			return s.skipped(ctx, no)
		},
		func(ctx context.Context) error {
			forged := hook
			forged.Signature = "0000000000000000000000000000000000000000"
			return s.forged(ctx, forged)
		},
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return s.count(ctx, map[int64]int{withObject: 1, withoutObject: 1, refused: 0})
}

// send has the sandbox send a webhook and tells how it was answered.
func (s *story) send(ctx context.Context, title text, n sandbox.Notification, want int) error {
	s.say.scene(title, n.Estimate)
	answer, err := s.sellsy.Notify(ctx, n)
	if err != nil {
		return err
	}
	s.slow = max(s.slow, answer.Duration)
	said := sAnswered
	if want/100 != 2 {
		said = sRefusedBy
	}
	s.say.line(said, answer.Status, s.say.milliseconds(answer.Duration))
	if answer.Status != want {
		return failed("the answer should have been %d, and was %d", want, answer.Status)
	}
	return nil
}

func (s *story) invoice(ctx context.Context, title text, n sandbox.Notification) error {
	if err := s.send(ctx, title, n, 200); err != nil {
		return err
	}
	d, err := s.next(ctx)
	if err != nil {
		return err
	}
	invoice, err := s.invoiceOf(ctx, n.Estimate)
	if err != nil {
		return err
	}
	if d.State != "succeeded" || d.Skipped || d.status() != "created" {
		return failed("the delivery should have made an invoice: %s %s (%s)", d.State, d.Reason, d.Message)
	}
	s.say.line(sInvoice, invoice.name(), s.say.number(invoice.total()), invoice.Currency, len(invoice.Rows), s.say.milliseconds(d.took()))
	return nil
}

func (s *story) repeat(ctx context.Context, n sandbox.Notification) error {
	if err := s.send(ctx, sRepeat, n, 200); err != nil {
		return err
	}
	events, err := s.relais.events(ctx)
	if err != nil {
		return err
	}
	if len(events) == 0 || events[0].RepeatOf == "" {
		return failed("the same bytes should have been recognised as a repeat")
	}
	s.say.line(sRecognised, events[0].RepeatOf)
	return nil
}

func (s *story) existing(ctx context.Context, n sandbox.Notification) error {
	if err := s.send(ctx, sAgain, n, 200); err != nil {
		return err
	}
	d, err := s.next(ctx)
	if err != nil {
		return err
	}
	invoice, err := s.invoiceOf(ctx, n.Estimate) // an error when there are two
	if err != nil {
		return err
	}
	if d.State != "succeeded" {
		return failed("the delivery should have found its invoice: %s %s (%s)", d.State, d.Reason, d.Message)
	}
	s.say.line(sSameInvoice, invoice.name())
	return nil
}

func (s *story) skipped(ctx context.Context, n sandbox.Notification) error {
	if err := s.send(ctx, sRefused, n, 200); err != nil {
		return err
	}
	d, err := s.next(ctx)
	if err != nil {
		return err
	}
	if d.State != "succeeded" || !d.Skipped {
		return failed("the delivery should have ended as skipped: %s %s (%s)", d.State, d.Reason, d.Message)
	}
	s.say.line(sSkipped, d.Message)
	return nil
}

func (s *story) forged(ctx context.Context, n sandbox.Notification) error {
	before, err := s.relais.events(ctx)
	if err != nil {
		return err
	}
	if err := s.send(ctx, sForged, n, 401); err != nil {
		return err
	}
	after, err := s.relais.events(ctx)
	if err != nil {
		return err
	}
	if len(after) != len(before) {
		return failed("a webhook with a bad signature was stored as an event")
	}
	s.say.line(sNotStored)
	return nil
}

// next waits for the delivery that comes after those seen, to end.
func (s *story) next(ctx context.Context) (*delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		list, err := s.relais.deliveries(ctx)
		if err != nil {
			return nil, err
		}
		if len(list) > s.seen && list[0].ended() {
			s.seen = len(list)
			return s.relais.delivery(ctx, list[0].ID)
		}
		select {
		case <-ctx.Done():
			return nil, failed("no delivery ended within %s", patience)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *story) count(ctx context.Context, want map[int64]int) error {
	s.say.scene(sCount, 0)
	inspection, err := s.sellsy.Inspect(ctx)
	if err != nil {
		return err
	}
	for estimate, n := range want {
		if got := len(inspection.Estimates[estimate]); got != n {
			return failed("quote %d has %d invoices, and should have %d", estimate, got, n)
		}
	}
	s.say.line(sOneEach, inspection.Invoices, s.say.milliseconds(s.slow))
	return nil
}

// invite tells what to try while relais stays up.
func (s *story) invite() {
	body := `{"eventType":"docslog","event":"step","timestamp":"1778187955","relatedtype":"estimate","relatedid":"` + fmt.Sprint(s.example) + `"}`
	s.say.line(sTry)
	s.say.print(`
  curl -i %[1]s -H 'Content-Type: application/json' \
    -H 'X-Webhook-Signature: %[2]s' \
    -d '%[3]s'
  curl http://%[4]s/metrics
  relais events --data %[5]s
  relais deliveries --data %[5]s
  relais effects --data %[5]s

`, s.relais.hook, sandbox.Sign(signingKey, []byte(body)), body, s.relais.admin, s.data)
	s.say.line(sStop)
}

func (n narrator) milliseconds(d time.Duration) string {
	return n.number(fmt.Sprintf("%.1f", float64(d.Microseconds())/1000)) + " ms"
}

// number writes one as the narrator's language does.
func (n narrator) number(v any) string {
	return strings.Replace(fmt.Sprint(v), ".", n.in(text{".", ","}), 1)
}
