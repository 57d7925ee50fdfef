package dolibarr

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// copied are the members of a proposal that its invoice takes. What isn't here is made by Dolibarr (ref,
// dates, totals), or the proposal's only (its validity, its signature, its model of document).
var copied = []string{
	"ref_client", "note_public", "note_private", "multicurrency_code", "location_incoterms",
}

// copiedIDs are those for which 0 means none.
var copiedIDs = []string{"cond_reglement_id", "mode_reglement_id", "fk_account", "fk_project", "fk_incoterms"}

// lineKeys are the members of a line that go over as they are. A line's own id, and its totals, are made anew.
var lineKeys = []string{
	"desc", "label", "subprice", "qty", "tva_tx", "vat_src_code", "localtax1_tx", "localtax2_tx", "localtax1_type", "localtax2_type",
	"product_type", "fk_product", "remise_percent", "fk_remise_except", "date_start", "date_end", "rang", "special_code", "info_bits",
	"fk_parent_line", "fk_unit", "fk_fournprice", "pa_ht", "multicurrency_subprice", "array_options",
}

// newInvoice writes the invoice of a proposal.
func newInvoice(p object, refExt string) ([]byte, error) {
	id, socid := p.number("id"), p.number("socid")
	if socid <= 0 {
		return nil, errors.New("it has no third party")
	}
	body := object{
		"socid": socid, "type": 0, "ref_ext": refExt, "linked_objects": map[string]any{"propal": id},
	}
	for _, name := range copied {
		if text := p.text(name); text != "" {
			body[name] = text
		}
	}
	for _, name := range copiedIDs {
		if n := p.number(name); n > 0 {
			body[name] = n
		}
	}
	if tx, ok := p.amount("multicurrency_tx"); ok && tx.Sign() > 0 && tx.Cmp(big.NewRat(1, 1)) != 0 {
		body["multicurrency_tx"] = p.text("multicurrency_tx")
	}
	lines := p.lines()
	if len(lines) == 0 {
		return nil, errors.New("it has no lines")
	}
	written := make([]object, len(lines))
	for i, line := range lines {
		if written[i] = writtenLine(line); written[i]["qty"] == nil {
			return nil, fmt.Errorf("line %d has no quantity", i+1)
		}
	}
	body["lines"] = written
	return json.Marshal(body)
}

func writtenLine(line object) object {
	out := object{}
	for _, name := range lineKeys {
		switch v := line[name].(type) {
		case nil:
		case string:
			if v != "" {
				out[name] = v
			}
		case map[string]any:
			if len(v) > 0 {
				out[name] = v
			}
		case []any: // an empty object, as PHP writes it
		default:
			out[name] = v
		}
	}
	if _, ok := out["desc"]; !ok {
		out["desc"] = line.text("description", "product_desc")
	}
	for _, name := range []string{"fk_product", "fk_parent_line", "fk_unit", "fk_fournprice", "fk_remise_except"} {
		if line.number(name) <= 0 {
			delete(out, name)
		}
	}
	if strings.TrimSpace(line.text("product_type")) == "" {
		out["product_type"] = 0
	}
	return out
}
