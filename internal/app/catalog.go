package app

import (
	"slices"

	"relais/internal/config"
	"relais/internal/source"
	"relais/internal/step"
)

// secretVariables are the environment variables that presets' secrets default to.
var secretVariables = map[string]string{"sellsy": "SELLSY_WEBHOOK_SECRET", "dolibarr": "WEBHOOK_SECRET"}

// Catalog is all that a configuration may use with this relais.
func Catalog() (config.Catalog, error) { return catalogOf(source.Embedded()) }

// catalogOf is the catalog with these presets.
func catalogOf(presets source.Presets) (config.Catalog, error) {
	kinds := registry(nil, wiring{})
	catalog := config.Catalog{CheckSource: func(s config.Source) error {
		_, err := source.Compile(s, presets)
		return err
	}}
	for _, k := range kinds.Kinds() {
		catalog.Steps = append(catalog.Steps, config.StepKind{
			Name: k.Name, Class: string(k.Class), Connection: k.Connection, Also: k.Also, Doc: k.Doc, Params: params(k.Params), Result: k.Members(),
		})
	}
	for _, c := range kinds.ConnectionKinds() {
		catalog.Connections = append(catalog.Connections, config.ConnectionKind{
			Name: c.Name, Doc: c.Doc, Params: params(c.Params), Env: c.Env,
		})
	}
	for _, name := range presets.Names() {
		p, err := presets.Outline(name)
		if err != nil {
			return config.Catalog{}, err
		}
		catalog.Presets = append(catalog.Presets, config.Preset{
			Name: name, Doc: p.Title, Path: p.Path, TestPath: p.TestPath, Aliases: p.Aliases,
			NeedsSecret: !slices.Contains([]string{"", "none"}, p.Verify.Scheme) && !p.Verify.KeyKnown(),
			SecretEnv:   secretVariables[name],
			Types:       p.KnownTypes(),
		})
	}
	return catalog, nil
}

func params(in []step.Param) []config.Param {
	out := make([]config.Param, len(in))
	for i, p := range in {
		out[i] = config.Param{
			Name: p.Name, Type: config.ParamType(p.Type), Required: p.Required, Secret: p.Secret,
			Literal: p.Literal, Enum: p.Enum, Default: p.Default, Doc: p.Doc, Check: p.Check,
		}
	}
	return out
}
