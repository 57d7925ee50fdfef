package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"relais/internal/config"
	"relais/internal/core"
)

// OwnFolder is the folder beside the configuration that holds a user's own presets.
const OwnFolder = "presets"

// Beside returns the presets that a configuration may use: those that relais comes with, and the files of
// the folder presets beside it, which go before.
func Beside(configuration string) Presets {
	own := filepath.Join(filepath.Dir(configuration), OwnFolder)
	if info, err := os.Stat(own); err != nil || !info.IsDir() {
		return Embedded()
	}
	presets := Embedded()
	presets.own, presets.folder = os.DirFS(own), own
	return presets
}

// Own lists the presets of the user's folder.
func (p Presets) Own() []string {
	if p.own == nil {
		return nil
	}
	return namesIn(p.own)
}

// Fault is what is wrong with a user's preset.
type Fault struct {
	Place config.Place
	// Field is the path of the key; Vector is the name of the test vector that fails, where it is that.
	Field  string
	Vector string
	Err    error
}

// CheckOwn reads every preset of the user's folder and plays its test vectors.
func (p Presets) CheckOwn() []Fault {
	var faults []Fault
	for _, name := range p.Own() {
		file := filepath.Join(p.folder, name+".yaml")
		text, err := fs.ReadFile(p.own, name+".yaml")
		if err != nil {
			faults = append(faults, Fault{Place: config.Place{File: file}, Err: err})
			continue
		}
		at := config.Places(file, text)
		preset, err := ParsePreset(name, text)
		if err != nil {
			faults = append(faults, faultsOf(err, file, at)...)
			continue
		}
		if len(preset.Tests) == 0 {
			faults = append(faults, Fault{Place: config.Place{File: file}, Err: errors.New("it has no tests: at least one request that is accepted shows that it works")})
		}
		for i := range preset.Tests {
			if err := preset.RunVector(&preset.Tests[i]); err != nil {
				faults = append(faults, Fault{Place: at(fmt.Sprintf("tests[%d]", i)), Vector: preset.Tests[i].Name, Err: err})
			}
		}
	}
	return faults
}

// faultsOf places each of the errors that keep a preset from being used.
func faultsOf(err error, file string, at func(path string) config.Place) []Fault {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []Fault
		for _, one := range joined.Unwrap() {
			out = append(out, faultsOf(one, file, at)...)
		}
		return out
	}
	var (
		malformed *malformedError
		named     *core.Error
	)
	switch {
	case errors.As(err, &malformed):
		return []Fault{{Place: config.Place{File: file, Line: malformed.line, Column: malformed.column}, Err: malformed}}
	case errors.As(err, &named) && named.Field != "":
		return []Fault{{Place: at(named.Field), Field: named.Field, Err: err}}
	}
	return []Fault{{Place: config.Place{File: file}, Err: err}}
}

func namesIn(files fs.FS) []string {
	paths, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil // the pattern is a constant, and the only error is a bad one
	}
	for i := range paths {
		paths[i] = paths[i][:len(paths[i])-len(".yaml")]
	}
	slices.Sort(paths)
	return paths
}
