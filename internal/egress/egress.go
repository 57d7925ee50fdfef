// Package egress is how relais calls out: one HTTP client, and a dialer for what isn't HTTP, under one policy.
//
// A host that stands in the configuration file is trusted under exactly that scheme, name and port: it
// may have a private address. Everything else is guarded: its address is judged after the name was
// resolved and before the first packet leaves, so a name that changes its address between a check and
// the call gains nothing. No redirect is followed, no proxy is taken from the environment, a call has one
// deadline that includes its answer's body, and an answer that passes its cap is an error, not a cut text.
//
// Every error tells two things: its finite reason, and whether the request may have left. What failed
// before a connection stood was certainly not seen by anybody; of anything later that can't be known.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultTimeout bounds a call where nothing else is said.
const DefaultTimeout = 30 * time.Second

const (
	defaultMaxResponse = 1 << 20
	connectTimeout     = 10 * time.Second
	maxHeaderBytes     = 64 << 10
	idlePerHost        = 256
	idleInAll          = 1024
	idleTimeout        = 60 * time.Second
)

// Options are what the policy depends on.
type Options struct {
	// Trusted are the hosts that stand in the configuration file, as scheme://host or
	// scheme://host:port, with the schemes http, https, smtp and those of databases: postgres, mysql, redis.
	Trusted []string
	// Dev lets guarded calls reach loopback and private addresses.
	Dev bool
	// Timeout bounds a call from its first name look-up to its answer's last byte; default 30 s.
	Timeout time.Duration
	// MaxResponse bounds an answer's body, counted after decompression; default 1 MiB.
	MaxResponse int64
	// Resolver looks names up; nil is the system's.
	Resolver *net.Resolver
	// RootCAs verify servers; nil is the system's.
	RootCAs *x509.CertPool
}

// Egress makes outbound calls under its policy. It is safe for concurrent use.
type Egress struct {
	trusted     map[string]bool
	roots       *x509.CertPool
	trustedHTTP *http.Transport
	guardedHTTP *http.Transport
	open        *net.Dialer // for trusted hosts
	guarded     *net.Dialer
	timeout     time.Duration
	maxResponse int64
}

// New makes an Egress. An entry of Trusted that isn't a scheme and a host is an error: a trust that
// nobody can read must not be guessed.
func New(o Options) (*Egress, error) {
	e := &Egress{
		trusted:     make(map[string]bool, len(o.Trusted)),
		timeout:     o.Timeout,
		maxResponse: o.MaxResponse,
		roots:       o.RootCAs,
	}
	if e.timeout == 0 {
		e.timeout = DefaultTimeout
	}
	if e.maxResponse == 0 {
		e.maxResponse = defaultMaxResponse
	}
	for _, t := range o.Trusted {
		u, err := url.Parse(t)
		if err != nil || u.Hostname() == "" || defaultPorts[u.Scheme] == "" {
			return nil, fmt.Errorf("trusted host %q: it must be a scheme that relais speaks, such as https://, and a host", t)
		}
		e.trusted[origin(u.Scheme, u.Hostname(), u.Port())] = true
	}
	e.open = &net.Dialer{Timeout: connectTimeout, Resolver: o.Resolver}
	e.guarded = &net.Dialer{Timeout: connectTimeout, Resolver: o.Resolver, ControlContext: guard(o.Dev)}
	e.trustedHTTP = transport(e.open, o.RootCAs)
	e.guardedHTTP = transport(e.guarded, o.RootCAs)
	return e, nil
}

// Client returns a client under the policy. The clients of one Egress share their connections.
func (e *Egress) Client() *http.Client { return &http.Client{Transport: (*roundTripper)(e)} }

// Do makes one call, as Client's does: for a request that is complete, without credentials in its URL.
func (e *Egress) Do(req *http.Request) (*http.Response, error) {
	return (*roundTripper)(e).RoundTrip(req)
}

// DialMail connects to a mail server: trusted when smtp://address stands in the configuration, guarded
// otherwise. A conversation has no answer to bound: its deadlines are the mail client's.
func (e *Egress) DialMail(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fail(err, progress{})
	}
	dialer := e.guarded
	if e.trusted[origin("smtp", host, port)] {
		dialer = e.open
	} else if !mailPorts[port] {
		return nil, fail(&AddressError{Host: host, Verdict: VerdictPort}, progress{})
	}
	conn, err := dialer.DialContext(withHost(ctx, host), network, address)
	if err != nil {
		return nil, fail(err, progress{})
	}
	return conn, nil
}

// Dial connects to a server of another protocol: trusted when scheme://address stands in the configuration,
// guarded otherwise. What is said over the connection, and until when, is the caller's.
func (e *Egress) Dial(ctx context.Context, scheme, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fail(err, progress{})
	}
	dialer := e.guarded
	if e.trusted[origin(scheme, host, port)] {
		dialer = e.open
	}
	conn, err := dialer.DialContext(withHost(ctx, host), network, address)
	if err != nil {
		return nil, fail(err, progress{})
	}
	return conn, nil
}

// TLS is how a server of that name is verified where the caller speaks TLS itself.
func (e *Egress) TLS(host string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: e.roots}
}

// CloseIdle closes the connections that wait for another call, when a new configuration takes over.
func (e *Egress) CloseIdle() {
	e.trustedHTTP.CloseIdleConnections()
	e.guardedHTTP.CloseIdleConnections()
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "smtp": "25", "postgres": "5432", "mysql": "3306", "redis": "6379"}

var mailPorts = map[string]bool{"25": true, "465": true, "587": true, "2525": true}

// origin is how a trusted host is compared: lower case, without a closing dot, with its port.
func origin(scheme, host, port string) string {
	if port == "" {
		port = defaultPorts[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
}

func transport(dialer *net.Dialer, roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy: nil, // a proxy would connect in our place, unjudged
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(withHost(ctx, host), network, address)
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: connectTimeout,
		ForceAttemptHTTP2:   true,
		// No bound of connections to a host: routes to one host would wait for each other's slow answers. The
		// lanes bound what runs.
		MaxIdleConnsPerHost:    idlePerHost,
		MaxIdleConns:           idleInAll,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// guard refuses, between resolving and connecting, every address whose verdict isn't allowed.
func guard(dev bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		host, _ := ctx.Value(hostKey{}).(string)
		verdict := judgeText(address)
		if verdict == VerdictAllowed || dev && (verdict == VerdictLoopback || verdict == VerdictPrivate) {
			return nil
		}
		return &AddressError{Host: host, Verdict: verdict}
	}
}

// hostKey carries the name that is being connected to, for the message only.
type hostKey struct{}

func withHost(ctx context.Context, host string) context.Context {
	return context.WithValue(ctx, hostKey{}, host)
}

// guardedPort tells whether a guarded HTTP call may go to a port: below 1024 only HTTP's own, so that no
// payload can make relais talk to a mail server or a printer.
func guardedPort(u *url.URL) bool {
	port := u.Port()
	if port == "" || port == "80" || port == "443" {
		return true
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1024
}
