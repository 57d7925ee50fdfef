package dolibarr

import (
	"encoding/json"
	"math/big"
	"strconv"
)

// object is something of Dolibarr. Its typing is loose: an id is "1" or 1, an amount "200.00000000" or 200,
// and nothing is null, "", false or [].
type object map[string]any

// text is a member as text, "" where there is none.
func (o object) text(names ...string) string {
	for _, name := range names {
		switch v := o[name].(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return string(v)
		}
	}
	return ""
}

// number is a member as a number, 0 where there is none.
func (o object) number(names ...string) int64 {
	n, err := strconv.ParseInt(o.text(names...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// status is a document's, which older versions call statut.
func (o object) status() int64 { return o.number("status", "statut") }

// amount reads a decimal; the bound keeps a hostile exponent from filling the memory.
func (o object) amount(name string) (*big.Rat, bool) {
	text := o.text(name)
	if text == "" || len(text) > 40 {
		return nil, false
	}
	for _, r := range text {
		if (r < '0' || r > '9') && r != '.' && r != '-' {
			return nil, false
		}
	}
	return new(big.Rat).SetString(text)
}

// linked lists the ids of the linked objects of a kind: {"facture": {"12": "5"}}, or [] where there are none.
func (o object) linked(kind string) []int64 {
	kinds, _ := o["linkedObjectsIds"].(map[string]any)
	var values []any
	switch of := kinds[kind].(type) {
	case map[string]any:
		for _, v := range of {
			values = append(values, v)
		}
	case []any:
		values = of
	}
	var ids []int64
	for _, v := range values {
		if id := (object{"id": v}).number("id"); id > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

func (o object) lines() []object {
	list, _ := o["lines"].([]any)
	var out []object
	for _, v := range list {
		if line, ok := v.(map[string]any); ok {
			out = append(out, line)
		}
	}
	return out
}

// clean takes out what is empty, and the connection data that some versions leave in lines.
func clean(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if name != "db" && member != nil {
				out[name] = clean(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clean(v[i])
		}
		return out
	}
	return v
}
