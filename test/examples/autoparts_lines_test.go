//go:build linux

package examples

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// line is one line of the platform's document: what comes in, and what can be seen afterwards.
type line struct {
	what   string
	order  string // made before, PENDING, of 77.90 €
	given  string // SQL run before
	send   request
	status int    // 200 where it is 0
	audit  string // its row in ic_postback: source, type, whether the signature was valid, status, why it was refused
	member string // what the row's payload contains; "" where nothing of the request was read
	see    []fact
}

// fact tells what isn't as it should be; "" where it is.
type fact func(t *testing.T, a *autoparts) string

func differs(what, got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s is %q, and not %q", what, got, want)
}

// row is what the shop's database answers.
func row(want, sql string, args ...any) fact {
	return func(t *testing.T, a *autoparts) string { return differs(sql, ask(t, a.boutique, sql, args...), want) }
}

// cached is what Redis answers.
func cached(want string, command ...string) fact {
	return func(_ *testing.T, a *autoparts) string {
		return differs(strings.Join(command, " "), a.redis.Do(command...), want)
	}
}

// mailed is a mail to an address, with a text in its subject and one in its body; once.
func mailed(to, subject, text string) fact {
	return func(t *testing.T, a *autoparts) string {
		found := 0
		for _, l := range a.mails(t, to) {
			if strings.Contains(l.subject, subject) && strings.Contains(l.body, text) {
				found++
			}
		}
		return differs(fmt.Sprintf("the number of mails to %s of %q with %q", to, subject, text), fmt.Sprint(found), "1")
	}
}

// silent is that nobody wrote to an address.
func silent(to string) fact {
	return func(t *testing.T, a *autoparts) string {
		return differs("the number of mails to "+to, fmt.Sprint(len(a.mails(t, to))), "0")
	}
}

// indexed is a member of a product as it can be searched for.
func indexed(id, member, want string) fact {
	return func(_ *testing.T, a *autoparts) string {
		return differs(id+" in the index", fmt.Sprint(a.search.Document("produits", id)[member]), want)
	}
}

// started is that a workflow was started, once, with a text in its message.
func started(id, text string) fact {
	return func(_ *testing.T, a *autoparts) string {
		got := strings.Join(a.flows.of(id), "\n")
		return differs("the number of starts of "+id+" with "+text, fmt.Sprint(strings.Count(got, text)), "1")
	}
}

// trial is that one of a source's events is marked as a trial, and goes nowhere.
func trial(source string) fact {
	return func(_ *testing.T, a *autoparts) string {
		trials := 0
		for _, e := range a.events(source) {
			if !e.Test {
				continue
			}
			trials++
			if slices.ContainsFunc(a.deliveries(), func(d delivery) bool { return d.Event == e.ID }) {
				return fmt.Sprintf("%+v has a delivery", e)
			}
		}
		return differs("the number of trials of "+source, fmt.Sprint(trials), "1")
	}
}

// queued is the priority of what was sent to a workflow.
func queued(id, want string) fact {
	return func(_ *testing.T, a *autoparts) string {
		for _, e := range a.events("n8n") {
			if e.Type != triggers[id] {
				continue
			}
			for _, d := range a.deliveries() {
				if d.Event == e.ID {
					return differs("the priority of "+id, d.Priority, want)
				}
			}
		}
		return "nothing was queued for " + id
	}
}

// unpaid is an order that nobody paid, and a customer who was told nothing.
func unpaid(reference string) []fact {
	return []fact{row("PENDING", "SELECT status FROM orders WHERE reference = $1", reference), silent(customer(reference))}
}

// noted is the only payment of an order as it was noted: its outcome and the bank's code.
func noted(reference, want string) fact {
	return row(want, "SELECT outcome, code FROM payments WHERE order_reference = $1", reference)
}

// ok is the row of ic_postback of a request that was taken.
func ok(source, typ string) string { return source + " " + typ + " true 200 -" }

func TestAutopartsDocument(t *testing.T) {
	w := openWorld(t)
	bank := newBank(t)
	a := playAutoparts(t, w, bank)
	lines := append(payboxLines(t, bank), cyberplusLines()...)
	lines = append(lines, tecdocLines()...)
	lines = append(lines, carrierLines()...)
	lines = append(lines, workflowLines()...)
	for _, l := range lines {
		if l.order != "" {
			w.order(l.order)
		}
		if l.given != "" {
			w.must(l.given)
		}
	}
	answers := make([]answer, len(lines))
	for i, l := range lines {
		answers[i] = a.call(t, l.send)
	}
	for _, d := range a.settled() {
		if d.State != "succeeded" {
			t.Errorf("%+v", d)
		}
	}
	for i, l := range lines {
		t.Run(l.what, func(t *testing.T) { l.check(t, a, answers[i]) })
	}
}

func (l *line) check(t *testing.T, a *autoparts, got answer) {
	want := l.status
	if want == 0 {
		want = 200
	}
	if got.status != want || want == 200 && got.body != "" {
		t.Errorf("answered %d %q", got.status, got.body)
	}
	const sql = `SELECT source, coalesce(event_type, '-'), coalesce(signature_valid::text, '-'), response_code, coalesce(split_part(error, ':', 1), '-')
		FROM ic_postback WHERE payload @> nullif($1, '')::jsonb OR $1 = '' AND payload IS NULL`
	var rows string
	a.until("the request stands in ic_postback", func() bool { // a refused one a moment after its answer
		rows = ask(t, a.postback, sql, l.member)
		return rows != ""
	})
	if rows != l.audit {
		t.Errorf("ic_postback has %q, and not %q", rows, l.audit)
	}
	for _, is := range l.see {
		if wrong := is(t, a); wrong != "" {
			t.Error(wrong)
		}
	}
}
