//go:build linux

package examples

import (
	"crypto/rsa"
	"testing"
)

// payboxLines are the document's actions for a payment, and all codes that Paybox knows.
func payboxLines(t *testing.T, bank *rsa.PrivateKey) []line {
	t.Helper()
	paid := func(reference string) request {
		return paybox(t, bank, "POST", "Mt=7790&Ref="+reference+"&Trans=T-"+reference+"&Auto=123456&Erreur=00000")
	}
	of := func(reference string) string { return `{"Ref": "` + reference + `"}` }
	succeeded := ok("paybox", "payment.succeeded")
	document := paybox(t, bank, "GET", "Mt=7790&Ref=ORD-2024-001&Auto=123456&Erreur=00000")
	document.method = "POST" // with all of it in the address
	forged := unsigned("POST", "Mt=7790&Ref=ORD-1B&Trans=1&Auto=123456&Erreur=00000&K=QUJD")
	lines := []line{
		{what: "Paybox 1: a signature that is right", order: "ORD-1A", send: paid("ORD-1A"), audit: succeeded, member: of("ORD-1A")},
		{what: "Paybox 1: one that is wrong", order: "ORD-1B", send: forged, status: 401, audit: "paybox - false 401 signature_invalid", member: of("ORD-1B"), see: unpaid("ORD-1B")},
		{what: "Paybox 1: none", order: "ORD-1C", send: unsigned("POST", "Mt=7790&Ref=ORD-1C&Auto=123456&Erreur=00000"), status: 401,
			audit: "paybox - false 401 signature_missing", member: of("ORD-1C"), see: unpaid("ORD-1C")},
		{what: "Paybox 2: another amount", order: "ORD-2A", send: paybox(t, bank, "POST", "Mt=100&Ref=ORD-2A&Trans=T2&Auto=123456&Erreur=00000"), audit: succeeded, member: of("ORD-2A"),
			see: append(unpaid("ORD-2A"), noted("ORD-2A", "TO_CHECK 00000"), mailed(admin, "Paiement à vérifier : commande ORD-2A", "100 centimes"))},
		{what: "Paybox 2: an order that nobody knows", send: paid("ORD-2B"), audit: succeeded, member: of("ORD-2B"),
			see: []fact{noted("ORD-2B", "TO_CHECK 00000"), mailed(admin, "commande ORD-2B", "n'existe pas")}},
		{what: "Paybox 2: the number that authorises trials", order: "ORD-2C", send: paybox(t, bank, "POST", "Mt=7790&Ref=ORD-2C&Trans=T2&Auto=XXXXXX&Erreur=00000"), audit: succeeded, member: of("ORD-2C"),
			see: append(unpaid("ORD-2C"), noted("ORD-2C", "TO_CHECK 00000"), mailed(admin, "commande ORD-2C", "un essai"))},
		{what: "Paybox 3: the payment's row", order: "ORD-3", send: paid("ORD-3"), audit: succeeded, member: of("ORD-3"), see: []fact{
			row("paybox T-ORD-3 7790 EUR 123456 00000 ACCEPTED", "SELECT provider, transaction, amount_cents, currency, authorisation, code, outcome FROM payments WHERE order_reference = 'ORD-3'")}},
		{what: "Paybox 4: from PENDING to PAID", order: "ORD-4", send: paid("ORD-4"), audit: succeeded, member: of("ORD-4"), see: []fact{
			row("PAID true", "SELECT status, paid_at IS NOT NULL FROM orders WHERE reference = 'ORD-4'"),
			row("1", "SELECT count(*) FROM relais_effects WHERE key LIKE '%paiement/paybox/T-ORD-4/ORD-4'")}},
		{what: "Paybox 5: the customer's mail", order: "ORD-5", send: paid("ORD-5"), audit: succeeded, member: of("ORD-5"),
			see: []fact{mailed(customer("ORD-5"), "Votre commande ORD-5 est confirmée", "votre paiement de 77,90 € pour la commande ORD-5")}},
		{what: "Paybox 6: ic_postback", order: "ORD-6", send: paid("ORD-6"), audit: succeeded, member: `{"Mt": "7790", "Ref": "ORD-6", "Trans": "T-ORD-6", "Auto": "123456", "Erreur": "00000"}`},
		{what: "Paybox 7: 200 and nothing in it, by GET too", order: "ORD-7", send: paybox(t, bank, "GET", "Mt=7790&Ref=ORD-7&Trans=1&Auto=123456&Erreur=00000"), audit: succeeded, member: of("ORD-7"),
			see: []fact{row("PAID", "SELECT status FROM orders WHERE reference = 'ORD-7'")}},
		{what: "Paybox, as the document writes it", order: "ORD-2024-001", send: document, audit: succeeded, member: of("ORD-2024-001"),
			see: []fact{row("PAID", "SELECT status FROM orders WHERE reference = 'ORD-2024-001'")}},
		{what: "Paybox, the document's curl for trials", order: "TEST-001", send: request{method: "GET", path: "/api/paybox/callback-test?Mt=7790&Ref=TEST-001&Auto=123456&Erreur=00000"},
			audit: "paybox-essai payment.succeeded - 200 -", member: of("TEST-001"), see: append(unpaid("TEST-001"), noted("TEST-001", ""), trial("paybox-essai"))},
	}
	for _, code := range payboxCodes {
		reference := "ORD-E" + code.code
		lines = append(lines, line{
			what: "Paybox " + code.code + ": " + code.means, order: reference,
			send:  paybox(t, bank, "POST", "Mt=7790&Ref="+reference+"&Trans=0&Erreur="+code.code),
			audit: ok("paybox", code.typ), member: of(reference), see: append(unpaid(reference), noted(reference, code.typ+" "+code.code)),
		})
	}
	return lines
}

// payboxCodes are what Paybox answers as it really is (00000 stands above), and the document's codes that it doesn't
// know, as such.
var payboxCodes = []struct{ code, typ, means string }{
	{"00001", "payment.refused", "the authorisation centre failed"},
	{"00100", "payment.refused", "the bank said no"},
	{"00105", "payment.refused", "the bank did not honour"},
	{"00117", "payment.cancelled", "the customer gave up"},
	{"00133", "payment.refused", "the card has expired"},
	{"00151", "payment.refused", "not enough funds"},
	{"00003", "payment.refused", "Paybox failed"},
	{"00004", "payment.refused", "the card's number or code is wrong"},
	{"00006", "payment.refused", "site, rank or identifier are wrong"},
	{"00008", "payment.refused", "the card's date is wrong"},
	{"00009", "payment.refused", "the subscription could not be made"},
	{"00010", "payment.refused", "an unknown currency"},
	{"00011", "payment.refused", "an amount that is wrong"},
	{"00015", "payment.refused", "paid before"},
	{"00016", "payment.refused", "the subscriber exists"},
	{"00021", "payment.refused", "a card that isn't allowed"},
	{"00029", "payment.refused", "not the card that was expected"},
	{"00030", "payment.cancelled", "more than 15 minutes on the page"},
	{"00033", "payment.refused", "a country that isn't allowed"},
	{"00040", "payment.refused", "without 3-D Secure"},
	{"99999", "payment.pending", "not decided yet"},
	{"00002", "payment.refused", "the document's, unknown to Paybox"},
	{"00012", "payment.refused", "the document's, unknown to Paybox"},
	{"00017", "payment.refused", "the document's, unknown to Paybox"},
}

// cyberplusLines are the statuses of the other bank.
func cyberplusLines() []line {
	of := func(reference string) string { return `{"vads_order_id": "` + reference + `"}` }
	notice := func(reference, status string) map[string]string {
		return map[string]string{
			"vads_amount": "7790", "vads_currency": "978", "vads_order_id": reference, "vads_trans_id": "000123", "vads_trans_uuid": "uuid-" + reference,
			"vads_trans_status": status, "vads_auth_result": "00", "vads_ctx_mode": "PRODUCTION", "vads_operation_type": "DEBIT",
		}
	}
	document := map[string]string{"vads_amount": "7790", "vads_order_id": "ORD-2024-003", "vads_trans_id": "000123", "vads_trans_status": "AUTHORISED", "vads_auth_result": "00"}
	forged := cyberplus(cyberplusKey, notice("ORD-CF", "AUTHORISED"))
	forged.body += "x"
	refused := notice("ORD-CT", "AUTHORISED")
	refused["vads_ctx_mode"] = "TEST"
	verified := notice("ORD-CV", "AUTHORISED")
	verified["vads_ctx_mode"] = "TEST"
	less := notice("ORD-CM", "AUTHORISED")
	less["vads_amount"] = "7789"
	refund := notice("ORD-CR", "AUTHORISED")
	refund["vads_operation_type"] = "CREDIT"
	succeeded := ok("cyberplus", "payment.succeeded")
	lines := []line{
		{what: "CyberPlus, as the document writes it", order: "ORD-2024-003", send: cyberplus(cyberplusKey, document), audit: succeeded, member: of("ORD-2024-003"), see: []fact{
			row("PAID", "SELECT status FROM orders WHERE reference = 'ORD-2024-003'"), mailed(customer("ORD-2024-003"), "ORD-2024-003", "77,90 €"), noted("ORD-2024-003", "ACCEPTED 00")}},
		{what: "CyberPlus: a signature that is wrong", order: "ORD-CF", send: forged, status: 401, audit: "cyberplus - false 401 signature_invalid", member: of("ORD-CF"), see: unpaid("ORD-CF")},
		{what: "CyberPlus: a trial, with the key for trials", order: "ORD-CT", send: cyberplus("8877665544332211", refused), status: 401, audit: "cyberplus - false 401 signature_invalid", member: of("ORD-CT"), see: unpaid("ORD-CT")},
		{what: "CyberPlus: a trial, where its key was put into CYBERPLUS_KEY", order: "ORD-CV", send: cyberplus(cyberplusKey, verified), audit: succeeded, member: of("ORD-CV"),
			see: append(unpaid("ORD-CV"), noted("ORD-CV", ""), trial("cyberplus"))},
		{what: "CyberPlus: a cent less", order: "ORD-CM", send: cyberplus(cyberplusKey, less), audit: succeeded, member: of("ORD-CM"),
			see: append(unpaid("ORD-CM"), noted("ORD-CM", "TO_CHECK 00"), mailed(admin, "commande ORD-CM", "7789 centimes"))},
		{what: "CyberPlus: a refund", order: "ORD-CR", send: cyberplus(cyberplusKey, refund), audit: ok("cyberplus", "refund.succeeded"), member: of("ORD-CR"),
			see: append(unpaid("ORD-CR"), noted("ORD-CR", "refund.succeeded 00"))},
	}
	for _, s := range cyberplusStatuses {
		reference := "ORD-C-" + s.status
		l := line{
			what: "CyberPlus " + s.status, order: reference, send: cyberplus(cyberplusKey, notice(reference, s.status)), audit: ok("cyberplus", s.typ), member: of(reference),
			see: append(unpaid(reference), noted(reference, s.typ+" 00")),
		}
		if s.typ == "payment.succeeded" {
			l.see = []fact{
				row("PAID", "SELECT status FROM orders WHERE reference = $1", reference), noted(reference, "ACCEPTED 00"),
				mailed(customer(reference), "Votre commande "+reference+" est confirmée", "77,90 €"),
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// cyberplusStatuses are those that the platform knows: three of them are the document's.
var cyberplusStatuses = []struct{ status, typ string }{
	{"AUTHORISED", "payment.succeeded"},
	{"REFUSED", "payment.refused"},
	{"CANCELLED", "payment.cancelled"},
	{"CAPTURED", "payment.succeeded"},
	{"ABANDONED", "payment.cancelled"},
	{"ACCEPTED", "payment.verified"},
	{"AUTHORISED_TO_VALIDATE", "payment.pending"},
	{"CAPTURE_FAILED", "payment.refused"},
	{"EXPIRED", "payment.cancelled"},
	{"INITIAL", "payment.pending"},
	{"NOT_CREATED", "payment.cancelled"},
	{"SUSPENDED", "payment.pending"},
	{"UNDER_VERIFICATION", "payment.pending"},
	{"WAITING_AUTHORISATION", "payment.pending"},
	{"WAITING_AUTHORISATION_TO_VALIDATE", "payment.pending"},
}
