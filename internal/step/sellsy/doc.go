// Package sellsy makes the invoice of an accepted Sellsy estimate, once.
//
// Sellsy has no idempotency key and no search by parent, a request can be carried out after its
// connection broke, and a search can lag behind. So one invoice for each estimate is a matter of
// protocol: that of package once. For the effect default/compta/invoice/estimate/52437688 it has two steps
// that are Sellsy's own:
//
//   - The look-up: the invoices of the estimate's company or individual, on all pages, whose parent is the
//     estimate. It comes before every POST, also the first: people invoice by hand, and ledgers are
//     restored from backups.
//   - The status. Only an accepted estimate is invoiced. It is the status that was read before the
//     look-up: Sellsy itself refuses a parent that has become invoiced meanwhile.
//
// Besides what remains with that protocol, an invoice that a person makes for another company than the
// estimate's isn't found.
package sellsy
