package doli

import (
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// Proposal is one that a test asks for; zero members have defaults.
type Proposal struct {
	ID     int64
	Status int // default 2, signed
	Third  int64
	Lines  []Object
	More   Object
}

// AddProposal keeps a proposal with its totals, and its third party.
func (d *Dolibarr) AddProposal(p Proposal) int64 {
	if p.Status == 0 {
		p.Status = 2
	}
	if p.Third == 0 {
		p.Third = 7
	}
	if p.Lines == nil {
		p.Lines = []Object{Line("Prestation", "2", "100.00000000", "20.0000")}
	}
	lines := make([]any, len(p.Lines))
	for i, line := range p.Lines {
		lines[i] = decode(line)
	}
	o := Object{
		"ref": "PR2611-0001", "ref_ext": "", "element": "propal", "socid": fmt.Sprint(p.Third), "statut": p.Status, "status": p.Status,
		"cond_reglement_id": "1", "mode_reglement_id": "", "fk_account": nil, "fk_project": nil, "ref_client": "CMD-7",
		"multicurrency_code": "EUR", "multicurrency_tx": "1.00000000", "note_public": "Merci", "note_private": "", "lines": lines,
		"date": 1795219200, "date_signature": 1795305322, "fin_validite": 1797897322,
	}
	if p.ID != 0 {
		o["id"] = p.ID
	}
	total(o, lines)
	maps.Copy(o, p.More)
	return d.Add("proposals", o)
}

// Line is a proposal's line as the API gives it, with all that is null.
func Line(desc, quantity, price, rate string) Object {
	return Object{
		"id": "31", "rowid": "31", "fk_propal": "1", "desc": desc, "description": desc, "qty": quantity, "subprice": price, "tva_tx": rate,
		"product_type": "1", "fk_product": nil, "remise_percent": "0", "rang": "1", "special_code": "0", "info_bits": "0",
		"localtax1_tx": "0.0000", "localtax2_tx": "0.0000", "localtax1_type": "0", "localtax2_type": "0", "vat_src_code": "",
		"date_start": "", "date_end": "", "array_options": []any{}, "fk_parent_line": nil, "fk_unit": nil, "fk_fournprice": nil,
		"pa_ht": "0.00000000", "multicurrency_subprice": price, "label": nil, "total_ht": "0", "fk_remise_except": nil,
	}
}

// AddInvoice keeps an invoice that a person made of a proposal.
func (d *Dolibarr) AddInvoice(proposal int64, more Object) int64 {
	o := Object{
		"ref": "(PROV9)", "ref_ext": "", "socid": "7", "type": "0", "statut": "0", "status": "0", "multicurrency_code": "EUR",
		"total_ht": "200.00000000", "total_tva": "40.00000000", "total_ttc": "240.00000000",
		"linked_objects": Object{"propal": proposal},
	}
	maps.Copy(o, more)
	return d.Add("invoices", o)
}

var (
	invoiceMembers = []string{
		"socid", "type", "ref_ext", "linked_objects", "lines", "ref_client", "note_public", "note_private", "cond_reglement_id",
		"mode_reglement_id", "fk_account", "fk_project", "fk_incoterms", "location_incoterms", "multicurrency_code", "multicurrency_tx", "date",
	}
	lineMembers = []string{
		"desc", "label", "subprice", "qty", "tva_tx", "vat_src_code", "localtax1_tx", "localtax2_tx", "localtax1_type", "localtax2_type",
		"product_type", "fk_product", "remise_percent", "fk_remise_except", "date_start", "date_end", "rang", "special_code", "info_bits",
		"fk_parent_line", "fk_unit", "fk_fournprice", "pa_ht", "multicurrency_subprice", "array_options",
	}
)

func (d *Dolibarr) postInvoice(c *call) (any, *failed) {
	if integer(c.body["socid"]) <= 0 {
		return nil, fail(http.StatusBadRequest, "Bad Request: socid field missing")
	}
	for name := range c.body {
		if !slices.Contains(invoiceMembers, name) {
			return nil, fail(http.StatusBadRequest, "Bad Request: an invoice has no %s", name)
		}
	}
	lines, _ := c.body["lines"].([]any)
	for i, v := range lines {
		line, _ := v.(Object)
		for _, name := range []string{"desc", "subprice", "qty", "tva_tx", "product_type"} {
			if line[name] == nil {
				return nil, fail(http.StatusBadRequest, "Bad Request: line %d has no %s", i, name)
			}
		}
		for name := range line {
			if !slices.Contains(lineMembers, name) {
				return nil, fail(http.StatusBadRequest, "Bad Request: a line has no %s", name)
			}
		}
	}
	o := maps.Clone(c.body)
	total(o, lines)
	maps.Copy(o, Object{"statut": "0", "status": "0", "type": fmt.Sprint(o["type"]), "element": "facture"})
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.keep("invoices", o, c.fault.CommitLate)
	o["ref"] = fmt.Sprintf("(PROV%d)", id)
	return id, nil
}

func (d *Dolibarr) postValidate(c *call) (any, *failed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.seen("invoices", c.id())
	if found == nil {
		return nil, fail(http.StatusNotFound, "Not Found: Invoice not found")
	}
	if integer(found.object["status"]) != 0 {
		return nil, fail(http.StatusNotModified, "Error nothing done. May be object is already validated")
	}
	o := maps.Clone(found.object)
	maps.Copy(o, Object{"statut": "1", "status": 1, "ref": fmt.Sprintf("FA2611-%04d", c.id())})
	d.keep("invoices", o, 0)
	return d.shown("invoices", d.kept["invoices"][c.id()]), nil
}

func (d *Dolibarr) byRefExt(c *call) (any, *failed) {
	ref := c.PathValue("ref")
	if strings.Contains(ref, ":") {
		return nil, fail(http.StatusForbidden, "Forbidden: Access refused by the filter against injections")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var first int64
	for id, r := range d.kept["invoices"] {
		if d.seen("invoices", id) != nil && r.object["ref_ext"] == ref && (first == 0 || id < first) {
			first = id
		}
	}
	if first == 0 {
		return nil, fail(http.StatusNotFound, "Not Found: Invoice not found")
	}
	return d.shown("invoices", d.kept["invoices"][first]), nil
}

// total sets the totals of an object by its lines.
func total(o Object, lines []any) {
	excl, tax := new(big.Rat), new(big.Rat)
	for _, v := range lines {
		line, _ := v.(Object)
		sum := new(big.Rat).Mul(decimal(line["qty"]), decimal(line["subprice"]))
		sum.Mul(sum, new(big.Rat).Sub(big.NewRat(1, 1), new(big.Rat).Quo(decimal(line["remise_percent"]), big.NewRat(100, 1))))
		excl.Add(excl, sum)
		tax.Add(tax, new(big.Rat).Mul(sum, new(big.Rat).Quo(decimal(line["tva_tx"]), big.NewRat(100, 1))))
	}
	o["total_ht"], o["total_tva"] = excl.FloatString(8), tax.FloatString(8)
	o["total_ttc"] = new(big.Rat).Add(excl, tax).FloatString(8)
}

func decimal(v any) *big.Rat {
	if n, ok := new(big.Rat).SetString(fmt.Sprint(v)); ok {
		return n
	}
	return new(big.Rat)
}
