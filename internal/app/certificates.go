package app

import (
	"crypto/x509"
	"log/slog"

	"relais/internal/egress"
	"relais/internal/source"
)

// newCertificates fetches what requests name as their certificates. Nothing of it is trusted as connections of the
// file are: these addresses stand in requests that nobody has verified. It outlives reloads, so that one doesn't
// make every certificate be fetched anew. roots is nil for the system's.
func newCertificates(log *slog.Logger, roots *x509.CertPool, dev bool) (*source.Certificates, error) {
	guarded, err := egress.New(egress.Options{Dev: dev, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	return source.NewCertificates(source.CertificateOptions{Client: guarded.Client(), Roots: roots, Log: log}), nil
}
