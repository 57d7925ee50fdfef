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
	err := v.override(in.Verify)
	return v, err
}
