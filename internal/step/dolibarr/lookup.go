package dolibarr

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// found is what a look-up says about a proposal's invoices.
type found struct {
	whole     []object // that take the place of ours
	parts     []object // deposit and situation invoices
	abandoned []object
	seen      map[int64]bool
}

// What an invoice's type and status mean.
const (
	typeCreditNote = 2
	typeDeposit    = 3
	typeSituation  = 5

	invoiceDraft     = 0
	invoiceAbandoned = 3
)

func (f *found) has(id int64) bool {
	return slices.ContainsFunc(f.whole, func(o object) bool { return o.number("id") == id })
}

func (f *found) add(inv object) {
	id := inv.number("id")
	if f.seen[id] {
		return
	}
	f.seen[id] = true
	switch kind := inv.number("type"); {
	case kind == typeCreditNote:
	case inv.status() == invoiceAbandoned:
		f.abandoned = append(f.abandoned, inv)
	case kind == typeDeposit || kind == typeSituation:
		f.parts = append(f.parts, inv)
	default:
		f.whole = append(f.whole, inv)
	}
}

// lookUp finds the invoices that carry our ref_ext, by the call for it and in the list, since the call gives
// one of several; those linked to the proposal; and those linked to its orders.
func (c *creation) lookUp(ctx context.Context, p object) (found, error) {
	all := found{seen: map[int64]bool{}}
	var one object
	err := c.read(ctx, http.MethodGet, "/invoices/ref_ext/"+url.PathEscape(c.refExt), nil, nil, &one)
	if err != nil && !isAbsent(err) {
		return all, err
	}
	list, err := c.list(ctx, "/invoices", url.Values{
		"sqlfilters": {fmt.Sprintf("(t.ref_ext:=:'%s')", c.refExt)}, "sortfield": {"t.rowid"}, "sortorder": {"ASC"}, "limit": {"100"},
	})
	if err != nil {
		return all, err
	}
	for _, inv := range append(list, one) {
		// The database may compare without regard to case.
		if inv.text("ref_ext") == c.refExt && inv.number("id") > 0 {
			all.add(inv)
		}
	}
	linked := p.linked("facture")
	for _, id := range p.linked("commande") {
		order, err := c.object(ctx, "orders", id)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return all, err
		}
		linked = append(linked, order.linked("facture")...)
	}
	slices.Sort(linked)
	for _, id := range slices.Compact(linked) {
		if all.seen[id] {
			continue
		}
		inv, err := c.object(ctx, "invoices", id)
		if isAbsent(err) {
			continue // a link may outlive what it led to
		}
		if err != nil {
			return all, err
		}
		all.add(inv)
	}
	return all, nil
}

func names(list []object) string {
	out := make([]string, len(list))
	for i, inv := range list {
		out[i] = fmt.Sprintf("%s (id %d)", inv.text("ref"), inv.number("id"))
	}
	return strings.Join(out, ", ")
}
