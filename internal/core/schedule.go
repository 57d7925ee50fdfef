package core

import "time"

// Schedule is the delays between attempts: the first before the first attempt.
type Schedule []time.Duration
