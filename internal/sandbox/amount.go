package sandbox

import (
	"math/big"
	"regexp"
)

// Amounts are exact decimals written as strings, as Sellsy writes them; no float ever holds one.
var decimalText = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,10})?$`)

func parseDecimal(s string) (*big.Rat, bool) {
	if !decimalText.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// decimalOf reads an amount of an object that was validated before; what is missing counts as zero.
func decimalOf(v any) *big.Rat {
	s, _ := v.(string)
	if d, ok := parseDecimal(s); ok {
		return d
	}
	return new(big.Rat)
}

// cents rounds to two decimals, halves away from zero, as invoices do.
func cents(r *big.Rat) *big.Rat {
	rounded, _ := new(big.Rat).SetString(r.FloatString(2))
	return rounded
}

func text2(r *big.Rat) string { return r.FloatString(2) }

func mul(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }
func sub(a, b *big.Rat) *big.Rat { return new(big.Rat).Sub(a, b) }
func add(a, b *big.Rat) *big.Rat { return new(big.Rat).Add(a, b) }

var hundred = big.NewRat(100, 1)

func percentOf(r, percent *big.Rat) *big.Rat { return new(big.Rat).Quo(mul(r, percent), hundred) }

// tax is a rate that the sandbox's account has.
type tax struct {
	id          int64
	label, rate string
}

// taxes are the French rates, under ids that a test can tell apart from their rates.
var taxes = map[int64]tax{
	4001: {4001, "TVA 20%", "20.00"},
	4002: {4002, "TVA 10%", "10.00"},
	4003: {4003, "TVA 5,5%", "5.50"},
	4004: {4004, "TVA 2,1%", "2.10"},
	4005: {4005, "TVA 0%", "0.00"},
}

const defaultTax = 4001

// totals are a document's amounts.
type totals struct {
	raw, discounted, shipping, packaging, excl, incl *big.Rat
	discountAmount, discountPercent                  *big.Rat
	discountType                                     string
	taxes                                            []any
}

// price computes a document's rows and totals. It returns the rows as they are read back: with their
// read-only members. Rows that are optional are shown and not counted.
func price(rows []any, discount object, nextID func() int64) ([]any, totals) {
	t := totals{raw: new(big.Rat), shipping: new(big.Rat), packaging: new(big.Rat)}
	products, fees := map[int64]*big.Rat{}, map[int64]*big.Rat{}
	section := new(big.Rat)
	priced := make([]any, 0, len(rows))
	for _, v := range rows {
		row := v.(object).clone()
		row["id"] = nextID()
		kind, _ := row["type"].(string)
		switch kind {
		case "single", "catalog", "shipping", "packaging", "deposit":
			amount, taxID := priceRow(row)
			if optional, _ := row["is_optional"].(bool); !optional {
				section = add(section, amount)
				switch kind {
				case "shipping":
					t.shipping = add(t.shipping, amount)
					accumulate(fees, taxID, amount)
				case "packaging":
					t.packaging = add(t.packaging, amount)
					accumulate(fees, taxID, amount)
				default:
					t.raw = add(t.raw, amount)
					accumulate(products, taxID, amount)
				}
			}
		case "sub-total":
			row["amount"] = text2(section)
			section = new(big.Rat)
		}
		priced = append(priced, row)
	}
	t.applyDiscount(discount)
	t.applyTaxes(products, fees)
	return priced, t
}

func accumulate(base map[int64]*big.Rat, taxID int64, amount *big.Rat) {
	if base[taxID] == nil {
		base[taxID] = new(big.Rat)
	}
	base[taxID] = add(base[taxID], amount)
}

// priceRow fills a row's read-only members and returns what it counts, without tax.
func priceRow(row object) (amount *big.Rat, taxID int64) {
	amount = mul(decimalOf(row["unit_amount"]), decimalOf(row["quantity"]))
	if d, ok := row["discount"].(object); ok {
		value := decimalOf(d["value"])
		if d["type"] == "percent" {
			value = percentOf(amount, value)
		}
		value = cents(value)
		d = d.clone()
		d["total"] = text2(value)
		row["discount"] = d
		amount = sub(amount, value)
	}
	amount = cents(amount)
	taxID = integerOf(row["tax_id"])
	if taxID == 0 {
		taxID = defaultTax
		row["tax_id"] = taxID
	}
	rate := taxes[taxID]
	taxAmount := cents(percentOf(amount, decimalOf(rate.rate)))
	row["tax_rate"], row["tax_label"], row["tax_amount"] = rate.rate, rate.label, text2(taxAmount)
	row["amount_tax_exc"], row["amount_tax_inc"] = text2(amount), text2(add(amount, taxAmount))
	return amount, taxID
}

// applyDiscount takes the document's discount off its products; shipping and packaging keep their price.
func (t *totals) applyDiscount(discount object) {
	t.discounted = t.raw
	if discount == nil {
		return
	}
	value := decimalOf(discount["value"])
	t.discountType, _ = discount["type"].(string)
	if t.discountType == "percent" {
		t.discountPercent, t.discountAmount = value, cents(percentOf(t.raw, value))
	} else {
		t.discountAmount, t.discountPercent = value, new(big.Rat)
		if t.raw.Sign() != 0 {
			t.discountPercent = new(big.Rat).Quo(mul(value, hundred), t.raw)
		}
	}
	t.discounted = sub(t.raw, t.discountAmount)
}

func (t *totals) applyTaxes(products, fees map[int64]*big.Rat) {
	t.excl = add(add(t.discounted, t.shipping), t.packaging)
	ratio := big.NewRat(1, 1)
	if t.raw.Sign() != 0 {
		ratio = new(big.Rat).Quo(t.discounted, t.raw)
	}
	t.incl, t.taxes = t.excl, []any{}
	for id := int64(4001); id <= 4005; id++ {
		base := new(big.Rat)
		if products[id] != nil {
			base = mul(products[id], ratio)
		}
		if fees[id] != nil {
			base = add(base, fees[id])
		} else if products[id] == nil {
			continue
		}
		amount := cents(percentOf(base, decimalOf(taxes[id].rate)))
		t.incl = add(t.incl, amount)
		t.taxes = append(t.taxes, object{
			"id": id, "label": taxes[id].label, "rate": taxes[id].rate, "amount": text2(amount),
		})
	}
}

func (t *totals) discountObject() any {
	if t.discountAmount == nil {
		return nil
	}
	return object{"type": t.discountType, "percent": text2(t.discountPercent), "amount": text2(t.discountAmount)}
}

func (t *totals) estimateAmounts() object {
	return object{
		"total_raw_excl_tax": text2(t.raw), "total_after_discount_excl_tax": text2(t.discounted),
		"shipping": text2(t.shipping), "packaging": text2(t.packaging),
		"total_excl_tax": text2(t.excl), "total": text2(t.incl), "total_primes_incl_tax": "0.00",
	}
}

func (t *totals) invoiceAmounts() object {
	return object{
		"total_raw_excl_tax": text2(t.raw), "total_after_discount_excl_tax": text2(t.discounted),
		"total_shipping": text2(t.shipping), "total_packaging": text2(t.packaging),
		"total_excl_tax": text2(t.excl), "total_incl_tax": text2(t.incl),
		"total_remaining_due_incl_tax": text2(t.incl), "total_primes_incl_tax": "0.00",
	}
}
