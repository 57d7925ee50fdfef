package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// Canonical writes a part of a configuration as a text that stays the same from one version of relais to the
// next while the file says the same: nodes of two versions compare what they read by it. So a member that has
// no value isn't written, and one that a later version adds changes nothing until a file uses it. That binds
// whoever adds a member: left out of the file, it must be the zero value. What the file itself holds, a
// parameter with the value false, is written as it stands.
func Canonical(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(given(reflect.ValueOf(v))) // keys of maps are sorted
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

var marshaler = reflect.TypeFor[json.Marshaler]()

// given makes maps of structs, without what isn't given.
func given(v reflect.Value) any {
	switch {
	case !v.IsValid():
		return nil
	case v.Type().Implements(marshaler):
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return given(v.Elem())
	case reflect.Struct:
		members := map[string]any{}
		addGiven(v, members)
		return members
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return v.Interface()
		}
		entries := make(map[string]any, v.Len())
		for i := v.MapRange(); i.Next(); {
			entries[i.Key().String()] = given(i.Value())
		}
		return entries
	case reflect.Slice, reflect.Array:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = given(v.Index(i))
		}
		return items
	default:
		return v.Interface()
	}
}

func addGiven(v reflect.Value, members map[string]any) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && value.Kind() == reflect.Struct:
			addGiven(value, members)
		case !field.IsExported(), name == "-", isEmpty(value):
		default:
			if name == "" {
				name = field.Name
			}
			members[name] = given(value)
		}
	}
}

func isEmpty(v reflect.Value) bool {
	if v.Kind() == reflect.Map || v.Kind() == reflect.Slice {
		return v.Len() == 0
	}
	return v.IsZero()
}
