package doli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lists are the kinds that can be listed and read, with what the API calls one that is absent.
var lists = map[string]string{
	"proposals": "Commercial Proposal", "invoices": "Invoice", "orders": "Order", "thirdparties": "Thirdparty",
	"products": "Product", "contacts": "Contact", "projects": "Project",
}

var listParameters = []string{"sortfield", "sortorder", "limit", "page", "thirdparty_ids", "sqlfilters"}

func (d *Dolibarr) routes() {
	for kind, name := range lists {
		d.handle("GET /"+kind+"/{id}", []string{"contact_list"}, func(c *call) (any, *failed) { return d.get(kind, name, c.id()) })
		d.handle("GET /"+kind, listParameters, func(c *call) (any, *failed) { return d.list(kind, c) })
	}
	d.handle("GET /invoices/ref_ext/{ref}", nil, d.byRefExt)
	d.handle("POST /invoices", nil, d.postInvoice)
	d.handle("POST /invoices/{id}/validate", nil, d.postValidate)
	if !d.opts.NoWebhooks {
		d.webhookRoutes()
	}
	d.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, fail(http.StatusNotFound, "Not Found"))
	})
}

// Add keeps an object of a kind ("proposals") and returns its id, as a person's work in the browser does.
func (d *Dolibarr) Add(kind string, o Object) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keep(kind, maps.Clone(o), 0)
}

// keep gives the object an id, where it has none. The caller holds the lock.
func (d *Dolibarr) keep(kind string, o Object, late time.Duration) int64 {
	id := integer(o["id"])
	if id == 0 {
		d.lastID++
		id = d.lastID
	}
	d.lastID = max(d.lastID, id)
	o["id"] = strconv.FormatInt(id, 10)
	now := d.opts.Now()
	o["date_modification"] = now.Unix()
	if d.kept[kind] == nil {
		d.kept[kind] = map[int64]*row{}
	}
	d.kept[kind][id] = &row{object: o, changed: now, visible: now.Add(late)}
	return id
}

// Change sets members of an object, as a person does.
func (d *Dolibarr) Change(kind string, id int64, changes Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := maps.Clone(d.kept[kind][id].object)
	maps.Copy(o, changes)
	d.keep(kind, o, 0)
}

// Object returns an object as it is kept, nil where there is none.
func (d *Dolibarr) Object(kind string, id int64) Object {
	d.mu.Lock()
	defer d.mu.Unlock()
	if found := d.kept[kind][id]; found != nil {
		return maps.Clone(found.object)
	}
	return nil
}

// InvoicesOf lists the invoices that are linked to a proposal or carry its ref_ext, oldest first.
func (d *Dolibarr) InvoicesOf(proposal int64) []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []int64
	for id, r := range d.kept["invoices"] {
		links, _ := r.object["linked_objects"].(Object)
		if integer(links["propal"]) == proposal || r.object["ref_ext"] == fmt.Sprintf("relais-propal-%d", proposal) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (d *Dolibarr) get(kind, name string, id int64) (any, *failed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.seen(kind, id)
	if found == nil {
		return nil, fail(http.StatusNotFound, "Not Found: %s not found", name)
	}
	return d.shown(kind, found), nil
}

// seen is an object whose transaction has ended. The caller holds the lock.
func (d *Dolibarr) seen(kind string, id int64) *row {
	if r := d.kept[kind][id]; r != nil && !r.visible.After(d.opts.Now()) {
		return r
	}
	return nil
}

// shown is the object as the call for one gives it: with the ids of what is linked to it.
func (d *Dolibarr) shown(kind string, r *row) Object {
	o := maps.Clone(r.object)
	delete(o, "linked_objects")
	elements := map[string]string{"proposals": "propal", "orders": "commande"}
	links := Object{}
	for to, element := range map[string]string{"invoices": "facture", "orders": "commande"} {
		of := Object{}
		for id, other := range d.kept[to] {
			linked, _ := other.object["linked_objects"].(Object)
			if d.seen(to, id) != nil && elements[kind] != "" && integer(linked[elements[kind]]) == integer(o["id"]) {
				of[strconv.FormatInt(100+id, 10)] = strconv.FormatInt(id, 10)
			}
		}
		if len(of) > 0 {
			links[element] = of
		}
	}
	o["linkedObjectsIds"] = links
	if len(links) == 0 {
		o["linkedObjectsIds"] = []any{}
	}
	return o
}

var filter = regexp.MustCompile(`^\(t\.([a-z_]+):(=|>=|>):'([^':]*)'\)$`)

func (d *Dolibarr) list(kind string, c *call) (any, *failed) {
	q := c.URL.Query()
	match, no := d.filtered(q.Get("sqlfilters"))
	if no != nil {
		return nil, no
	}
	limit, page := 100, 0
	if text := q.Get("limit"); text != "" {
		limit = int(integer(text))
	}
	page = int(integer(q.Get("page")))
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []int64
	for id := range d.kept[kind] {
		if r := d.seen(kind, id); r != nil && match(r) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	list := []Object{}
	for _, id := range ids[min(page*limit, len(ids)):min((page+1)*limit, len(ids))] {
		o := maps.Clone(d.kept[kind][id].object)
		delete(o, "linked_objects")
		list = append(list, o)
	}
	return list, nil
}

// filtered reads one criterion of sqlfilters.
func (d *Dolibarr) filtered(text string) (func(*row) bool, *failed) {
	if text == "" {
		return func(*row) bool { return true }, nil
	}
	parts := filter.FindStringSubmatch(text)
	if parts == nil {
		return nil, fail(http.StatusBadRequest, "Bad Request: Error when validating parameter sqlfilters -> %s", text)
	}
	switch name, value := parts[1], parts[3]; {
	case name == "ref_ext" && parts[2] == "=":
		// The database compares without regard to case.
		return func(r *row) bool { return strings.EqualFold(fmt.Sprint(r.object["ref_ext"]), value) }, nil
	case name == "tms" && parts[2] != "=":
		since, err := time.ParseInLocation("20060102", value, time.UTC)
		if err == nil {
			return func(r *row) bool { return !r.changed.Before(since) }, nil
		}
	}
	return nil, fail(http.StatusServiceUnavailable, "Service Unavailable: Error when retrieve list : unknown column or value in %s", text)
}

func integer(v any) int64 {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// decode gives the members of a literal object the types that a request has.
func decode(o Object) Object {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err) //nolint:forbidigo // it is written in a test
	}
	var out Object
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err) //nolint:forbidigo // as above
	}
	return out
}
