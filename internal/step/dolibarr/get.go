package dolibarr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/step/rest"
)

// objects are what dolibarr/get reads, as the API's paths name them.
var objects = []string{
	"agendaevents", "bankaccounts", "boms", "categories", "contacts", "contracts", "expensereports", "interventions",
	"invoices", "members", "mos", "orders", "products", "projects", "proposals", "receptions", "shipments",
	"supplierinvoices", "supplierorders", "supplierproposals", "tasks", "thirdparties", "tickets", "users", "warehouses",
}

// Get is the step dolibarr/get.
func Get() step.Kind {
	return step.Kind{
		Name: "dolibarr/get", Class: step.ClassExact, Connection: "dolibarr",
		Doc: "Reads an object of Dolibarr. One that isn't there is asked for again for 10 minutes after the event, " +
			"since Dolibarr tells before its commit; then the delivery is dead as rolled_back. Its result has id, ref and object.",
		Result: []string{"id", "ref", "object"},
		Params: []step.Param{
			{Name: "object", Type: step.TypeString, Required: true, Literal: true, Enum: objects, Doc: "What it is."},
			{Name: "id", Type: step.TypeString, Required: true, Check: checkID, Doc: "Its id: ${{ event.data.object.id }}."},
		},
		Run: get,
	}
}

func get(ctx context.Context, call *step.Call) (step.Result, error) {
	c, ok := call.Connection.(*Connection)
	if !ok {
		return nil, errors.New("the connection of dolibarr/get is not a Dolibarr")
	}
	id, err := parseID(call.With["id"])
	if err != nil {
		return nil, parameter("id", err)
	}
	kind, _ := call.With["object"].(string)
	doing := fmt.Sprintf("read %s %d", kind, id)
	o, err := c.object(ctx, kind, id)
	if isAbsent(err) {
		return nil, absent(call, doing+": Dolibarr doesn't have it")
	}
	if err != nil {
		return nil, system.Failure(doing, err)
	}
	return step.Result{"id": id, "ref": o.text("ref"), "object": clean(map[string]any(o))}, nil
}

// object reads one object.
func (c *Connection) object(ctx context.Context, kind string, id int64) (object, error) {
	var o object
	err := c.read(ctx, http.MethodGet, "/"+url.PathEscape(kind)+"/"+strconv.FormatInt(id, 10), nil, nil, &o)
	if err == nil && o.number("id", "rowid") != id {
		err = rest.Unreadable("asked for %d, Dolibarr answered with %q", id, o.text("id"))
	}
	return o, err
}

const (
	// patience is how long after the event something may take to be seen: it was told of before the commit.
	patience            = 10 * time.Minute
	firstWait, lastWait = 2 * time.Second, time.Minute
)

// absent is for what isn't there yet, or never will be.
func absent(call *step.Call, message string) error {
	var age time.Duration
	if call.Event != nil {
		age = call.Now().Sub(call.Event.ReceivedAt)
	}
	if age >= patience {
		return &step.Failure{Disposition: step.Final, Reason: core.ReasonRolledBack,
			Message: message + ", 10 minutes after it was told of: the user's action was rolled back, or it was undone or deleted since"}
	}
	// It waits as long again as it has waited, so that the usual second costs a second.
	return &step.Failure{Disposition: step.Wait, Reason: core.ReasonNotReady,
		After: min(max(age, firstWait), lastWait, patience-age+time.Second), Message: message + " yet"}
}

func checkID(value any) error {
	if text, ok := value.(string); ok && strings.Contains(text, "${{") {
		return nil
	}
	_, err := parseID(value)
	return err
}

var errID = errors.New("it must be the number of an object: ${{ event.data.object.id }}")

func parseID(value any) (int64, error) {
	id, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
	if err != nil || id <= 0 || strconv.FormatInt(id, 10) != fmt.Sprint(value) {
		return 0, errID
	}
	return id, nil
}

func parameter(name string, err error) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: name + ": " + err.Error()}
}
