package core

import "time"

// Schedule is the delays between attempts: the first before the first attempt.
type Schedule []time.Duration

// DefaultSchedule makes ten attempts over about three days: soon at first, for a restart or a lost
// packet, then slowly enough for a week-end's outage. It must not be changed.
var DefaultSchedule = Schedule{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// Next returns how long to wait before the attempt that follows the given number of attempts, or false
// when that was the last. Jitter, in [0,1), moves the delay within ±20 %, so that deliveries that
// failed together don't come back together. A nil Schedule is the DefaultSchedule.
func (s Schedule) Next(attempts int, jitter float64) (time.Duration, bool) {
	if s == nil {
		s = DefaultSchedule
	}
	attempts = max(attempts, 0)
	if attempts >= len(s) {
		return 0, false
	}
	jitter = min(max(jitter, 0), 1)
	return time.Duration(float64(s[attempts]) * (0.8 + 0.4*jitter)), true
}

// Bounds of a delay that another system asked for.
const (
	MinRetryAfter = time.Second
	MaxRetryAfter = 24 * time.Hour
)

// ClampRetryAfter bounds a delay that another system asked for (Retry-After): below, so that "0" is no
// invitation to hammer; above, so that a mistaken date doesn't bury a delivery. Zero or less stays "not
// asked for".
func ClampRetryAfter(asked time.Duration) time.Duration {
	if asked <= 0 {
		return 0
	}
	return min(max(asked, MinRetryAfter), MaxRetryAfter)
}

// PastMaxAge tells whether a delivery made at created would be older than maxAge at that time. Zero is
// no bound.
func PastMaxAge(created, at time.Time, maxAge time.Duration) bool {
	return maxAge > 0 && at.Sub(created) > maxAge
}
