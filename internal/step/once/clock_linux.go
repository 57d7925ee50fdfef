package once

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock counts the time since the machine was started, the time that it slept included. A stopped
// process doesn't stop it. time.Now's monotonic reading is no substitute: it stands still in a sleep.
func Clock() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return wallClock()
	}
	return time.Duration(now.Nano())
}
