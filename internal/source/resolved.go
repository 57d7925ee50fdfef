package source

import "relais/internal/config"

// Resolved returns how a source's requests are verified: the preset's way, with the source's own laid over it. The
// zero Verify is no verification.
func Resolved(in config.Source, p *Preset) (Verify, error) {
	if in.Auth == "none" {
		return Verify{}, nil
	}
	v := p.Verify
	if in.Preset == "" {
		v = Verify{}
	}
	names, err := fieldNames(p.Fields, in.Fields)
	if err != nil {
		return v, err
	}
	// A parameter whose name the merchant chooses is named by its letter.
	if own, chosen := names[v.Param]; chosen {
		v.Param = own
	}
	err = v.override(in.Verify)
	return v, err
}
