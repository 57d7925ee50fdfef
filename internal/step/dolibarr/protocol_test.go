package dolibarr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/sandbox/doli"
	"relais/internal/step"
	"relais/internal/step/once"
	"relais/internal/step/once/oncetest"
	"relais/internal/store"
)

// bench is one Dolibarr, one ledger, and the steps on both.
type bench struct {
	t     *testing.T
	erp   *doli.Dolibarr
	book  oncetest.Book
	conn  *Connection
	event *core.Event
}

func newBench(t *testing.T) *bench {
	t.Helper()
	erp := doli.New(doli.Options{})
	opened, err := ConnectionKind(&http.Client{Transport: oncetest.Wire{Handler: erp}}).Open(map[string]any{"url": "http://127.0.0.1:1/", "api_key": "doli-key"})
	if err != nil {
		t.Fatal(err)
	}
	conn := opened.(*Connection)
	start := time.Now()
	conn.rules.Clock = func() time.Duration { return time.Since(start) }
	return &bench{t: t, erp: erp, book: oncetest.NewMemory(), conn: conn, event: &core.Event{ID: core.NewEventID(), ReceivedAt: time.Now()}}
}

func (b *bench) misbehave(text string) {
	b.t.Helper()
	if text == "" {
		return
	}
	if err := b.erp.Misbehave(text); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) drive(run func(context.Context, *step.Call) (step.Result, error), with map[string]any) oncetest.Outcome {
	b.t.Helper()
	return oncetest.Drive(b.t, b.book, b.book.Deliver(b.t), func(holder store.Holder) (step.Result, error) {
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
		defer cancel()
		return run(ctx, &step.Call{
			With: with, Connection: b.conn, Event: b.event, Now: time.Now,
			Delivery: core.Delivery{ID: holder.Delivery, Claim: holder.Claim}, Effects: oncetest.NewLedger(b.book, holder),
		})
	})
}

func (b *bench) invoice(proposal int64) oncetest.Outcome {
	b.t.Helper()
	return b.drive(runCreate, map[string]any{"proposal": fmt.Sprint(proposal), "validate": false})
}

func (b *bench) oneInvoice(proposal int64, out oncetest.Outcome) {
	b.t.Helper()
	made := b.erp.InvoicesOf(proposal)
	if len(made) != 1 || out.Dead != nil || out.Result["id"] != made[0] || out.Result["status"] != statusCreated || out.Result["totals_match"] != true {
		b.t.Errorf("the proposal has the invoices %v, and it ended with %v, dead %v", made, out.Result, out.Dead)
	}
}

var points = []once.Point{
	"", once.PointOpened, once.PointLookedUp, once.PointBefore, once.PointSent, once.PointLastByte, once.PointAnswered, once.PointConfirmed, once.PointDone,
}

var badDays = []string{
	"", "POST /invoices times=1 drop_answer", "POST /invoices times=1 drop_request", "POST /invoices times=1 commit_late=50s",
	"POST /invoices times=1 delay=45s", "POST /invoices times=2 status=500", "POST /invoices times=1 status=503",
	"POST /invoices times=1 status=401", "GET /invoices skip=1 times=1 status=500", "GET /proposals/* skip=1 times=1 status=500",
}

func TestACrashAtAnyPointMakesOneInvoice(t *testing.T) {
	for _, day := range badDays {
		for _, point := range points {
			t.Run(day+"/"+string(point), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t)
					id := b.erp.AddProposal(doli.Proposal{})
					b.misbehave(day)
					crashed := false
					b.conn.rules.Hook = func(p once.Point) error {
						if p == point && !crashed {
							crashed = true
							return oncetest.ErrCrash
						}
						return nil
					}
					b.oneInvoice(id, b.invoice(id))
				})
			})
		}
	}
}

func TestTwoDeliveriesAtOnceMakeOneInvoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.erp.AddProposal(doli.Proposal{})
		b.misbehave("GET /invoices delay=300ms")
		outcomes := make(chan oncetest.Outcome, 3)
		for range 3 {
			go func() { outcomes <- b.invoice(id) }()
		}
		for range 3 {
			b.oneInvoice(id, <-outcomes)
		}
	})
}

func TestWhatIsAlreadyThere(t *testing.T) {
	refExt := doli.Object{"linked_objects": nil, "ref_ext": "relais-propal-4711"}
	for _, test := range []struct {
		name     string
		status   int
		invoices []doli.Object
		want     string // status of the result
		reason   core.Reason
		says     string
		made     int
	}{
		{name: "linked by hand", invoices: []doli.Object{{}}, want: statusExisting, made: 1},
		{name: "with our ref_ext, by a ledger that is lost", invoices: []doli.Object{refExt}, want: statusExisting, made: 1},
		{name: "billed and linked", status: 4, invoices: []doli.Object{{"status": "2", "ref": "FA1"}}, want: statusExisting, made: 1},
		{name: "twice the ref_ext", invoices: []doli.Object{refExt, refExt}, reason: core.ReasonDuplicate, says: "relais effects resolve default/compta/invoice/propal/4711 --done ID", made: 2},
		{name: "one linked and one with our ref_ext", invoices: []doli.Object{{}, refExt}, reason: core.ReasonDuplicate, says: "Keep one of them", made: 2},
		{name: "abandoned", invoices: []doli.Object{{"status": "3"}}, reason: core.ReasonAmbiguous, says: "was abandoned", made: 1},
		{name: "deposit", invoices: []doli.Object{{"type": "3", "ref": "AC-7"}}, reason: core.ReasonAmbiguous, says: "AC-7", made: 1},
		{name: "situation", invoices: []doli.Object{{"type": "5"}}, reason: core.ReasonAmbiguous, says: "situation", made: 1},
		{name: "a credit note is none", invoices: []doli.Object{{"type": "2"}}, want: statusCreated, made: 2},
		{name: "another proposal's", invoices: []doli.Object{{"linked_objects": doli.Object{"propal": 9}}}, want: statusCreated, made: 1},
		{name: "ref_ext in other letters", invoices: []doli.Object{{"linked_objects": nil, "ref_ext": "RELAIS-propal-4711"}}, want: statusCreated, made: 1},
		{name: "refused", status: 3, want: "skipped", says: "refused"},
		{name: "billed", status: 4, want: "skipped", says: "billed"},
		{name: "not signed", status: 1, reason: core.ReasonRolledBack, says: "isn't signed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				id := b.erp.AddProposal(doli.Proposal{ID: 4711, Status: test.status})
				for _, more := range test.invoices {
					b.erp.AddInvoice(id, more)
				}
				out := b.invoice(id)
				message := fmt.Sprint(out.Result["message"])
				if out.Dead != nil {
					message = out.Dead.Message
				}
				if out.Dead != nil && out.Dead.Reason != test.reason || out.Dead == nil && out.Result["status"] != test.want || !strings.Contains(message, test.says) {
					t.Errorf("ended with %v, dead %v", out.Result, out.Dead)
				}
				if made := b.erp.InvoicesOf(id); len(made) != test.made {
					t.Errorf("invoices: %v, want %d", made, test.made)
				}
			})
		})
	}
}

func TestAnInvoiceOfTheProposalsOrderIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.erp.AddProposal(doli.Proposal{})
		order := b.erp.Add("orders", doli.Object{"ref": "CO1", "linked_objects": doli.Object{"propal": id}})
		inv := b.erp.AddInvoice(0, doli.Object{"linked_objects": doli.Object{"commande": order}})
		if out := b.invoice(id); out.Result["status"] != statusExisting || out.Result["id"] != inv {
			t.Errorf("ended with %v, dead %v", out.Result, out.Dead)
		}
	})
}

func TestASecondInvoiceIsAlarmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.erp.AddProposal(doli.Proposal{})
		b.conn.rules.Hook = func(p once.Point) error {
			if p == once.PointAnswered {
				b.erp.AddInvoice(id, nil)
			}
			return nil
		}
		if out := b.invoice(id); out.Dead == nil || out.Dead.Reason != core.ReasonDuplicate {
			t.Fatalf("ended with %v, dead %v", out.Result, out.Dead)
		}
		if out := b.invoice(id); out.Dead == nil || out.Dead.Reason != core.ReasonAmbiguous {
			t.Errorf("a replay ended with %v, dead %v", out.Result, out.Dead)
		}
		kept := b.erp.InvoicesOf(id)[0]
		if _, err := b.book.ResolveEffect(t.Context(), store.ResolveEffect{
			Key: fmt.Sprintf("%sinvoice/propal/%d", oncetest.Prefix, id), Done: fmt.Appendf(nil, `{"id":"%d"}`, kept), By: "marie",
		}); err != nil {
			t.Fatal(err)
		}
		if out := b.invoice(id); out.Result["status"] != statusExisting || out.Result["id"] != kept {
			t.Errorf("after the word of a person: %v, dead %v", out.Result, out.Dead)
		}
	})
}

// TestTheInvoiceCarriesWhatTheProposalSays compares every line of the proposal with the invoice's.
func TestTheInvoiceCarriesWhatTheProposalSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		discounted := doli.Line("Licence", "3", "19.99000000", "5.5000")
		discounted["remise_percent"], discounted["fk_product"], discounted["product_type"] = "10", "12", "0"
		service := doli.Line("Maintenance", "12", "80", "20")
		service["date_start"], service["date_end"], service["fk_unit"], service["rang"] = 1795305322, 1826841322, "4", "2"
		title := doli.Line("Lot 1", "1", "0", "0")
		title["product_type"], title["special_code"] = "9", "104777"
		id := b.erp.AddProposal(doli.Proposal{Lines: []doli.Object{discounted, service, title}, More: doli.Object{
			"fk_project": "5", "mode_reglement_id": "2", "fk_account": 0, "multicurrency_code": "USD", "multicurrency_tx": "1.10000000",
		}})
		out := b.invoice(id)
		b.oneInvoice(id, out)
		raw, err := json.Marshal(b.erp.Object("invoices", b.erp.InvoicesOf(id)[0]))
		if err != nil {
			t.Fatal(err)
		}
		var inv object
		if err := json.Unmarshal(raw, &inv); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"socid": "7", "ref_ext": fmt.Sprintf("relais-propal-%d", id), "ref_client": "CMD-7", "note_public": "Merci",
			"multicurrency_code": "USD", "multicurrency_tx": "1.10000000", "fk_account": "",
		} {
			if got := inv.text(name); got != want && fmt.Sprint(inv[name]) != want {
				t.Errorf("%s is %v, want %q", name, inv[name], want)
			}
		}
		lines := inv.lines()
		for i, want := range []map[string]string{
			{"desc": "Licence", "qty": "3", "subprice": "19.99000000", "tva_tx": "5.5000", "remise_percent": "10", "fk_product": "12", "product_type": "0"},
			{"desc": "Maintenance", "rang": "2", "fk_unit": "4", "date_start": "1.795305322e+09"},
			{"product_type": "9", "special_code": "104777"},
		} {
			for name, text := range want {
				if fmt.Sprint(lines[i][name]) != text {
					t.Errorf("line %d: %s is %v, want %s", i, name, lines[i][name], text)
				}
			}
		}
	})
}

func TestValidationIsAnEffectOfItsOwn(t *testing.T) {
	for _, fault := range []string{"", "POST /invoices/*/validate times=1 drop_answer", "POST /invoices/*/validate times=1 drop_request"} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				id := b.erp.AddProposal(doli.Proposal{})
				b.misbehave(fault)
				for range 2 { // the second is a repeat of the event
					out := b.drive(runCreate, map[string]any{"proposal": id, "validate": true})
					if out.Dead != nil || out.Result["validated"] != true || out.Result["invoice_status"] != "unpaid" || !strings.HasPrefix(fmt.Sprint(out.Result["ref"]), "FA") {
						t.Errorf("ended with %v, dead %v", out.Result, out.Dead)
					}
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.erp.AddProposal(doli.Proposal{More: doli.Object{"total_ttc": "999.00"}})
		out := b.drive(runCreate, map[string]any{"proposal": id, "validate": true})
		if out.Result["validated"] != false || out.Result["totals_match"] != false || !strings.Contains(fmt.Sprint(out.Result["message"]), "999.00") {
			t.Errorf("totals that differ: %v, dead %v", out.Result, out.Dead)
		}
	})
}

// TestWhatWasToldBeforeItsCommit: what isn't there yet is waited for, and is dead when it never comes.
func TestWhatWasToldBeforeItsCommit(t *testing.T) {
	for _, test := range []struct {
		name   string
		after  time.Duration // when it is committed; 0 is never
		reason core.Reason
	}{
		{"two seconds later", 2 * time.Second, ""}, {"nine minutes later", 9 * time.Minute, ""}, {"never", 0, core.ReasonRolledBack},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				if test.after > 0 {
					time.AfterFunc(test.after, func() { b.erp.AddProposal(doli.Proposal{ID: 12}) })
				}
				start := time.Now()
				read, made := b.drive(get, map[string]any{"object": "proposals", "id": "12"}), b.invoice(12)
				for _, out := range []oncetest.Outcome{read, made} {
					reason := core.ReasonNone
					if out.Dead != nil {
						reason = out.Dead.Reason
					}
					if reason != test.reason || out.Attempts != 0 {
						t.Errorf("ended with %v, dead %v, after %d attempts", out.Result, out.Dead, out.Attempts)
					}
				}
				if took := time.Since(start); took > patience+3*time.Minute {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestFailuresAreTold(t *testing.T) {
	for _, test := range []struct {
		fault       string
		disposition step.Disposition
		reason      core.Reason
		says        string
	}{
		{"GET /proposals/* status=401", step.Retry, core.ReasonAuth, "api_key is refused"},
		{"GET /proposals/* status=403", step.Final, core.ReasonAuth, "lacks the right"},
		{"GET /proposals/* status=404", step.Final, core.ReasonStatus, "API/REST"}, // the bare one: no such call
		{"GET /proposals/* status=501", step.Final, core.ReasonStatus, "API/REST"},
		{"GET /proposals/* status=429", step.Retry, core.ReasonRateLimited, "429"},
		{"GET /proposals/* status=500", step.Retry, core.ReasonStatus, "500"},
		{"GET /proposals/* drop_request", step.Retry, core.ReasonReset, "read proposals 12"},
	} {
		t.Run(test.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.erp.AddProposal(doli.Proposal{ID: 12})
				b.misbehave(test.fault)
				_, err := get(t.Context(), &step.Call{With: map[string]any{"object": "proposals", "id": "12"}, Connection: b.conn, Event: b.event, Now: time.Now})
				var f *step.Failure
				if !errors.As(err, &f) || f.Disposition != test.disposition || f.Reason != test.reason || !strings.Contains(f.Message, test.says) || strings.Contains(f.Message, "doli-key") {
					t.Errorf("%v (%+v)", err, f)
				}
			})
		})
	}
}

func TestOnlyNumbersAreIDs(t *testing.T) {
	for _, id := range []any{"", "0", "-1", "+1", "01", "1/../2", "1?a=b", "1e3", " 1", "99999999999999999999", 1.5} {
		if n, err := parseID(id); err == nil {
			t.Errorf("%v is %d", id, n)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://erp.example.fr": true, "https://erp.example.fr/dolibarr/": true, "http://127.0.0.1:8080": true, "http://dolibarr": true, "http://192.168.1.9": true,
		"http://erp.example.fr": false, "https://u:p@erp.example.fr": false, "https://erp.example.fr?x=1": false, "erp.example.fr": false, "ftp://erp": false,
	} {
		if err := checkURL(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}
