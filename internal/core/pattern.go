package core

import "strings"

const (
	oneSegment  = "*"
	anySegments = "**"
)

// Pattern chooses event types; see ParsePattern. The zero Pattern matches all.
type Pattern struct{ segments []string }

// ParsePattern reads segments joined by '.', where "*" stands for one whole segment and "**" for any
// number of them, none included: "payment.**" matches "payment" and "payment.card.refused". A star is
// never a part of a segment: "pay*" is refused, because a type that a provider adds later would match
// it by accident.
func ParsePattern(s string) (Pattern, error) {
	if s == "" {
		return Pattern{}, Errorf(CodeInvalid, `an empty pattern matches nothing: "**" matches all`)
	}
	if len(s) > MaxTypeLength {
		return Pattern{}, Errorf(CodeInvalid, "the pattern %.32q… is longer than %d bytes, as no type is", s, MaxTypeLength)
	}
	segments := strings.Split(s, ".")
	for _, segment := range segments {
		if !isPatternSegment(segment) {
			return Pattern{}, Errorf(CodeInvalid,
				"pattern %q: %q is not a segment: allowed are letters, digits, _ and -, or *, or **", s, segment)
		}
	}
	return Pattern{segments}, nil
}

func isPatternSegment(s string) bool {
	if s == oneSegment || s == anySegments {
		return true
	}
	for i := 0; i < len(s); i++ {
		if !isSegmentByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// Match tells whether the pattern matches the whole type. It allocates nothing, and its time is bounded
// by the product of the two lengths whatever they hold: of all "**" only the last one met is ever tried
// again, because an earlier one could only give it less to choose from.
func (p Pattern) Match(typ string) bool {
	if len(p.segments) == 0 {
		return true
	}
	at, rest := 0, typ
	retryAt, retryRest := -1, ""
	for rest != "" {
		head, tail := cutSegment(rest)
		switch {
		case at < len(p.segments) && p.segments[at] == anySegments:
			retryAt, retryRest = at+1, rest
			at++
		case at < len(p.segments) && (p.segments[at] == oneSegment || p.segments[at] == head):
			at, rest = at+1, tail
		case retryAt >= 0:
			_, retryRest = cutSegment(retryRest)
			at, rest = retryAt, retryRest
		default:
			return false
		}
	}
	for at < len(p.segments) && p.segments[at] == anySegments {
		at++
	}
	return at == len(p.segments)
}

func cutSegment(s string) (head, tail string) {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// String writes the pattern as ParsePattern reads it.
func (p Pattern) String() string {
	if len(p.segments) == 0 {
		return anySegments
	}
	return strings.Join(p.segments, ".")
}

// Selector chooses events by their source and their type, as routes and endpoints write it. The zero
// Selector matches all.
type Selector struct {
	Source Pattern
	Type   Pattern
}

// ParseSelector reads "source/type", each side a pattern: "sellsy/estimate.step", "boutique/payment.*",
// "*/tracking.delivered". The source must be said: a sender can't choose its source, but it does choose
// its types, so a rule on a type alone would let any sender set it off.
func ParseSelector(s string) (Selector, error) {
	source, typ, ok := strings.Cut(s, "/")
	if !ok {
		return Selector{}, Errorf(CodeInvalid, "%q names no source: write source/%s, or */%s for every source", s, s, s)
	}
	sourcePattern, err := ParsePattern(source)
	if err != nil {
		return Selector{}, Errorf(CodeInvalid, "%q: the source: %w", s, err)
	}
	typePattern, err := ParsePattern(typ)
	if err != nil {
		return Selector{}, Errorf(CodeInvalid, "%q: the type: %w", s, err)
	}
	return Selector{Source: sourcePattern, Type: typePattern}, nil
}

// Match tells whether an event of that source and type is chosen.
func (s Selector) Match(source, typ string) bool {
	return s.Source.Match(source) && s.Type.Match(typ)
}

// String writes the selector as ParseSelector reads it.
func (s Selector) String() string { return s.Source.String() + "/" + s.Type.String() }
