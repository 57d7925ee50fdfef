package core

// MaxTypeLength bounds an event type, in bytes.
const MaxTypeLength = 128

// UntypedEvent is the type of an event whose provider gave nothing that a type can be made of.
const UntypedEvent = "unknown"

// NormalizeType makes an event type of what a provider wrote: segments of [A-Za-z0-9_-] joined by '.'.
// Any other character becomes '.', and segments are never empty, so "orders/create" and
// "/orders//create/" are both "orders.create". What passes MaxTypeLength is cut, not refused: a
// provider's odd name must not lose an event, and the event keeps the native one. A name that is normal
// already is returned as it is, without a copy.
func NormalizeType(native string) string {
	if isNormalType(native) {
		return native
	}
	var buf [MaxTypeLength]byte
	out := buf[:0]
	gap := false
	for i := 0; i < len(native); i++ {
		c := native[i]
		if !isSegmentByte(c) {
			gap = len(out) > 0
			continue
		}
		need := 1
		if gap {
			need = 2
		}
		if len(out)+need > MaxTypeLength {
			break
		}
		if gap {
			out = append(out, '.')
			gap = false
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return UntypedEvent
	}
	return string(out)
}

// IsType tells whether a name follows the grammar of event types as it stands.
func IsType(name string) bool { return isNormalType(name) }

func isNormalType(s string) bool {
	if s == "" || len(s) > MaxTypeLength {
		return false
	}
	afterDot := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isSegmentByte(c):
			afterDot = false
		case c == '.' && !afterDot:
			afterDot = true
		default:
			return false
		}
	}
	return !afterDot
}

func isSegmentByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
