//go:build !linux

package bench

import (
	"context"
	"time"
)

// pace calls due(0), due(1), … up to total, each when it is due, or at once when it is late.
func pace(ctx context.Context, start time.Time, interval time.Duration, total int64, due func(int64)) error {
	for next := range total {
		if wait := time.Until(start.Add(time.Duration(next) * interval)); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		due(next)
	}
	return nil
}
