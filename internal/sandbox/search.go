package sandbox

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// page is what a list is asked for.
type page struct {
	limit      int
	offset     int   // when the offset is a number
	after      int64 // when it is a cursor: the id of the last object seen
	order      string
	descending bool
	cursor     string
}

const cursorPrefix = "after:"

func readPage(q url.Values, orders ...string) (page, *apiError) {
	p := page{limit: 25, order: "id", cursor: q.Get("offset")}
	wrong := details{}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 100 {
			wrong.add("limit", "This value should be between 0 and 100.")
		}
		p.limit = n
	}
	switch direction := q.Get("direction"); direction {
	case "", "asc":
	case "desc":
		p.descending = true
	default:
		wrong.add("direction", "The value you selected is not a valid choice: asc, desc.")
	}
	if order := q.Get("order"); order != "" {
		if !slices.Contains(orders, order) {
			wrong.add("order", "The value you selected is not a valid choice.")
		}
		p.order = order
	}
	if p.cursor != "" {
		n, err := strconv.Atoi(p.cursor)
		decoded, bad := base64.RawURLEncoding.DecodeString(p.cursor)
		switch text := string(decoded); {
		case err == nil && n >= 0:
			p.offset = n
		case bad == nil && len(text) > len(cursorPrefix) && text[:len(cursorPrefix)] == cursorPrefix:
			p.after, err = strconv.ParseInt(text[len(cursorPrefix):], 10, 64)
			if err != nil {
				wrong.add("offset", "This cursor is not valid.")
			}
		default:
			wrong.add("offset", "This cursor is not valid.")
		}
	}
	if len(wrong) > 0 {
		return p, invalid(wrong)
	}
	return p, nil
}

// paged cuts one page out of a sorted list and says how to go on. The cursor stands on the last page too:
// a client that goes on until there is none never stops.
func paged(list []object, p page) object {
	start := min(p.offset, len(list))
	if p.after != 0 {
		start = 1 + slices.IndexFunc(list, func(o object) bool { return integerOf(o["id"]) == p.after })
	}
	end := min(start+p.limit, len(list))
	data := make([]any, 0, end-start)
	for _, o := range list[start:end] {
		data = append(data, o)
	}
	var offset any = p.cursor
	if end > start {
		last := strconv.FormatInt(integerOf(list[end-1]["id"]), 10)
		offset = base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + last))
	}
	return object{
		"pagination": object{"limit": p.limit, "total": len(list), "count": end - start, "offset": offset},
		"data":       data,
	}
}

// searchInvoices finds the invoices that match every filter, and that a search may find already.
func (s *Sandbox) searchInvoices(o object, p page) (object, *apiError) {
	wrong := details{}
	invoiceSearch.check("", o, wrong)
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	filters := o["filters"].(object)
	now := s.opts.Now()
	var found []*invoice
	for _, inv := range s.candidates(filters) {
		if !inv.found.After(now) && matches(inv, filters) {
			found = append(found, inv)
		}
	}
	slices.SortFunc(found, func(a, b *invoice) int { return compareInvoices(a, b, p) })
	list := make([]object, len(found))
	for i, inv := range found {
		list[i] = inv.object.clone()
		delete(list[i], "rows") // only the whole object has them
	}
	return paged(list, p), nil
}

// searchEstimates finds the estimates by status and by when they were made.
func (s *Sandbox) searchEstimates(r *request) (int, any, *apiError) {
	p, failed := readPage(r.http.URL.Query(), "id", "number", "created", "date", "expiry_date", "amount")
	if failed != nil {
		return 0, nil, failed
	}
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	wrong := details{}
	estimateSearch.check("", body, wrong)
	if len(wrong) > 0 {
		return 0, nil, invalid(wrong)
	}
	filters := body["filters"].(object)
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []object
	for _, o := range s.estimates {
		text, _ := o["created"].(string)
		created, err := time.Parse(time.RFC3339, text)
		if err == nil && within(filters["created"], created, time.RFC3339) && among(filters["status"], o["status"]) {
			found := o.clone()
			delete(found, "rows") // only the whole object has them
			list = append(list, found)
		}
	}
	slices.SortFunc(list, func(a, b object) int { return cmp.Compare(integerOf(a["id"]), integerOf(b["id"])) })
	return http.StatusOK, paged(list, p), nil
}

// candidates are the invoices of one of the related objects, or all.
func (s *Sandbox) candidates(filters object) []*invoice {
	refs, ok := filters["related_objects"].([]any)
	if !ok || len(refs) == 0 {
		all := make([]*invoice, 0, len(s.invoices))
		for _, inv := range s.invoices {
			all = append(all, inv)
		}
		return all
	}
	if len(refs) == 1 {
		return s.byRelated[reference(refs[0])]
	}
	var list []*invoice
	for _, v := range refs {
		for _, inv := range s.byRelated[reference(v)] {
			if !slices.Contains(list, inv) {
				list = append(list, inv)
			}
		}
	}
	return list
}

func matches(inv *invoice, filters object) bool {
	o := inv.object
	owner, _ := o["owner"].(object)
	day, _ := o["date"].(string)
	parsedDay, _ := time.Parse(time.DateOnly, day)
	return within(filters["created"], inv.created, time.RFC3339) &&
		within(filters["date"], parsedDay, time.DateOnly) &&
		among(filters["owners"], integerOf(owner["id"])) &&
		among(filters["contacts"], integerOf(o["contact_id"])) &&
		among(filters["assigned_staff_ids"], integerOf(o["assigned_staff_id"])) &&
		among(filters["status"], o["status"]) &&
		same(filters["number"], o["number"]) && same(filters["currency"], o["currency"]) &&
		same(filters["is_deposit"], o["is_deposit"]) &&
		same(filters["is_progress_invoice"], o["is_progress_invoice"]) &&
		filters["credit_note_id"] == nil && filters["favourite_filter"] == nil
}

func within(filter any, at time.Time, layout string) bool {
	start, end := period(filter)
	if from, err := time.Parse(layout, start); err == nil && at.Before(from) {
		return false
	}
	if until, err := time.Parse(layout, end); err == nil && at.After(until) {
		return false
	}
	return true
}

func among(filter, v any) bool {
	list, ok := filter.([]any)
	return !ok || len(list) == 0 || slices.Contains(list, v)
}

func same(filter, v any) bool { return filter == nil || filter == v }

func compareInvoices(a, b *invoice, p page) int {
	order := 0
	switch p.order {
	case "created":
		order = a.created.Compare(b.created)
	case "number", "date", "due_date":
		left, _ := a.object[p.order].(string)
		right, _ := b.object[p.order].(string)
		order = cmp.Compare(left, right)
	case "amount":
		order = decimalOf(a.object["amounts"].(object)["total_incl_tax"]).
			Cmp(decimalOf(b.object["amounts"].(object)["total_incl_tax"]))
	}
	if order == 0 {
		order = cmp.Compare(integerOf(a.object["id"]), integerOf(b.object["id"]))
	}
	if p.descending {
		return -order
	}
	return order
}
