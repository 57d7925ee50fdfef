package sellsy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/step/once"
)

// CreateInvoice is the step sellsy/create-invoice.
func CreateInvoice() step.Kind {
	return step.Kind{
		Name:       "sellsy/create-invoice",
		Class:      step.ClassExact,
		Connection: "sellsy",
		Doc: "Makes the invoice of an accepted estimate, once, and leaves it as a draft. " +
			"Its result has status (created for this event, existing or skipped), id, number (a draft may have none), reference (the number, or #id), total_incl_tax, difference, validated and message.",
		Result: []string{"status", "id", "number", "reference", "invoice_status", "currency", "total_excl_tax", "total_incl_tax",
			"estimate", "estimate_number", "estimate_total_incl_tax", "difference", "totals_match", "validated", "message"},
		Params: []step.Param{
			{Name: "estimate", Type: step.TypeString, Required: true, Check: checkEstimate,
				Doc: "The estimate's id: ${{ event.data.relatedid }}. It is read from Sellsy; one that isn't accepted is skipped."},
			{Name: "validate", Type: step.TypeBool, Default: false,
				Doc: "Makes the invoice final, when its totals are the estimate's. It can't be edited afterwards."},
		},
		Run: run,
	}
}

func checkEstimate(value any) error {
	if text, ok := value.(string); ok && strings.Contains(text, "${{") {
		return nil
	}
	_, err := estimateID(value)
	return err
}

var errEstimateID = errors.New("it must be the number of an estimate: ${{ event.data.relatedid }}")

func estimateID(value any) (int64, error) {
	var id int64
	switch v := value.(type) {
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || strings.HasPrefix(v, "+") {
			return 0, errEstimateID
		}
		id = n
	case int:
		id = int64(v)
	case int64:
		id = v
	case uint64:
		id = int64(min(v, 1<<62))
	}
	if id <= 0 {
		return 0, errEstimateID
	}
	return id, nil
}

func run(ctx context.Context, call *step.Call) (step.Result, error) {
	connection, ok := call.Connection.(*Connection)
	if !ok {
		return nil, errors.New("the connection of sellsy/create-invoice is not a Sellsy account")
	}
	id, err := estimateID(call.With["estimate"])
	if err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: "estimate: " + err.Error()}
	}
	validate, _ := call.With["validate"].(bool)
	c := &creation{Connection: connection, call: call, id: id}
	c.effect = connection.newEffect(call, effectKind, "invoice/estimate/"+strconv.FormatInt(id, 10), fmt.Sprintf("the invoice of estimate %d", id))
	made, skipped, err := c.make(ctx)
	if err != nil || skipped != nil {
		return skipped, err
	}
	if validate {
		if err := c.validate(ctx, made); err != nil {
			return nil, err
		}
	}
	return made.result(), nil
}

// Point is a place in the protocol, for tests that crash or stall there.
type Point = once.Point

// The points, in the order in which a first attempt meets them.
const (
	PointOpened    = once.PointOpened
	PointLookedUp  = once.PointLookedUp
	PointBefore    = once.PointBefore
	PointSent      = once.PointSent
	PointLastByte  = once.PointLastByte
	PointAnswered  = once.PointAnswered
	PointConfirmed = once.PointConfirmed
	PointDone      = once.PointDone
)

// Hook is called at each point.
type Hook = once.Hook

// SetHook sets the hook of a connection that a ConnectionKind opened. It is for tests.
func SetHook(connection any, hook Hook) {
	if c, ok := connection.(*Connection); ok {
		c.rules.Hook = hook
	}
}
