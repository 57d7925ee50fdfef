package source

import (
	"errors"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
)

// TestPresetVectors runs every preset's own test vectors: they are what the preset promises.
func TestPresetVectors(t *testing.T) {
	presets := Embedded()
	for _, name := range presets.Names() {
		preset, err := presets.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(preset.Tests) == 0 {
			t.Errorf("%s has no test vectors", name)
		}
		for _, vector := range preset.Tests {
			t.Run(name+"/"+vector.Name, func(t *testing.T) {
				if err := preset.RunVector(&vector); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func verifyAndRead(src *Source, req *Request, verifyOnly bool) (Message, error) {
	if err := src.Verify(req); err != nil || verifyOnly {
		return Message{}, err
	}
	return src.Read(req)
}

func reasonOf(err error) core.RejectReason {
	var rejected *Rejected
	if errors.As(err, &rejected) {
		return rejected.Reason
	}
	if err != nil {
		return core.RejectReason(err.Error())
	}
	return ""
}

func secrets(texts ...string) []config.Secret {
	var out []config.Secret
	for _, text := range texts {
		out = append(out, config.NewSecret(text))
	}
	return out
}

func named(texts map[string]string) map[string][]config.Secret {
	out := map[string][]config.Secret{}
	for name, text := range texts {
		out[name] = secrets(text)
	}
	return out
}

func compile(t testing.TB, in config.Source) *Source {
	t.Helper()
	if in.Name == "" {
		in.Name = "x"
	}
	src, err := Compile(in, Embedded())
	if err != nil {
		t.Fatal(err)
	}
	return src
}
