package sellsy

import (
	"fmt"

	"relais/internal/step"
)

// skip is the result for an estimate that isn't to be invoiced, with why.
func skip(e *estimate) step.Result {
	why := "only an accepted one is invoiced"
	switch e.Status {
	case "invoiced":
		why = "it has its invoice already, by Sellsy's word, though none was found of its client with it as parent"
	case "partialinvoiced":
		why = "a part of it is invoiced already: make the rest by hand"
	case "advanced":
		why = "a deposit was invoiced on it: make the final invoice by hand"
	}
	return step.Result{
		"status": "skipped", "reason": e.Status, "estimate": e.ID, "estimate_number": e.Number,
		"message": fmt.Sprintf("estimate %s (id %d) is %s: %s", e.Number, e.ID, e.Status, why),
	}
}
