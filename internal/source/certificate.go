package source

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
)

// CertificateURL is for providers that sign with the key of a certificate, and name it by its address in each
// request. Anybody can write an address into a request: it is called only where it is one of these hosts' and
// its path fits, and what is found there is believed only for a certificate that is one of Names', under an
// authority that this machine trusts.
type CertificateURL struct {
	// Header or JSON (a path) is where the address stands.
	Header string `yaml:"header"`
	JSON   string `yaml:"json"`
	// Hosts are those that are called, each with its port where that isn't 443. A * stands for one part of a
	// name, without dots: sns.*.amazonaws.com.
	Hosts []string `yaml:"hosts"`
	// Path is a regular expression for the whole path.
	Path string `yaml:"path"`
	// Names are those of which the certificate must have one, to the letter.
	Names []string `yaml:"names"`
}

func (c *CertificateURL) given() bool {
	return c.Header != "" || c.JSON != "" || c.Path != "" || len(c.Hosts)+len(c.Names) > 0
}

// Bounds of what is fetched: a chain of certificates has some kilobytes.
const (
	maxCertificateURL  = 512
	maxCertificateText = 64 << 10
	maxChain           = 10
)

var (
	hostGrammar = regexp.MustCompile(`^[a-z0-9*]([a-z0-9*.-]*[a-z0-9])?(:[0-9]{1,5})?$`)
	nameGrammar = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

// certificateRule is a CertificateURL, compiled.
type certificateRule struct {
	place place
	host  *regexp.Regexp
	path  *regexp.Regexp
	names []string
	key   string // names what is believed of an address: another rule may ask for other names
}

func (c *CertificateURL) compile() (*certificateRule, error) {
	const field = "verify.certificate_url"
	if (c.Header == "") == (c.JSON == "") {
		return nil, invalid(field, "header or json, one of them, says where the certificate's address stands")
	}
	if len(c.Hosts) == 0 || len(c.Names) == 0 || c.Path == "" {
		return nil, invalid(field, "hosts, path and names are needed: whoever may choose where relais calls, and whom it believes, can sign")
	}
	hosts := make([]string, len(c.Hosts))
	for i, host := range c.Hosts {
		if !hostGrammar.MatchString(host) || strings.HasSuffix(host, "*") {
			return nil, invalid(field, "hosts: %q is no host: write it small, without https://, and with * for one part at most: sns.*.example.com", host)
		}
		hosts[i] = strings.ReplaceAll(regexp.QuoteMeta(host), `\*`, `[a-z0-9-]{1,63}`)
	}
	for _, name := range c.Names {
		if !nameGrammar.MatchString(name) {
			return nil, invalid(field, "names: %q is no name of a certificate: write it small and whole", name)
		}
	}
	host, err := regexp.Compile(`^(?:` + strings.Join(hosts, "|") + `)$`)
	if err != nil {
		return nil, invalid(field, "hosts: %s", err)
	}
	whole, err := regexp.Compile(`^(?:` + c.Path + `)$`)
	if err != nil {
		return nil, invalid(field, "path: %s", err)
	}
	at := Where{Header: c.Header, JSON: c.JSON}
	return &certificateRule{place: at.place(), host: host, path: whole, names: c.Names, key: strings.Join(c.Names, " ")}, nil
}

// read returns the address that the request names.
func (c *certificateRule) read(req *Request) (string, *Rejected) {
	text, times := c.place.read(req)
	switch {
	case times == 0:
		return "", errNoCertificate
	case times > 1:
		return "", errPartTwice
	case len(text) > maxCertificateURL || !c.allows(text):
		return "", errCertificateURL
	}
	return text, nil
}

// allows tells whether an address may be called. A path's expression says what its author thought of; that
// the address is read in one way only is looked at besides.
func (c *certificateRule) allows(text string) bool {
	u, err := url.Parse(text)
	return err == nil && c.host.MatchString(u.Host) && c.path.MatchString(u.Path) &&
		text == "https://"+u.Host+u.Path && u.EscapedPath() == u.Path && path.Clean(u.Path) == u.Path
}

// certificate is one that was found and is believed.
type certificate struct {
	public            any
	notBefore, before time.Time // of its chain
}

// valid tells whether it was so when the request came.
func (c *certificate) valid(at time.Time) bool { return !at.Before(c.notBefore) && at.Before(c.before) }

// parse reads a certificate, with those that stand between it and an authority behind it, and believes it or
// says why not.
func (c *certificateRule) parse(text []byte, roots *x509.CertPool, now time.Time) (*certificate, *Rejected) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil || len(chain) == maxChain {
			return nil, errNotCertificate
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errNotCertificate
	}
	leaf := chain[0]
	// To the letter: a *.example.com is every server's of that domain, and signs no messages.
	if !slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return slices.Contains(c.names, strings.ToLower(name)) }) {
		return nil, errCertificateName
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	verified, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	if err != nil {
		return nil, errCertificateChain
	}
	out := &certificate{public: leaf.PublicKey, notBefore: leaf.NotBefore, before: leaf.NotAfter}
	for _, cert := range verified[0] {
		if cert.NotBefore.After(out.notBefore) {
			out.notBefore = cert.NotBefore
		}
		if cert.NotAfter.Before(out.before) {
			out.before = cert.NotAfter
		}
	}
	return out, nil
}

// Refusals of certificates. What a sender can't mend is unavailable: the same request may be good later.
var (
	errNoCertificate    = &Rejected{core.RejectNoSignature, "the request names no certificate"}
	errCertificateURL   = &Rejected{core.RejectBadSignature, "the request names a certificate at an address that this source doesn't call"}
	errCertificateGone  = &Rejected{core.RejectBadSignature, "there is no certificate at the address that the request names"}
	errCertificateName  = &Rejected{core.RejectBadSignature, "the certificate that the request names is somebody else's"}
	errCertificateChain = &Rejected{core.RejectBadSignature, "the certificate that the request names is of no authority that is trusted here, or out of its time"}
	errCertificateKey   = &Rejected{core.RejectBadSignature, "the certificate that the request names has a key of another kind than this source's"}
	errNotCertificate   = &Rejected{core.RejectCertificate, "what stands at the certificate's address is no certificate; send it again"}
	errCertificateAway  = &Rejected{core.RejectCertificate, "the certificate that the request names can't be had now; send it again"}
	errCertificateBusy  = &Rejected{core.RejectCertificate, "too many certificates are asked for at once; send it again"}
)
