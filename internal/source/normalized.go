package source

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relais/internal/core"
)

// stored reads events again, as they are stored: what it gives is a function of the event and the preset,
// and stored nowhere.
type stored struct {
	members  []normalizedMember
	priority []rule
	readings sync.Pool // *reading
}

type normalizedMember struct {
	name  string
	rules []rule
}

func (s *stored) compile(src *Source, p *Preset, names map[string]string) error {
	rules := &ruleReader{lens: newLens(), names: names, allow: fieldsAllowed{event: true}}
	for _, name := range slices.Sorted(maps.Keys(p.Normalized)) {
		if !fieldGrammar.MatchString(name) {
			return invalid("normalized", "%q is no name of a member", name)
		}
		compiled, err := rules.compile("normalized."+name, p.Normalized[name])
		if err != nil {
			return err
		}
		s.members = append(s.members, normalizedMember{name, compiled})
	}
	var err error
	s.priority, err = rules.compile("priority", p.Priority)
	s.readings.New = src.newReading(rules.lens)
	return err
}

// Normalized returns the event's common members, as its preset reads them; what can't be read is left out.
func (s *Source) Normalized(event *core.Event) map[string]any {
	out := map[string]any{}
	if len(s.stored.members) == 0 {
		return out
	}
	r, ok := s.again(event)
	defer r.release(&s.stored.readings)
	if !ok {
		return out
	}
	for i := range s.stored.members {
		m := &s.stored.members[i]
		if value, ok := r.formed(m.rules); ok {
			out[m.name] = value
		}
	}
	return out
}

// Priority returns the event's own priority: normal where its preset reads none.
func (s *Source) Priority(event *core.Event) core.Priority {
	if len(s.stored.priority) == 0 {
		return core.PriorityNormal
	}
	r, ok := s.again(event)
	defer r.release(&s.stored.readings)
	if !ok {
		return core.PriorityNormal
	}
	text, ok, err := r.value(s.stored.priority)
	if err != nil || !ok {
		return core.PriorityNormal
	}
	priority, unknown := core.ParsePriority(string(text))
	if unknown != nil {
		return core.PriorityNormal
	}
	return priority
}

// again scans a stored event as the request that it came by, through the lens of what is read later.
func (s *Source) again(event *core.Event) (*reading, bool) {
	r := s.stored.readings.Get().(*reading)
	header := core.DecodeHeader(event.Header)
	req := &Request{Header: header, Query: event.Query, Path: event.Path, Body: event.Body, Secret: header.Get(secretHeader)}
	format, err := parseFormat(string(event.Format))
	r.begin(req, format)
	r.event = event
	clear(r.slots)
	if err != nil {
		return r, false
	}
	return r, len(event.Body) == 0 || r.scan() == nil
}

// formed gives the first rule's value that applies, as what the rule says.
func (r *reading) formed(rules []rule) (any, bool) {
	for i := range rules {
		one := rules[i : i+1]
		if rules[i].cel != nil && rules[i].table == nil && rules[i].as == "" {
			if !r.holds(rules[i].when) {
				continue
			}
			if value, err := r.eval(rules[i].cel); err == nil && value != nil && value != "" {
				return value, true
			}
			continue
		}
		text, ok, err := r.value(one)
		if err != nil || !ok {
			continue
		}
		if value, ok := form(rules[i].as, string(bytes.ToValidUTF8(text, []byte("\uFFFD")))); ok {
			return value, true
		}
	}
	return nil, false
}

// knownForms are what as: may say.
var knownForms = map[string]bool{"": true, "int": true, "cents": true, "number": true, "bool": true, "time": true}

func form(as, text string) (any, bool) {
	switch as {
	case "int":
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	case "cents":
		return cents(text)
	case "number":
		if !json.Valid([]byte(text)) {
			return nil, false // "NaN", "0x1p4" and the like
		}
		n, err := strconv.ParseFloat(text, 64)
		return n, err == nil
	case "bool":
		b, err := strconv.ParseBool(text)
		return b, err == nil
	case "time":
		return moment(text)
	default:
		return text, true
	}
}

// cents reads an amount in units, with up to two decimals that count: "77.9" is 7790. Nothing is rounded.
func cents(text string) (any, bool) {
	whole, decimals, _ := strings.Cut(text, ".")
	if len(decimals) > 2 {
		decimals = strings.TrimRight(decimals, "0")
	}
	if len(decimals) > 2 || strings.Trim(decimals, "0123456789") != "" {
		return nil, false
	}
	for len(decimals) < 2 {
		decimals += "0"
	}
	n, err := strconv.ParseInt(whole+decimals, 10, 64)
	return n, err == nil
}

// layouts are how providers write a time that names its zone.
var layouts = []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "20060102T150405Z07:00", "20060102150405Z07:00"}

// moment writes a time as RFC 3339: one that is written so already or nearly so, or seconds or milliseconds
// since 1970. A time without its zone is none: it would be taken for another.
func moment(text string) (any, bool) {
	for _, layout := range layouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC().Format(time.RFC3339Nano), true
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n < 0 || n > 253402300799999:
		return nil, false
	case n > math.MaxUint32:
		return time.UnixMilli(n).UTC().Format(time.RFC3339Nano), true
	default:
		return time.Unix(n, 0).UTC().Format(time.RFC3339), true
	}
}

// Known are the sources in force, by name: what an event's source knows of it.
type Known map[string]*Source

// Normalized returns the event's common members; none where its source is in the configuration no more.
func (k Known) Normalized(event *core.Event) map[string]any {
	if s := k[event.Source]; s != nil {
		return s.Normalized(event)
	}
	return map[string]any{}
}

// Priority returns the event's own priority.
func (k Known) Priority(event *core.Event) core.Priority {
	if s := k[event.Source]; s != nil {
		return s.Priority(event)
	}
	return core.PriorityNormal
}

// NewKnown puts sources in place.
func NewKnown(sources []*Source) Known {
	known := make(Known, len(sources))
	for _, s := range sources {
		known[s.Name] = s
	}
	return known
}
