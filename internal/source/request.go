package source

import (
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"relais/internal/core"
)

// Request is what was received, as verification and reading see it.
type Request struct {
	Method string
	// URL is the address that the provider called, query included, for presets that sign it.
	URL    string
	Query  string // raw
	Header http.Header
	Body   []byte
	// Path holds the named parts of the path, as a query writes them.
	Path string
	// Secret is the name of the secret that the request was verified with, where it has one. Verify sets it.
	Secret string
	// Now is when it was received.
	Now time.Time
	// Fetches bounds the certificates that are fetched for its sender; nil doesn't.
	Fetches *rate.Limiter

	certificate any // the public key of the one that it names; Certify sets it
}

// Rejected is why a request is refused. Detail says it to the sender in words that hold nothing of the
// request and nothing secret.
type Rejected struct {
	Reason core.RejectReason
	Detail string
}

func (r *Rejected) Error() string { return r.Detail }

// Refusals are made once: refusing must not cost more than accepting.
var (
	errNoSignature    = &Rejected{core.RejectNoSignature, "the request carries no signature"}
	errBadSignature   = &Rejected{core.RejectBadSignature, "the signature does not match the body"}
	errTwoSignatures  = &Rejected{core.RejectBadSignature, "the signature is given twice"}
	errSignatureForm  = &Rejected{core.RejectBadSignature, "the signature is not written as this source expects"}
	errNoTimestamp    = &Rejected{core.RejectNoSignature, "the request carries no timestamp, which must be signed"}
	errTimestampForm  = &Rejected{core.RejectBadSignature, "the timestamp is not written as this source expects"}
	errNoID           = &Rejected{core.RejectNoSignature, "the request carries no message id, which must be signed"}
	errExpired        = &Rejected{core.RejectExpired, "the signed timestamp is too far from now"}
	errPartTwice      = &Rejected{core.RejectBadSignature, "a part of what is signed is given twice"}
	errNotLast        = &Rejected{core.RejectBadSignature, "the signature is not the last parameter: what follows it would not be signed"}
	errUnsignedBody   = &Rejected{core.RejectBadSignature, "the query is what is signed: a body beside it is not"}
	errManyParameters = &Rejected{core.RejectBadSignature, "more is given to be signed than this source takes"}
	errNoCredentials  = &Rejected{core.RejectCredentials, "the request carries no credentials"}
	errCredentials    = &Rejected{core.RejectCredentials, "the credentials are not valid"}
	errEmpty          = &Rejected{core.RejectEmpty, "the body is empty"}
	errNUL            = &Rejected{core.RejectMalformed, "the body holds NUL bytes"}
	errUTF8           = &Rejected{core.RejectMalformed, "the body is not valid UTF-8"}
	errJSON           = &Rejected{core.RejectMalformed, "the body is not valid JSON"}
	errDeep           = &Rejected{core.RejectMalformed, "the body's JSON is nested too deeply"}
	errForm           = &Rejected{core.RejectMalformed, "the body is not a valid form"}
	errFields         = &Rejected{core.RejectMalformed, "the form has too many fields"}
	errFieldMissing   = &Rejected{core.RejectMalformed, "the form lacks the field that holds the message"}
	errFieldTwice     = &Rejected{core.RejectMalformed, "the form gives the field that holds the message twice"}
	errNotRedactable  = &Rejected{core.RejectMalformed, "the Content-Type is none that this source can read, and so none that it can redact"}
	errParts          = &Rejected{core.RejectMalformed, "the body holds more messages than one request may"}
	errDisagree       = &Rejected{core.RejectMalformed, "the message and the address or the credentials name different things"}
	errEcho           = &Rejected{core.RejectMalformed, "what is to be sent back holds other characters than letters, digits, '.', '_', '~' and '-', or more than 256"}
	errExpressionFail = &Rejected{core.RejectMalformed, "the message does not hold what this source's expression reads"}
)
