package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pace calls due(0), due(1), … up to total, each when it is due, or at once when it is late.
//
// It waits on a timerfd: the runtime's own timers are rounded up to whole milliseconds while the process
// is idle, which would be most of what is measured here.
func pace(ctx context.Context, start time.Time, interval time.Duration, total int64, due func(int64)) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timer")
	defer timer.Close()                                                                   //nolint:errcheck // nothing is written to it
	stop := context.AfterFunc(ctx, func() { _ = timer.SetReadDeadline(time.Unix(1, 0)) }) // ends the read below
	defer stop()
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(interval.Nanoseconds()),
		Value:    unix.NsecToTimespec(max(time.Until(start).Nanoseconds(), 1)),
	}
	if err := unix.TimerfdSettime(fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("set a timer: %w", err)
	}
	var expired [8]byte
	for next := int64(0); next < total; {
		if _, err := timer.Read(expired[:]); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("wait for a timer: %w", err)
		}
		passed := int64(binary.NativeEndian.Uint64(expired[:])) //nolint:gosec // ticks of one run
		for end := min(next+passed, total); next < end; next++ {
			due(next)
		}
	}
	return nil
}
