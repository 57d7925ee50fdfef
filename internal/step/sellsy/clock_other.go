//go:build !linux

package sellsy

import "time"

func sleeplessClock() time.Duration { return wallClock() }
