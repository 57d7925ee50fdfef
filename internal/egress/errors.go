package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"relais/internal/core"
)

// Error is why a call failed. Its text names no URL: URLs hold secrets.
type Error struct {
	Reason core.Reason
	// MayHaveSent tells that the request may have reached the other side.
	MayHaveSent bool
	Cause       error
}

func (e *Error) Error() string { return explain(e.Reason, e.Cause) }

func (e *Error) Unwrap() error { return e.Cause }

var errTooLarge = errors.New("the answer is larger than its cap")

type redirectError struct{ status int }

func (e *redirectError) Error() string { return fmt.Sprintf("answered with the redirect %d", e.status) }

// Classify returns the reason of a failed call.
func Classify(err error) core.Reason {
	if err == nil {
		return core.ReasonNone
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return reasonOf(err)
}

// MayHaveSent tells whether a failed call's request may have reached the other side. It errs on the side
// of "may": an error that isn't known to be from before the connection counts as sent.
func MayHaveSent(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.MayHaveSent
	}
	return err != nil
}

// Explain returns what a user may read of a failed call: no URL, no header, no body.
func Explain(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return explain(reasonOf(err), err)
}

func fail(err error, p progress) *Error {
	reason := reasonOf(err)
	if reason == core.ReasonInternal {
		switch {
		case p.handshake:
			reason = core.ReasonTLS
		case p.connected:
			reason = core.ReasonReset // the transport has many words for a connection that broke
		}
	}
	return &Error{Reason: reason, MayHaveSent: p.connected, Cause: err}
}

// reasonOf reads an error from the network. The order matters: a name that wasn't found in time is told
// as a matter of names, and a refused address as that, whatever they are wrapped in.
func reasonOf(err error) core.Reason {
	var (
		address  *AddressError
		redirect *redirectError
		dns      *net.DNSError
		netErr   net.Error
	)
	switch {
	case errors.As(err, &address):
		return core.ReasonAddress
	case errors.As(err, &redirect):
		return core.ReasonRedirect
	case errors.Is(err, errTooLarge):
		return core.ReasonTooLarge
	case errors.Is(err, context.Canceled):
		return core.ReasonInterrupted
	case errors.As(err, &dns):
		return core.ReasonDNS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return core.ReasonTimeout
	case isTLS(err):
		return core.ReasonTLS
	case errors.As(err, &netErr) && netErr.Timeout():
		return core.ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return core.ReasonRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return core.ReasonReset
	}
	return core.ReasonInternal
}

func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		op           *net.OpError
	)
	// crypto/tls wraps the alerts of both sides in an OpError with these operations.
	alert := errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
	return alert || errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid)
}

func explain(reason core.Reason, cause error) string {
	var (
		address  *AddressError
		redirect *redirectError
		dns      *net.DNSError
	)
	switch {
	case errors.As(cause, &address):
		return address.Error()
	case errors.As(cause, &redirect):
		return redirect.Error() + "; redirects are not followed: write the final address"
	case errors.As(cause, &dns):
		return fmt.Sprintf("the name %s could not be resolved", dns.Name)
	}
	switch reason {
	case core.ReasonTimeout:
		return "no complete answer in time"
	case core.ReasonRefused:
		return "the connection was refused or the host can't be reached"
	case core.ReasonReset:
		return "the connection broke before the answer was complete"
	case core.ReasonTLS:
		return "TLS failed: " + tlsCause(cause)
	case core.ReasonTooLarge:
		return errTooLarge.Error()
	case core.ReasonInterrupted:
		return "the call was interrupted"
	}
	return "the call failed"
}

func tlsCause(err error) string {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &verification):
		return verification.Err.Error()
	case errors.As(err, &record):
		return "the server did not answer with TLS"
	}
	return "no agreement on a protocol version or a certificate"
}
