package sellsy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"time"

	"relais/internal/step/rest"
)

// reference names an object of the account.
type reference struct {
	Type string `json:"type"`
	ID   int64  `json:"id"`
}

// row is a row of a document, as it was read: numbers keep their text.
type row map[string]any

// UnmarshalJSON keeps numbers as they are written.
func (r *row) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode((*map[string]any)(r))
}

// estimate is what relais reads of one.
type estimate struct {
	ID       int64       `json:"id"`
	Number   string      `json:"number"`
	Status   string      `json:"status"`
	Date     string      `json:"date"`
	Created  string      `json:"created"`
	Currency string      `json:"currency"`
	Related  []reference `json:"related"`
	Contact  *int64      `json:"contact_id"`
	Owner    reference   `json:"owner"`
	Discount *struct {
		Type    string  `json:"type"`
		Percent decimal `json:"percent"`
		Amount  decimal `json:"amount"`
	} `json:"discount"`
	Amounts struct {
		Excl decimal `json:"total_excl_tax"`
		Incl decimal `json:"total"`
	} `json:"amounts"`
	Rows []row `json:"rows"`
	// rest is the whole object, for the members that go over as they are.
	rest row
}

// decimal is an amount's text. The document says strings; a number is taken with its digits as written.
type decimal string

// UnmarshalJSON takes a string or a number; null leaves it empty.
func (d *decimal) UnmarshalJSON(data []byte) error {
	var text json.Number
	if err := json.Unmarshal(data, &text); err == nil {
		*d = decimal(text)
		return nil
	}
	return json.Unmarshal(data, (*string)(d))
}

// parent is what a document was made of; zero without one, which may also be written as an empty list.
// Anything else that can't be read is an error: an invoice that isn't recognised would be made again.
type parent struct{ reference }

// UnmarshalJSON reads an object, null or an empty list.
func (p *parent) UnmarshalJSON(data []byte) error {
	var none []struct{}
	if json.Unmarshal(data, &none) == nil && len(none) == 0 {
		return nil
	}
	return json.Unmarshal(data, &p.reference)
}

// terms are payment terms as they are read, where they were embedded.
func (e *estimate) terms() row {
	var at any = map[string]any(e.rest)
	for _, name := range []string{"_embed", "payment_terms", "settings", "value"} {
		o, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = o[name]
	}
	o, _ := at.(map[string]any)
	return o
}

// UnmarshalJSON reads the members by name and keeps the rest.
func (e *estimate) UnmarshalJSON(data []byte) error {
	type plain estimate
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	return json.Unmarshal(data, &e.rest)
}

func (c *client) estimate(ctx context.Context, id int64) (*estimate, error) {
	var e estimate
	err := c.read(ctx, http.MethodGet, "/estimates/"+strconv.FormatInt(id, 10)+"?embed[]=payment_terms", nil, &e)
	if err != nil {
		return nil, err
	}
	if e.ID != id {
		return nil, rest.Unreadable("asked for estimate %d, Sellsy answered with %d", id, e.ID)
	}
	return &e, nil
}

// payer is the one company or individual that the estimate is for.
func (e *estimate) payer() (reference, error) {
	var payers []reference
	for _, r := range e.Related {
		if r.Type == "company" || r.Type == "individual" {
			payers = append(payers, r)
		}
	}
	if len(payers) != 1 {
		return reference{}, fmt.Errorf("it is related to %d companies or individuals, and an invoice needs one: choose its client in Sellsy, then replay", len(payers))
	}
	return payers[0], nil
}

// since is from when on an invoice of this estimate can have been made: a day before the estimate itself,
// because its date has no time zone and can be set back.
func (e *estimate) since() time.Time {
	var from time.Time
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", time.DateTime} {
		if at, err := time.Parse(layout, e.Created); err == nil {
			from = at
			break
		}
	}
	if day, err := time.Parse(time.DateOnly, e.Date); err == nil && (from.IsZero() || day.Before(from)) {
		from = day
	}
	if from.IsZero() {
		return from
	}
	return from.AddDate(0, 0, -1).UTC()
}

// invoice is what relais reads of one.
type invoice struct {
	ID         int64  `json:"id"`
	Number     string `json:"number"`
	Status     string `json:"status"`
	Currency   string `json:"currency"`
	Parent     parent `json:"parent"`
	IsDeposit  bool   `json:"is_deposit"`
	IsProgress bool   `json:"is_progress_invoice"`
	Amounts    struct {
		Excl decimal `json:"total_excl_tax"`
		Incl decimal `json:"total_incl_tax"`
	} `json:"amounts"`
}

func (i *invoice) isOf(estimate int64) bool {
	return i.Parent.reference == reference{Type: "estimate", ID: estimate}
}

// name is how people find an invoice: a draft may have no number yet.
func (i *invoice) name() string {
	if i.Number != "" {
		return fmt.Sprintf("%s (id %d)", i.Number, i.ID)
	}
	return fmt.Sprintf("id %d", i.ID)
}

// difference is what the invoice's amount is more than the estimate's, exactly. ok is false when one of
// them isn't an amount.
func difference(invoiced, estimated decimal) (difference *big.Rat, ok bool) {
	a, readA := invoiced.amount()
	b, readB := estimated.amount()
	if !readA || !readB {
		return nil, false
	}
	return new(big.Rat).Sub(a, b), true
}

// amount reads a decimal; the bound keeps a hostile exponent from filling the memory.
func (d decimal) amount() (*big.Rat, bool) {
	if len(d) == 0 || len(d) > 40 {
		return nil, false
	}
	for _, r := range d {
		if (r < '0' || r > '9') && r != '.' && r != '-' {
			return nil, false
		}
	}
	return new(big.Rat).SetString(string(d))
}
