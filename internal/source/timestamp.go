package source

import (
	"strconv"
	"time"
)

const rfc3339 = "rfc3339"

// timestampUnits are the units of timestamps that are numbers, since 1970.
var timestampUnits = map[string]time.Duration{
	"": time.Second, "unix": time.Second, "unix-ms": time.Millisecond, "unix-us": time.Microsecond, "unix-ns": time.Nanosecond,
}

func parseTimestamp(format, text string) (time.Time, bool) {
	if format == rfc3339 {
		at, err := time.Parse(time.RFC3339, text)
		return at, err == nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	unit := timestampUnits[format]
	if err != nil || n < 0 || unit == 0 {
		return time.Time{}, false
	}
	perSecond := int64(time.Second / unit)
	// Year 9999: a larger number would wrap around and come out near now.
	if n/perSecond > 253402300799 {
		return time.Time{}, false
	}
	return time.Unix(n/perSecond, n%perSecond*int64(unit)), true
}

func formatTimestamp(format string, at time.Time) string {
	if format == rfc3339 {
		return at.UTC().Format(time.RFC3339)
	}
	perSecond := int64(time.Second / timestampUnits[format])
	return strconv.FormatInt(at.Unix()*perSecond+int64(at.Nanosecond())/int64(timestampUnits[format]), 10)
}
