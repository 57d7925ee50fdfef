//go:build !unix

package lane_test

import (
	"testing"
	"time"
)

// processorTime isn't known here.
func processorTime(*testing.B) time.Duration { return 0 }
