package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	File string
	// Vector is the name of the test vector that fails; "" for a file that can't be used at all.
	Vector string
	Err    error
}

// CheckOwn reads every preset of the user's folder and plays its test vectors.
func (p Presets) CheckOwn() []Fault {
	var faults []Fault
	for _, name := range p.Own() {
		file := filepath.Join(p.folder, name+".yaml")
		preset, err := p.Load(name)
		if err != nil {
			faults = append(faults, Fault{File: file, Err: err})
			continue
		}
		if len(preset.Tests) == 0 {
			faults = append(faults, Fault{File: file, Err: errors.New("it has no tests: at least one request that is accepted shows that it works")})
		}
		for i := range preset.Tests {
			if err := preset.RunVector(&preset.Tests[i]); err != nil {
				faults = append(faults, Fault{File: file, Vector: preset.Tests[i].Name, Err: err})
			}
		}
	}
	return faults
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
