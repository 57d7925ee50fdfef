package config

import (
	"fmt"
	"io"
	"log/slog"
)

const hidden = "[secret]"

// Secret is a value that is never printed: its formats, its JSON, its YAML and its log value are all
// "[secret]". Only Reveal gives it. It is held by a pointer because fmt calls no methods on unexported
// members: of a Secret inside one it prints an address.
type Secret struct{ value *string }

// NewSecret keeps a value from being printed.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells whether there is no value.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

func (s Secret) String() string { return hidden }

// GoString keeps %#v from printing the value.
func (s Secret) GoString() string { return hidden }

// Format keeps every other verb from printing it.
func (s Secret) Format(f fmt.State, _ rune) {
	// A State that can't be written to has nowhere to leak to either.
	_, _ = io.WriteString(f, hidden)
}

// MarshalJSON keeps it out of JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalText keeps it out of everything that is built on text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalYAML keeps it out of YAML.
func (s Secret) MarshalYAML() (any, error) { return hidden, nil }

// LogValue keeps it out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
