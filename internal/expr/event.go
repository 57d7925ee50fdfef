package expr

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"relais/internal/core"
)

// EventKeys are the members of event. An expression that names another one doesn't compile.
var EventKeys = []string{
	"id", "source", "type", "native_type", "tenant", "received_at", "test",
	"data", "normalized", "headers", "query", "path",
}

// EventVars returns what expressions see of an event as event. Headers have lower-case names, and all
// their values joined by ", "; a query field has its first value. normalized may be nil. A body that
// can't be read leaves data out and is the error: expressions that don't look at it still work.
func EventVars(event *core.Event, normalized map[string]any) (map[string]any, error) {
	headers := map[string]any{}
	for name, value := range core.HeaderFields(event.Header) {
		name, value = validText(strings.ToLower(name)), validText(value)
		if before, there := headers[name].(string); there {
			value = before + ", " + value
		}
		headers[name] = value
	}
	if normalized == nil {
		normalized = map[string]any{}
	}
	vars := map[string]any{
		"id": event.ID.String(), "source": event.Source, "type": event.Type,
		"native_type": validText(event.NativeType), "tenant": event.Tenant,
		"received_at": event.ReceivedAt.UTC().Format(time.RFC3339Nano), "test": event.Test,
		"normalized": normalized, "headers": headers,
		"query": firstValues(event.Query), "path": firstValues(event.Path),
	}
	data, err := EventData(event)
	if err == nil {
		vars["data"] = data
	}
	return vars, err
}

func firstValues(raw string) map[string]any {
	out := map[string]any{}
	if raw == "" {
		return out
	}
	values, _ := url.ParseQuery(raw) // it keeps what could be read
	for name, list := range values {
		out[validText(name)] = validText(list[0])
	}
	return out
}

// validText keeps expressions to text: a header's value is bytes.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// EventData reads an event's body in its format.
func EventData(event *core.Event) (any, error) {
	switch {
	case event.Format == core.FormatNone || len(event.Body) == 0:
		return map[string]any{}, nil
	case event.Format == core.FormatJSON || event.Format == "":
		return DecodeJSON(event.Body)
	case event.Format == core.FormatForm:
		return DecodeForm(event.Body)
	}
	field, ok := strings.CutPrefix(string(event.Format), string(core.FormatFormJSON))
	if !ok {
		return nil, fmt.Errorf("the event's format %q is unknown", event.Format)
	}
	text, err := formField(string(event.Body), field)
	if err != nil {
		return nil, err
	}
	return DecodeJSON([]byte(text))
}

// formField reads the one field of that name. Other fields are not looked into: a sender may put there
// what it likes.
func formField(form, field string) (text string, err error) {
	given := 0
	for pair := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err != nil || plain != field {
			continue
		}
		given++
		if text, err = url.QueryUnescape(value); err != nil {
			return "", fmt.Errorf("the form's field %q has a bad %% escape", field)
		}
	}
	if given != 1 {
		return "", fmt.Errorf("the form must hold the field %q once", field)
	}
	return text, nil
}
