package once

import "time"

// wallClock is the fallback where there is no clock that counts sleep: the wall clock does, and if it is
// set back meanwhile, a request may leave later than it should. Linux doesn't use it.
func wallClock() time.Duration { return time.Duration(time.Now().UnixNano()) }
