package sandbox

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// schema says what a value may be. Objects are closed: a member that isn't listed is refused, and so is
// one that is read-only.
type schema struct {
	kind     string // string, integer, boolean, array, object; "" where variants decide
	format   string // date, date-time, decimal, uri
	enum     []string
	nullable bool
	readOnly bool
	maxRunes int
	min, max *int64
	items    *schema
	minItems int
	unique   bool
	fields   map[string]*schema
	required []string
	// variants: one of them has to accept the value.
	variants []*schema
}

// details collects what is wrong, by the path of the member: Sellsy's error.details.
type details map[string]string

func (d details) add(path, format string, args ...any) {
	if _, ok := d[path]; !ok {
		d[path] = fmt.Sprintf(format, args...)
	}
}

func (s *schema) check(path string, v any, d details) {
	if v == nil {
		if !s.nullable {
			d.add(path, "This value should not be null.")
		}
		return
	}
	if len(s.variants) > 0 {
		s.checkVariants(path, v, d)
		return
	}
	switch s.kind {
	case "string":
		s.checkString(path, v, d)
	case "integer":
		n, ok := v.(int64)
		switch {
		case !ok:
			d.add(path, "This value should be of type integer, %s given.", kindOf(v))
		case s.min != nil && n < *s.min:
			d.add(path, "This value should be greater than or equal to %d.", *s.min)
		case s.max != nil && n > *s.max:
			d.add(path, "This value should be less than or equal to %d.", *s.max)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			d.add(path, "This value should be of type boolean, %s given.", kindOf(v))
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			d.add(path, "This value should be of type array, %s given.", kindOf(v))
			return
		}
		if len(list) < s.minItems {
			d.add(path, "This collection should contain %d element or more.", s.minItems)
		}
		for i, item := range list {
			if s.unique && slices.Contains(list[:i], item) {
				d.add(path, "This collection should contain only unique elements.")
			}
			s.items.check(fmt.Sprintf("%s[%d]", path, i), item, d)
		}
	case "object":
		s.checkObject(path, v, d)
	}
}

func (s *schema) checkString(path string, v any, d details) {
	text, ok := v.(string)
	if !ok {
		d.add(path, "This value should be of type string, %s given.", kindOf(v))
		return
	}
	if len(s.enum) > 0 && !slices.Contains(s.enum, text) {
		d.add(path, "The value you selected is not a valid choice: %s.", strings.Join(s.enum, ", "))
		return
	}
	if s.maxRunes > 0 && utf8.RuneCountInString(text) > s.maxRunes {
		d.add(path, "This value is too long. It should have %d characters or less.", s.maxRunes)
	}
	switch s.format {
	case "date":
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			d.add(path, "This value is not a valid date.")
		}
	case "date-time":
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			d.add(path, "This value is not a valid datetime.")
		}
	case "decimal":
		if _, ok := parseDecimal(text); !ok {
			d.add(path, "This value is not a valid number.")
		}
	case "uri":
		if u, err := url.Parse(text); err != nil || u.Host == "" {
			d.add(path, "This value is not a valid URL.")
		}
	}
}

func (s *schema) checkObject(path string, v any, d details) {
	o, ok := v.(object)
	if !ok {
		d.add(path, "This value should be of type object, %s given.", kindOf(v))
		return
	}
	for name, member := range o {
		field, known := s.fields[name]
		switch {
		case !known:
			d.add(join(path, name), "This field was not expected.")
		case field.readOnly:
			d.add(join(path, name), "This field is read-only.")
		default:
			field.check(join(path, name), member, d)
		}
	}
	for _, name := range s.required {
		if _, ok := o[name]; !ok {
			d.add(join(path, name), "This field is missing.")
		}
	}
}

// checkVariants accepts what one variant accepts; else it tells what the nearest one (by type, then by
// the number of complaints) says.
func (s *schema) checkVariants(path string, v any, d details) {
	var nearest details
	for _, variant := range s.variants {
		own := details{}
		variant.check(path, v, own)
		if len(own) == 0 {
			return
		}
		if o, ok := v.(object); ok && variant.fields["type"] != nil {
			if kind, _ := o["type"].(string); slices.Contains(variant.fields["type"].enum, kind) {
				nearest = own
				break
			}
		}
		if nearest == nil || len(own) < len(nearest) {
			nearest = own
		}
	}
	for name, message := range nearest {
		d.add(name, "%s", message)
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case json.Number:
		return "number"
	case []any:
		return "array"
	default:
		return "object"
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
