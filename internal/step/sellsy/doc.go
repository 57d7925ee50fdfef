// Package sellsy makes the invoice of an accepted Sellsy estimate, once.
//
// Sellsy has no idempotency key and no search by parent, a request can be carried out after its
// connection broke, and a search can lag behind. So one invoice for each estimate is a matter of
// protocol. For the effect default/compta/invoice/estimate/52437688, in this order:
//
//  1. The ledger. An effect that is done is the answer. One that was sent is left alone until sent_at +
//     settle: until then the invoice may still appear.
//  2. The look-up: the invoices of the estimate's company or individual, on all pages, whose parent is the
//     estimate. It comes before every POST, also the first: people invoice by hand, and ledgers are
//     restored from backups. After something was sent, "not found" counts when it was said twice, a
//     recheck apart.
//  3. The status. Only an accepted estimate is invoiced. It is the status that was read before the
//     look-up: Sellsy itself refuses a parent that has become invoiced meanwhile.
//  4. The POST. The effect is sent, durably, before the first byte leaves, and the body's last byte leaves
//     only while a clock that goes on while the machine sleeps or the process is stopped says that this was
//     a moment ago. A refusal (4xx) opens the effect again: nothing was made. Anything else that isn't an
//     answer leaves it sent.
//  5. The look-up again. Two invoices end the delivery as dead, and the effect as unknown: a person has to
//     delete one.
//
// What remains: a person who invoices by hand between the look-up and the POST, or for another company
// than the estimate's; a search that lags, or a Sellsy that carries a request out, for longer than settle
// and a recheck; and a process that is stopped between the check of the clock and the write of the same
// few kilobytes, some microseconds later, for longer than settle, while another node takes over. A kernel
// that holds unsent bytes for a connection gives them up within the request's deadline (Linux), so a
// process that was killed sends nothing later.
package sellsy
