package sellsy

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"relais/internal/core"
	"relais/internal/step"
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
	c := &creation{Connection: connection, call: call, id: id, key: "invoice/estimate/" + strconv.FormatInt(id, 10)}
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
type Point string

// The points, in the order in which a first attempt meets them.
const (
	PointOpened    Point = "opened"           // the effect is in the ledger
	PointLookedUp  Point = "looked up"        // nothing was found
	PointBefore    Point = "before sent"      // the invoice is written, the ledger says open
	PointSent      Point = "sent"             // the ledger says sent, nothing has left
	PointLastByte  Point = "before last byte" // Sellsy has the request but for its last byte
	PointAnswered  Point = "answered"         // the invoice is made, only memory knows it
	PointConfirmed Point = "confirmed"        // it was looked up again
	PointDone      Point = "done"             // the ledger knows it
)

// Hook is called at each point. An error ends the attempt there, as a crash would: nothing more is
// written or sent.
type Hook func(Point) error

// SetHook sets the hook of a connection that a ConnectionKind opened. It is for tests.
func SetHook(connection any, hook Hook) {
	if c, ok := connection.(*Connection); ok {
		c.hook = hook
	}
}

func (c *Connection) at(p Point) error {
	if c.hook == nil {
		return nil
	}
	return c.hook(p)
}
