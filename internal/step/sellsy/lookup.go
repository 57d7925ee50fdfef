package sellsy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"relais/internal/step/rest"
)

const (
	pageSize = 100
	// maxPages bounds a look-up: a hundred thousand invoices of one client since one estimate.
	maxPages = 1000
)

// found is what a look-up says about an estimate's invoices.
type found struct {
	whole     []invoice // that take the place of ours
	parts     []invoice // deposit and progress invoices
	cancelled []invoice
}

// lookUp reads all invoices of the estimate's client since the estimate was made, since Sellsy can't be
// asked for those of an estimate, and sorts out its own.
func (c *client) lookUp(ctx context.Context, e *estimate, payer reference) (found, error) {
	filters := map[string]any{"related_objects": []reference{payer}}
	if since := e.since(); !since.IsZero() {
		filters["created"] = map[string]string{"start": since.Format(time.RFC3339)}
	}
	in := map[string]any{"filters": filters}
	var all found
	seen := map[int64]bool{}
	offset := ""
	for range maxPages {
		query := url.Values{"limit": {strconv.Itoa(pageSize)}, "order": {"id"}, "direction": {"asc"}}
		if offset != "" {
			query.Set("offset", offset)
		}
		var page struct {
			Pagination struct {
				Count  int             `json:"count"`
				Total  int             `json:"total"`
				Offset json.RawMessage `json:"offset"`
			} `json:"pagination"`
			Data *[]invoice `json:"data"`
		}
		if err := c.read(ctx, http.MethodPost, "/invoices/search?"+query.Encode(), in, &page); err != nil {
			return found{}, err
		}
		if page.Data == nil {
			return found{}, rest.Unreadable("the search's answer has no data")
		}
		fresh := all.sort(*page.Data, e.ID, seen)
		next := cursor(page.Pagination.Offset)
		stuck := next == "" || next == offset || !fresh
		// A short page is the last one, unless there are more by the search's own count.
		short := len(*page.Data) < pageSize && page.Pagination.Count < pageSize
		if len(*page.Data) == 0 || short && (stuck || page.Pagination.Total <= len(seen)) {
			return all, nil
		}
		if stuck {
			// A full page that leads nowhere: what comes behind it can't be seen, so nothing is certain.
			return found{}, rest.Unreadable("the search's pages don't end")
		}
		offset = next
	}
	return found{}, rest.Unreadable("the search has more than %d pages", maxPages)
}

// sort adds the estimate's own invoices, and tells whether the page held any that wasn't seen before.
func (f *found) sort(page []invoice, estimate int64, seen map[int64]bool) (fresh bool) {
	for _, inv := range page {
		if seen[inv.ID] {
			continue
		}
		seen[inv.ID], fresh = true, true
		if !inv.isOf(estimate) {
			continue
		}
		switch {
		case inv.Status == "cancelled":
			f.cancelled = append(f.cancelled, inv)
		case inv.IsDeposit || inv.IsProgress:
			f.parts = append(f.parts, inv)
		default:
			f.whole = append(f.whole, inv)
		}
	}
	return fresh
}

// cursor reads pagination.offset: a text, or a number.
func cursor(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var n int64
	if json.Unmarshal(raw, &n) == nil && n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return ""
}
