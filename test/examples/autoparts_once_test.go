//go:build linux

package examples

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
)

// published is the notification that Paybox signed, as it was published.
const published = "Mt=1000&Ref=CMD1349338388&Auto=XXXXXX&Erreur=00000&K=QnhlnuOpcbfUruOU7kKG%2FZmDPsDzM31VrpMIObQomYwEE%2FafhJiDPkWVN9%2Br3JVFXBsFnqo3VlOVzxQVVahXpF7eWiJoAe5LcIoqSvms96SFFv9LfndS%2F3zAO5fF%2FtR4Us3rOSUwT1Hs2AS17R3B9ATwBMhKt1l3DPw9hClpFw0%3D"

// TestAutopartsKnowsVerifone plays the file as it stands, whose key is Verifone's.
func TestAutopartsKnowsVerifone(t *testing.T) {
	w := openWorld(t)
	w.order("CMD1349338388")
	w.must("UPDATE orders SET total_cents = 1000")
	a := playAutoparts(t, w, nil)
	if got := a.call(t, unsigned("GET", published)); got != (answer{status: 200}) {
		t.Errorf("answered %+v", got)
	}
	if got := a.call(t, paybox(t, newBank(t), "POST", "Mt=1000&Ref=CMD1349338388&Auto=123456&Erreur=00000")); got.status != 401 {
		t.Errorf("another's signature: answered %+v", got)
	}
	a.succeeded(t, 1)
	a.sees(t, append(unpaid("CMD1349338388"), noted("CMD1349338388", "TO_CHECK 00000"))...) // its number is that of trials
}

// TestAutopartsPaysOnce sends a payment again, in all the ways that it may come again, and ends relais at its worst
// moment. The rows are written once. Mails are sent at least once: here once, since none was under way.
func TestAutopartsPaysOnce(t *testing.T) {
	w := openWorld(t)
	bank := newBank(t)
	a := playAutoparts(t, w, bank)
	for _, reference := range []string{"ORD-ONCE", "ORD-TWICE", "ORD-CAPTURED", "ORD-CRASH"} {
		w.order(reference)
	}
	paid := func(reference string) []fact {
		return []fact{
			row("PAID", "SELECT status FROM orders WHERE reference = $1", reference), noted(reference, "ACCEPTED 00000"),
			mailed(customer(reference), "Votre commande "+reference+" est confirmée", "77,90 €"),
		}
	}
	take := func(r request) {
		t.Helper()
		if got := a.call(t, r); got != (answer{status: 200}) {
			t.Fatalf("answered %+v", got)
		}
	}

	first := paybox(t, bank, "POST", "Mt=7790&Ref=ORD-ONCE&Trans=1&Auto=123456&Erreur=00000")
	take(first)
	take(first)                                                                              // byte by byte
	take(paybox(t, bank, "GET", "Auto=123456&Mt=7790&Trans=1&Ref=ORD-ONCE&Erreur=00000"))    // signed anew
	take(paybox(t, bank, "POST", "Mt=7790&Ref=ORD-TWICE&Trans=2&Auto=123456&Erreur=00000"))  // paid
	take(paybox(t, bank, "POST", "Mt=7790&Ref=ORD-TWICE&Trans=33&Auto=654321&Erreur=00000")) // and paid again
	captured := map[string]string{"vads_amount": "7790", "vads_currency": "978", "vads_order_id": "ORD-CAPTURED", "vads_trans_uuid": "5", "vads_trans_status": "AUTHORISED", "vads_auth_result": "00"}
	take(cyberplus(cyberplusKey, captured))
	captured["vads_trans_status"] = "CAPTURED"
	take(cyberplus(cyberplusKey, captured)) // the next day
	a.succeeded(t, 6)
	a.sees(t, paid("ORD-ONCE")...)
	a.sees(t,
		row("2 ACCEPTED; 33 TO_CHECK", "SELECT transaction, outcome FROM payments WHERE order_reference = 'ORD-TWICE' ORDER BY id"),
		mailed(customer("ORD-TWICE"), "ORD-TWICE", "77,90 €"), mailed(admin, "commande ORD-TWICE", "elle l'était déjà"))
	a.sees(t, row("PAID", "SELECT status FROM orders WHERE reference = 'ORD-CAPTURED'"), noted("ORD-CAPTURED", "ACCEPTED 00"), mailed(customer("ORD-CAPTURED"), "ORD-CAPTURED", "77,90 €"))

	second := paybox(t, bank, "POST", "Mt=7790&Ref=ORD-CRASH&Trans=4&Auto=123456&Erreur=00000")
	a.killAtCommit(t, "ORD-CRASH", func() { take(second) })
	a.sees(t, row("PAID", "SELECT status FROM orders WHERE reference = 'ORD-CRASH'"), silent(customer("ORD-CRASH")))
	a.start()
	a.succeeded(t, 7)
	a.sees(t, paid("ORD-CRASH")...)
	take(second)
	take(paybox(t, bank, "GET", "Auto=123456&Mt=7790&Trans=4&Ref=ORD-CRASH&Erreur=00000"))
	a.succeeded(t, 8)
	a.sees(t, paid("ORD-CRASH")...)

	// A replay by the number in ic_postback pays nothing again; who asks for it asks for the mail too.
	id := ask(t, a.postback, `SELECT min(id) FROM ic_postback WHERE payload @> '{"Ref": "ORD-ONCE"}'`)
	a.cli("replay", id)
	a.succeeded(t, 9)
	a.sees(t, row("PAID", "SELECT status FROM orders WHERE reference = 'ORD-ONCE'"), noted("ORD-ONCE", "ACCEPTED 00000"))
	if got := len(a.mails(t, customer("ORD-ONCE"))); got != 2 {
		t.Errorf("%d mails after a replay", got)
	}
}

// killAtCommit kills relais while its COMMIT of an order's payment is under way: PostgreSQL ends it, and relais never
// knows.
func (a *autoparts) killAtCommit(t *testing.T, reference string, send func()) {
	t.Helper()
	const lock = 77900
	a.must(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(77900); RETURN NULL; END $$`)
	a.must(`CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON payments DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.order_reference = '` + reference + `') EXECUTE FUNCTION hold()`)
	holder, err := pgx.Connect(t.Context(), a.orders)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock($1)", lock); err != nil {
		t.Fatal(err)
	}
	send()
	a.until("the COMMIT waits", func() bool {
		return ask(t, a.boutique, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory' AND lower(query) LIKE 'commit%'") == "1"
	})
	a.kill()
	if err := holder.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.until("the payment is there", func() bool {
		return ask(t, a.boutique, "SELECT count(*) FROM payments WHERE order_reference = $1", reference) == "1"
	})
	a.must("DROP TRIGGER hold ON payments")
}

// succeeded waits until all deliveries have ended, and that many did well.
func (a *autoparts) succeeded(t *testing.T, want int) {
	t.Helper()
	count := map[string]int{}
	for _, d := range a.settled() {
		count[d.State]++
	}
	if count["succeeded"] != want || len(count) != 1 {
		t.Fatalf("deliveries ended %v, and not as %s succeeded", count, strconv.Itoa(want))
	}
}

func (a *autoparts) sees(t *testing.T, facts ...fact) {
	t.Helper()
	for _, is := range facts {
		if wrong := is(t, a); wrong != "" {
			t.Error(wrong)
		}
	}
}
