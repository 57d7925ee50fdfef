package source

// Public tells whether requests are verified with the provider's public key: a secret of one's own would be
// no key of the provider's.
func (v *Verify) Public() bool { return schemes[v.Scheme].public() }

// KeyKnown tells whether no source has to give the key: the preset has it, or each request names it.
func (v *Verify) KeyKnown() bool { return len(v.PublicKeys) > 0 || v.KeyFetched() }

// KeyFetched tells whether each request names the certificate that holds the key.
func (v *Verify) KeyFetched() bool { return v.CertificateURL.given() }

// Wanted lists the values of the account that are a part of what is signed, and that no preset can know.
func (v *Verify) Wanted() []string {
	parts, err := parseSigned(v.template())
	if err != nil {
		return nil
	}
	var names []string
	for i := range parts {
		if parts[i].kind == signedValue && v.Values[parts[i].name] == "" {
			names = append(names, parts[i].name)
		}
	}
	return names
}
