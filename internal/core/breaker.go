package core

import "time"

// BreakerState is a lane's breaker as it is kept between attempts.
type BreakerState struct {
	Failures  int       // in a row
	RestUntil time.Time // zero when closed
	Since     time.Time // of the first failure in the row
}
