//go:build !linux

package once

import "time"

// Clock is the wall clock, where there is none that counts sleep.
func Clock() time.Duration { return wallClock() }
