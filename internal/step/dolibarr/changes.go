package dolibarr

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/step/rest"
)

// fact is what an object's state tells of what happened to it.
type fact struct {
	code     string
	statuses []int64 // nil for any
	dates    []string
	// whole tells that the date is a day, without the time.
	whole bool
}

// modified is the date that any change sets: what happened may be as old as the object.
const modified = "date_modification"

// aDay is the longest that there is.
const aDay = 25 * time.Hour

// when is the time of a fact by its object: the earliest that it may be, and the latest.
func (f fact) when(o object) (earliest, latest time.Time) {
	made := time.Unix(o.number("date_creation", "datec"), 0)
	for _, name := range f.dates {
		n := o.number(name)
		if n <= 0 {
			continue
		}
		at := time.Unix(n, 0)
		switch {
		case name == modified:
			return made, at
		case f.whole:
			latest = at.Add(aDay)
			if at.Before(made) && made.Before(latest) {
				at = made
			}
			if touched := time.Unix(o.number(modified), 0); !touched.Before(at) && touched.Before(latest) {
				latest = touched
			}
			return at, latest
		}
		return at, at
	}
	return time.Time{}, time.Time{}
}

// facts are what can be told from the state of a kind of object. What leaves no date behind (a mail that was
// sent, a line that changed, a deletion) can't be told.
var facts = map[string][]fact{
	"thirdparties": {{code: "COMPANY_CREATE", dates: []string{"date_creation"}}},
	"proposals": {
		{code: "PROPAL_CREATE", dates: []string{"date_creation", "datec"}},
		{code: "PROPAL_VALIDATE", statuses: []int64{1, 2, 3, 4}, dates: []string{"date_validation", "datev"}},
		{code: "PROPAL_CLOSE_SIGNED", statuses: []int64{2, 4}, dates: []string{"date_signature"}},
		{code: "PROPAL_CLOSE_REFUSED", statuses: []int64{3}, dates: []string{"date_cloture", modified}},
	},
	"orders": {
		{code: "ORDER_CREATE", dates: []string{"date_creation"}},
		{code: "ORDER_VALIDATE", statuses: []int64{1, 2, 3}, dates: []string{"date_validation"}},
		{code: "ORDER_CLOSE", statuses: []int64{3}, dates: []string{"date_cloture", modified}},
	},
	"invoices": {
		{code: "BILL_CREATE", dates: []string{"date_creation"}},
		{code: "BILL_VALIDATE", statuses: []int64{1, 2, 3}, dates: []string{"date_validation"}, whole: true},
		{code: "BILL_PAYED", statuses: []int64{2}, dates: []string{"date_closing", modified}},
		{code: "BILL_CANCEL", statuses: []int64{3}, dates: []string{"date_closing", modified}},
	},
}

const (
	listSize = 100
	maxLists = 200
)

// Changes implements step.Poller. It asks for what was changed since the day before, because Dolibarr
// compares in its database's own time, and chooses by the dates that objects carry.
func (c *Connection) Changes(ctx context.Context, since time.Time) ([]step.Change, error) {
	var all []step.Change
	for kind, list := range facts {
		for page := 0; ; page++ {
			if page == maxLists {
				return nil, fmt.Errorf("there are more than %d %s since %s: choose a later time", maxLists*listSize, kind, since.Format(time.DateOnly))
			}
			found, err := c.list(ctx, "/"+kind, url.Values{
				"sortfield": {"t.rowid"}, "sortorder": {"ASC"}, "limit": {strconv.Itoa(listSize)}, "page": {strconv.Itoa(page)},
				"sqlfilters": {"(t.tms:>=:'" + since.AddDate(0, 0, -1).UTC().Format("20060102") + "')"},
			})
			if err != nil {
				return nil, c.explained("list "+kind, err)
			}
			for _, o := range found {
				if all, err = changesOf(all, o, list, since); err != nil {
					return nil, err
				}
			}
			if len(found) < listSize {
				break
			}
		}
	}
	slices.SortStableFunc(all, func(a, b step.Change) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Object, b.Object))
	})
	return all, nil
}

func changesOf(all []step.Change, o object, list []fact, since time.Time) ([]step.Change, error) {
	for _, f := range list {
		earliest, at := f.when(o)
		if at.Before(since) || f.statuses != nil && !slices.Contains(f.statuses, o.status()) || o.number("id") <= 0 {
			continue
		}
		body, err := json.Marshal(map[string]any{"triggercode": f.code, "object": clean(map[string]any(o))})
		if err != nil {
			return nil, err
		}
		all = append(all, step.Change{Type: f.code, Object: strconv.FormatInt(o.number("id"), 10), At: at, Earliest: earliest, Touched: time.Unix(o.number(modified), 0), Body: body})
	}
	return all, nil
}

// Past implements step.Poller: a change sets a date of its own.
func (c *Connection) Past() time.Duration { return 24 * time.Hour }

// ObjectOf implements step.Poller.
func (c *Connection) ObjectOf(data any) string {
	body, _ := data.(map[string]any)
	o, _ := body["object"].(map[string]any)
	if o == nil || o["id"] == nil {
		return ""
	}
	return fmt.Sprint(o["id"])
}

// UnreachableError is a call that got no answer, of somebody who set relais up: the address may be wrong.
type UnreachableError struct {
	Address string // as the setting url has it, without a name and a password
	Why     string
}

func (e *UnreachableError) Error() string { return e.Address + ": " + e.Why }

// explained gives a failed call the words of a failed step; of one without an answer it tells the address.
func (c *Connection) explained(doing string, err error) error {
	var unanswered *rest.UnreadError
	if errors.As(err, &unanswered) && unanswered.Status == 0 {
		return &UnreachableError{Address: strings.TrimSuffix(c.api.Base, apiPath), Why: egress.Explain(err)}
	}
	return system.Explained(doing, err)
}

// fired are codes that Dolibarr calls for and doesn't list.
var fired = []string{"BILL_CREATE", "ORDER_CREATE", "PAYMENT_CUSTOMER_CREATE", "PROPAL_CREATE"}

// ErrNoWebhookAPI says that webhooks can't be set up through the API of this Dolibarr.
var ErrNoWebhookAPI = errors.New("this Dolibarr has no webhooks in its API: the module Webhooks is off, or it is older than version 20")

// Events implements step.Hooked.
func (c *Connection) Events(ctx context.Context) ([]string, error) {
	var known map[string]any
	if err := c.read(ctx, http.MethodGet, "/webhook/triggers", nil, nil, &known); err != nil {
		return nil, c.webhookError("list the triggers", err)
	}
	codes := slices.Clone(fired)
	for code := range known {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return slices.Compact(codes), nil
}

func (c *Connection) webhookError(doing string, err error) error {
	var failed *rest.Error
	if errors.As(err, &failed) && noCall(failed) {
		return ErrNoWebhookAPI
	}
	return c.explained(doing, err)
}

// What a target of a webhook is: one that fails must not undo the user's action, and it is called by itself.
const (
	targetNonBlocking = 1
	targetAutomatic   = 1
)

// Install implements step.Hooked. The target is known again by its label.
func (c *Connection) Install(ctx context.Context, want step.Webhook, dry bool) (step.Installed, error) {
	list, err := c.list(ctx, "/webhook", url.Values{"limit": {"100"}})
	if err != nil {
		return step.Installed{}, c.webhookError("list the webhooks", err)
	}
	codes := ""
	for i, code := range want.Events {
		if i > 0 {
			codes += ","
		}
		codes += code
	}
	target := object{"label": want.Label, "url": want.URL, "trigger_codes": codes, "type": targetNonBlocking, "status": targetAutomatic}
	for _, o := range list {
		if o.text("label") != want.Label {
			continue
		}
		out := step.Installed{Action: "unchanged", ID: o.text("id", "rowid")}
		for _, name := range []string{"url", "trigger_codes", "type", "status"} {
			is, should := o.text(name), fmt.Sprint(target[name])
			if is == should {
				continue
			}
			different := step.Difference{Name: name, Old: is, New: should}
			if name == "url" {
				different = want.AddressDifference(name, is)
			}
			out.Action, out.Changes = "updated", append(out.Changes, different)
		}
		if dry || out.Action == "unchanged" {
			return out, nil
		}
		return out, c.webhookErrorOrNil("change the webhook", c.read(ctx, http.MethodPut, "/webhook/"+url.PathEscape(out.ID), nil, target, nil))
	}
	out := step.Installed{Action: "created"}
	if dry {
		return out, nil
	}
	var id any
	err = c.read(ctx, http.MethodPost, "/webhook", nil, target, &id)
	out.ID = object{"id": id}.text("id")
	return out, c.webhookErrorOrNil("make the webhook", err)
}

func (c *Connection) webhookErrorOrNil(doing string, err error) error {
	if err == nil {
		return nil
	}
	return c.webhookError(doing, err)
}
