package sellsy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/sandbox"
	"relais/internal/step"
	"relais/internal/step/once/oncetest"
	"relais/internal/store"
)

var points = []Point{
	PointOpened, PointLookedUp, PointBefore, PointSent, PointLastByte, PointAnswered, PointConfirmed, PointDone,
}

// badDays are what Sellsy does besides, while relais crashes or stalls. Those that are onDisk run on the real
// ledger too.
var badDays = []struct {
	name, fault string
	onDisk      bool
}{
	{"good day", "", true},
	{"answer lost", "POST /v2/invoices times=1 drop_answer", true},
	{"request lost", "POST /v2/invoices times=1 drop_request", false},
	{"committed late", "POST /v2/invoices times=1 commit_late=50s", true},
	{"search lags", "POST /v2/invoices search_lag=20s", false},
	{"answer lost and search lags", "POST /v2/invoices times=1 drop_answer search_lag=100s", false},
	{"answer too late", "POST /v2/invoices times=1 delay=45s", false},
	{"500 after nothing", "POST /v2/invoices times=2 status=500", false},
	{"503 on create", "POST /v2/invoices times=1 status=503", false},
	{"429 on create", "POST /v2/invoices times=2 status=429 retry_after=7s", false},
	{"401 on create", "POST /v2/invoices times=1 status=401", false},
	{"the second look-up fails", "POST /v2/invoices/search skip=1 times=1 status=500", false},
}

func (b *bench) misbehave(fault string) {
	b.t.Helper()
	if fault == "" {
		return
	}
	f, err := sandbox.ParseFault(fault)
	if err != nil {
		b.t.Fatal(err)
	}
	b.sellsy.Misbehave(f)
}

func with(estimate int64) map[string]any {
	return map[string]any{"estimate": fmt.Sprint(estimate), "validate": false}
}

// oneInvoice asserts what every case has to end with.
func (b *bench) oneInvoice(estimate int64, out outcome) {
	b.t.Helper()
	made := b.invoices(estimate)
	if len(made) != 1 {
		b.t.Fatalf("the estimate has the invoices %v, outcome %+v", made, out)
	}
	if out.dead != nil || out.result["id"] != made[0] || out.result["status"] != statusCreated {
		b.t.Errorf("ended with %+v, dead %v; the invoice is %d", out.result, out.dead, made[0])
	}
	if out.result["totals_match"] != true || out.result["difference"] != "0.00" {
		b.t.Errorf("the totals differ: %v", out.result)
	}
}

func forBooks(t *testing.T, test func(t *testing.T, b oncetest.Book)) {
	inMemory(t, test)
	t.Run("sqlite", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newSQLiteBook(t)) })
	})
}

func inMemory(t *testing.T, test func(t *testing.T, b oncetest.Book)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, oncetest.NewMemory()) })
	})
}

func TestACrashAtAnyPointMakesOneInvoice(t *testing.T) {
	for _, day := range badDays {
		for _, point := range append([]Point{""}, points...) {
			t.Run(day.name+"/"+string(point), func(t *testing.T) {
				books := inMemory
				if day.onDisk {
					books = forBooks
				}
				books(t, func(t *testing.T, k oncetest.Book) {
					b := newBench(t, k, sandbox.Options{})
					id := b.estimate(sandbox.Estimate{})
					b.misbehave(day.fault)
					crashed := false
					b.account.rules.Hook = func(p Point) error {
						if p == point && !crashed {
							crashed = true
							return errCrash
						}
						return nil
					}
					out := b.drive(b.book.Deliver(t), with(id))
					b.oneInvoice(id, out)
				})
			})
		}
	}
}

func TestCrashingAtEveryPointInTurnMakesOneInvoice(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		left := map[Point]int{}
		for _, p := range points {
			left[p] = 2
		}
		b.account.rules.Hook = func(p Point) error {
			if left[p] > 0 {
				left[p]--
				return errCrash
			}
			return nil
		}
		b.oneInvoice(id, b.drive(b.book.Deliver(t), with(id)))
	})
}

// TestALookUpIsNotTrustedForLong: what was looked up before a stop may have been made since.
func TestALookUpIsNotTrustedForLong(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		stopped := false
		b.account.rules.Hook = func(p Point) error {
			if p == PointBefore && !stopped {
				stopped = true
				b.handMade(id, nil)
				pass(2 * time.Minute) // the stop
			}
			return nil
		}
		out := b.drive(b.book.Deliver(t), with(id))
		if out.result["status"] != statusExisting || len(b.invoices(id)) != 1 {
			t.Errorf("ended with %v %v, invoices %v", out.result, out.dead, b.invoices(id))
		}
	})
}

// TestAStallPastTheLeaseMakesOneInvoice stops the first attempt at a point for twenty minutes, as SIGSTOP
// would, while another node takes the delivery over; then the first goes on.
func TestAStallPastTheLeaseMakesOneInvoice(t *testing.T) {
	for _, day := range badDays {
		for _, point := range points {
			for _, takenOver := range []bool{true, false} {
				books := inMemory
				if day.onDisk {
					books = forBooks
				}
				name := fmt.Sprintf("%s/%s/taken over %v", day.name, point, takenOver)
				t.Run(name, func(t *testing.T) {
					books(t, func(t *testing.T, k oncetest.Book) { stall(t, k, day.fault, point, takenOver) })
				})
			}
		}
	}
}

func stall(t *testing.T, k oncetest.Book, fault string, point Point, takenOver bool) {
	b := newBench(t, k, sandbox.Options{})
	id := b.estimate(sandbox.Estimate{})
	b.misbehave(fault)
	stalled, goOn := make(chan struct{}), make(chan struct{})
	stopped := *b.account // the other node has its own memory
	hit := false
	stopped.rules.Hook = func(p Point) error {
		if p == point && !hit {
			hit = true
			close(stalled)
			<-goOn
		}
		return nil
	}
	delivery := b.book.Deliver(t)
	holder := b.book.Hold(t, delivery)
	ended := make(chan error, 1)
	var result step.Result
	go func() {
		var err error
		result, err = b.attempt(holder, &stopped, with(id))
		ended <- err
	}()
	var err error
	reached := true
	select {
	case <-stalled:
	case err = <-ended: // a bad day kept it from the point
		reached = false
	}
	if takenOver {
		pass(lease) // until the claim lapses
		b.oneInvoice(id, b.drive(delivery, with(id)))
	}
	pass(20 * time.Minute) // the stop
	close(goOn)
	if reached {
		err = <-ended
	}
	if takenOver {
		if made := b.invoices(id); len(made) != 1 {
			t.Fatalf("the stopped process made a second invoice: %v (%v)", made, err)
		}
		if reached && point != PointDone && err == nil && result["id"] != b.invoices(id)[0] {
			t.Errorf("the stopped process believes in %v", result)
		}
		return
	}
	var f *step.Failure
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("the stopped process failed with %v", err)
	}
	b.book.Release(t, holder)
	b.oneInvoice(id, b.drive(delivery, with(id)))
}

func TestTwoDeliveriesAtOnceMakeOneInvoice(t *testing.T) {
	for _, day := range badDays {
		t.Run(day.name, func(t *testing.T) {
			forBooks(t, func(t *testing.T, k oncetest.Book) {
				b := newBench(t, k, sandbox.Options{})
				id := b.estimate(sandbox.Estimate{})
				b.misbehave(day.fault)
				b.misbehave("POST /v2/invoices/search delay=300ms")
				outcomes := make(chan outcome, 3)
				for range 3 {
					delivery := b.book.Deliver(t)
					go func() { outcomes <- b.drive(delivery, with(id)) }()
				}
				for range 3 {
					b.oneInvoice(id, <-outcomes)
				}
			})
		})
	}
}

func TestWhatIsAlreadyThere(t *testing.T) {
	for _, test := range []struct {
		name     string
		estimate sandbox.Estimate
		invoices []map[string]any // hand-made
		status   string           // of the result, or
		reason   core.Reason      // of the death
		says     string
		made     int
	}{
		{name: "hand-made invoice", invoices: []map[string]any{{}}, status: "existing", made: 1},
		{name: "hand-made and validated", estimate: sandbox.Estimate{Status: "invoiced"}, invoices: []map[string]any{{"status": "due", "number": "F-1"}}, status: "existing", made: 1},
		{name: "two hand-made invoices", invoices: []map[string]any{{}, {}}, reason: core.ReasonDuplicate, says: "relais effects resolve default/compta/invoice/estimate/", made: 2},
		{name: "one cancelled and one not", invoices: []map[string]any{{"status": "cancelled"}, {}}, status: "existing", made: 2},
		{name: "cancelled invoice", invoices: []map[string]any{{"status": "cancelled"}}, reason: core.ReasonAmbiguous, says: "was cancelled", made: 1},
		{name: "deposit invoice", invoices: []map[string]any{{"is_deposit": true, "number": "AC-7"}}, reason: core.ReasonAmbiguous, says: "AC-7", made: 1},
		{name: "progress invoice", invoices: []map[string]any{{"is_progress_invoice": true}}, reason: core.ReasonAmbiguous, says: "progress", made: 1},
		{name: "invoice of another estimate", invoices: []map[string]any{{"parent": map[string]any{"type": "estimate", "id": 4}}}, status: "created", made: 1},
		{name: "invoice of an order of that number", invoices: []map[string]any{{"parent": map[string]any{"type": "order", "id": 52437688}}}, status: "created", made: 1},
		{name: "refused estimate", estimate: sandbox.Estimate{Status: "refused"}, status: "skipped", says: "is refused"},
		{name: "draft estimate", estimate: sandbox.Estimate{Status: "draft"}, status: "skipped", says: "is draft"},
		{name: "invoiced estimate", estimate: sandbox.Estimate{Status: "invoiced"}, status: "skipped", says: "has its invoice already"},
		{name: "advanced estimate", estimate: sandbox.Estimate{Status: "advanced"}, status: "skipped", says: "a deposit was invoiced"},
		{name: "partly invoiced estimate", estimate: sandbox.Estimate{Status: "partialinvoiced"}, status: "skipped", says: "make the rest by hand"},
		{name: "nobody's estimate", estimate: sandbox.Estimate{Opportunity: 3}, reason: core.ReasonInvalidData, says: "choose its client"},
		{name: "company and individual", estimate: sandbox.Estimate{Company: 3, Individual: 4}, reason: core.ReasonInvalidData, says: "2 companies or individuals"},
		{name: "an individual's estimate", estimate: sandbox.Estimate{Individual: 4, Contact: 5}, status: "created", made: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBooks(t, func(t *testing.T, k oncetest.Book) {
				b := newBench(t, k, sandbox.Options{})
				test.estimate.ID = 52437688
				id := b.estimate(test.estimate)
				for _, more := range test.invoices {
					b.handMade(id, more)
				}
				out := b.drive(b.book.Deliver(t), with(id))
				message, _ := out.result["message"].(string)
				if out.dead != nil {
					message = out.dead.Message
				}
				if out.dead != nil && out.dead.Reason != test.reason || out.dead == nil && out.result["status"] != test.status {
					t.Errorf("ended with %v, dead %v", out.result, out.dead)
				}
				if !strings.Contains(message, test.says) {
					t.Errorf("the message %q doesn't say %q", message, test.says)
				}
				if made := b.invoices(id); len(made) != test.made {
					t.Errorf("invoices: %v, want %d", made, test.made)
				}
			})
		})
	}
}

func TestAHandMadeInvoiceIsFoundBehindManyPages(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		other, id := b.estimate(sandbox.Estimate{}), b.estimate(sandbox.Estimate{})
		for range 250 {
			b.handMade(other, nil)
		}
		b.handMade(id, nil)
		if out := b.drive(b.book.Deliver(t), with(id)); out.result["status"] != statusExisting {
			t.Errorf("ended with %v %v", out.result, out.dead)
		}
	})
}

func TestASecondInvoiceIsAlarmed(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		b.account.rules.Hook = func(p Point) error {
			if p == PointAnswered {
				b.handMade(id, nil)
			}
			return nil
		}
		delivery := b.book.Deliver(t)
		out := b.drive(delivery, with(id))
		if out.dead == nil || out.dead.Reason != core.ReasonDuplicate || !strings.Contains(out.dead.Message, "Keep one of them") {
			t.Fatalf("ended with %v %v", out.result, out.dead)
		}
		// A replay doesn't go on silently.
		if out := b.drive(delivery, with(id)); out.dead == nil || out.dead.Reason != core.ReasonAmbiguous {
			t.Errorf("the replay ended with %v %v", out.result, out.dead)
		}
		// Until a person has said which one stays.
		kept := b.invoices(id)[0]
		if _, err := k.ResolveEffect(t.Context(), store.ResolveEffect{
			Key: fmt.Sprintf("%sinvoice/estimate/%d", prefix, id), Done: fmt.Appendf(nil, `{"id":"%d"}`, kept), By: "marie",
		}); err != nil {
			t.Fatal(err)
		}
		if out := b.drive(delivery, with(id)); out.result["status"] != statusExisting || out.result["id"] != kept || out.result["totals_match"] != true {
			t.Errorf("after the word of a person: %v %v", out.result, out.dead)
		}
	})
}

func TestAnEstimateThatIsGoneAfterSendingIsUndecided(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		b.misbehave("POST /v2/invoices times=1 drop_answer")
		b.misbehave(fmt.Sprintf("GET /v2/estimates/%d skip=1 status=404", id))
		out := b.drive(b.book.Deliver(t), with(id))
		if out.dead == nil || out.dead.Reason != core.ReasonAmbiguous {
			t.Fatalf("ended with %v %v", out.result, out.dead)
		}
		for _, says := range []string{"relais effects show", "--done ID", "--absent", fmt.Sprintf("invoice/estimate/%d", id)} {
			if !strings.Contains(out.dead.Message, says) {
				t.Errorf("%q doesn't say %q", out.dead.Message, says)
			}
		}
	})
}

func TestNobodyLooksBeforeTheInvoiceHadTimeToAppear(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		b.misbehave("POST /v2/invoices times=1 drop_answer")
		delivery := b.book.Deliver(t)
		first := b.book.Hold(t, delivery)
		if _, err := b.attempt(first, b.account, with(id)); err == nil {
			t.Fatal("a lost answer was taken for success")
		}
		sent := time.Now()
		searches := b.sellsy.Requests("POST", "/v2/invoices/search")
		pass(b.account.rules.Settle / 2) // a replay, too early
		_, err := b.attempt(b.book.Hold(t, delivery), b.account, with(id))
		var f *step.Failure
		if !errors.As(err, &f) || f.Disposition != step.Wait || f.Reason != core.ReasonSettling {
			t.Fatalf("too early: %v", err)
		}
		if left := b.account.rules.Settle - time.Since(sent); f.After > left+time.Second || f.After < left-time.Second {
			t.Errorf("it waits %v, and %v are left", f.After, left)
		}
		if b.sellsy.Requests("POST", "/v2/invoices/search") != searches {
			t.Error("it looked before the time")
		}
	})
}

func TestNotFoundCountsTwice(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		// It appears after the first look-up that finds nothing, and before the second.
		b.misbehave("POST /v2/invoices times=1 drop_answer search_lag=140s")
		out := b.drive(b.book.Deliver(t), with(id))
		b.oneInvoice(id, out)
		if posts := b.sellsy.Requests("POST", "/v2/invoices"); posts != 1 {
			t.Errorf("it was sent %d times", posts)
		}
	})
}

// TestASettleThatIsRaisedMeanwhileEnds: a reload may lengthen settle between two look-ups.
func TestASettleThatIsRaisedMeanwhileEnds(t *testing.T) {
	forBooks(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		b.misbehave("POST /v2/invoices times=1 drop_request")
		delivery := b.book.Deliver(t)
		attempt := func() error {
			holder := b.book.Hold(t, delivery)
			_, err := b.attempt(holder, b.account, with(id))
			b.book.Release(t, holder)
			return err
		}
		if attempt() == nil {
			t.Fatal("a lost request was taken for success")
		}
		pass(b.account.rules.Settle)
		if attempt() == nil { // notes that nothing was found
			t.Fatal("one look-up decided")
		}
		b.account.rules.Settle = 10 * time.Minute
		b.oneInvoice(id, b.drive(delivery, with(id)))
	})
}

// TestWhatMayBeMadeIsNeverTooOldToBeLookedFor: whatever keeps relais from looking, the delivery says that
// something was sent, by which the lanes don't end it for its age.
func TestWhatMayBeMadeIsNeverTooOldToBeLookedFor(t *testing.T) {
	for _, fault := range []string{
		"POST /v2/invoices times=1 delay=45s",
		"POST /v2/invoices times=1 status=503",
		"GET /v2/estimates/* skip=1 times=1 status=503",
		"POST /v2/invoices/search skip=1 times=2 delay=45s",
	} {
		t.Run(fault, func(t *testing.T) {
			inMemory(t, func(t *testing.T, k oncetest.Book) {
				b := newBench(t, k, sandbox.Options{})
				id := b.estimate(sandbox.Estimate{})
				b.misbehave("POST /v2/invoices times=1 drop_answer")
				b.misbehave(fault)
				delivery := b.book.Deliver(t)
				for range 3 {
					holder := b.book.Hold(t, delivery)
					_, err := b.attempt(holder, b.account, with(id))
					b.book.Release(t, holder)
					effect, _ := b.book.OpenEffect(t.Context(), store.OpenEffect{Key: fmt.Sprintf("%sinvoice/estimate/%d", prefix, id), Holder: b.book.Hold(t, delivery)})
					if effect.State != store.EffectSent {
						return
					}
					var f *step.Failure
					if !errors.As(err, &f) || f.Reason != core.ReasonUnknown && f.Reason != core.ReasonSettling {
						t.Fatalf("an effect is sent, and the delivery says %v (%+v)", err, f)
					}
					if !strings.Contains(f.Message, "was sent") && !strings.Contains(f.Message, "may have been made") {
						t.Errorf("%q doesn't say that something was sent", f.Message)
					}
					pass(max(f.After, 5*time.Second))
				}
			})
		})
	}
}

// TestOneEventIsToldThatItMadeTheInvoice: Sellsy tells each change of a quote's status, the one that our
// invoice brings about too. Steps that ask for status "created" run for one event, its retries and replays.
func TestOneEventIsToldThatItMadeTheInvoice(t *testing.T) {
	for _, fault := range []string{"", "POST /v2/invoices times=1 drop_answer"} {
		t.Run(fault, func(t *testing.T) {
			forBooks(t, func(t *testing.T, k oncetest.Book) {
				b := newBench(t, k, sandbox.Options{})
				id := b.estimate(sandbox.Estimate{})
				b.misbehave(fault)
				first, second := core.NewEventID(), core.NewEventID()
				for i, c := range []struct {
					event  core.EventID
					status string
				}{{first, statusCreated}, {second, statusExisting}, {first, statusCreated}, {second, statusExisting}} {
					b.event = &core.Event{ID: c.event}
					if out := b.drive(b.book.Deliver(t), with(id)); out.result["status"] != c.status || out.result["id"] != b.invoices(id)[0] {
						t.Errorf("delivery %d: %v %v, want %s", i+1, out.result, out.dead, c.status)
					}
				}
			})
		})
	}
}
