package once

import (
	"fmt"
	"time"

	"relais/internal/step"
)

const (
	defaultRequest = 30 * time.Second
	defaultSettle  = 2 * time.Minute
	defaultRecheck = 30 * time.Second
)

// Rules are the times of the protocol on one connection.
type Rules struct {
	// Request bounds one call, Settle is how long what was sent may take to be seen, Recheck lies between
	// two look-ups that find nothing.
	Request, Settle, Recheck time.Duration
	// Clock goes on while the machine sleeps and while the process is stopped.
	Clock func() time.Duration
	// Hook is called at each Point; nil outside of tests.
	Hook Hook
}

// Params are a connection's settings of these times, for one that makes invoices.
func Params() []step.Param {
	return []step.Param{
		{Name: "request_timeout", Type: step.TypeDuration, Default: defaultRequest, Doc: "How long one call may take, its answer included."},
		{Name: "settle", Type: step.TypeDuration, Default: defaultSettle, Doc: "How long a sent invoice is left alone before it is looked for. More than twice request_timeout."},
		{Name: "recheck", Type: step.TypeDuration, Default: defaultRecheck, Doc: "How long after a look-up that found nothing the second one counts."},
	}
}

// RulesOf reads Params' settings.
func RulesOf(settings map[string]any) (Rules, error) {
	r := Rules{
		Request: duration(settings, "request_timeout", defaultRequest),
		Settle:  duration(settings, "settle", defaultSettle),
		Recheck: duration(settings, "recheck", defaultRecheck),
		Clock:   Clock,
	}
	if r.Request <= 0 || r.Settle <= 2*r.Request {
		return Rules{}, fmt.Errorf("settle is %s and request_timeout %s: settle must be more than twice request_timeout, which must be more than 0",
			r.Settle, r.Request)
	}
	return r, nil
}

func duration(settings map[string]any, name string, otherwise time.Duration) time.Duration {
	if d, ok := settings[name].(time.Duration); ok {
		return d
	}
	return otherwise
}

// At is called at each point.
func (r *Rules) At(p Point) error {
	if r.Hook == nil {
		return nil
	}
	return r.Hook(p)
}
