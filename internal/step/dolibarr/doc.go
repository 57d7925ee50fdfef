// Package dolibarr reads objects of a Dolibarr, and makes the invoice of a signed proposal, once.
//
// Dolibarr calls its webhooks inside the transaction of the user's action, before its COMMIT. What it tells
// of may not be there yet, and may never be: an object that is absent, and a proposal that isn't signed
// yet, are asked for again until patience is over; then the delivery is dead as rolled back.
//
// Its API makes an invoice of an order, and not of a proposal; and what it offers makes a second one when
// it is asked twice. So one invoice for each proposal is a matter of protocol: that of package once. For the
// effect default/erp/invoice/propal/123 it has these steps that are Dolibarr's own:
//
//   - The look-up: the invoices whose ref_ext is relais-propal-123, which Dolibarr keeps and doesn't force
//     to be unique, and those that are linked to the proposal, which people make by hand. It comes before
//     every POST, also the first, and once more after it.
//   - The status. Only a signed proposal is invoiced.
//   - The POST, which carries ref_ext, the link and the proposal's lines.
//
// Besides what remains with that protocol, an invoice that a person makes of an order of the proposal has no
// link to the proposal itself: the orders that are linked to it are asked for their invoices too, and what
// is farther away isn't seen.
package dolibarr
