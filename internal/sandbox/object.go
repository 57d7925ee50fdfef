package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
)

// object is a JSON object as it was received: integers are int64, other numbers stay json.Number, so
// that a wrong type can be told from a wrong value.
type object map[string]any

func (o object) clone() object { return maps.Clone(o) }

// decodeObject reads exactly one JSON object.
func decodeObject(data []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the JSON object")
	}
	o, ok := native(v).(object)
	if !ok {
		return nil, errors.New("the body is not a JSON object")
	}
	return o, nil
}

// native turns what encoding/json made into objects and int64.
func native(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := make(object, len(v))
		for name, member := range v {
			o[name] = native(member)
		}
		return o
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = native(item)
		}
		return list
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
	}
	return v
}

// integerOf reads an id from an object, whether it was decoded, made here or read from the journal.
func integerOf(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int:
		return int64(n)
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n)
		}
	}
	return 0
}

// normal makes of any Go value what it would be after a trip over the wire.
func normal(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		return nil, err
	}
	return native(out), nil
}
