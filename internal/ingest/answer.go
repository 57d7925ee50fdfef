package ingest

import (
	"errors"
	"net/http"
	"strconv"

	"relais/internal/core"
	"relais/internal/source"
)

// refusal is why a request is refused. Its detail is for the sender: it holds nothing of the request.
type refusal struct {
	reason core.RejectReason
	detail string
}

// ways are how each reason is answered.
var ways = map[core.RejectReason]struct {
	status int
	detail string
	// retry is set where the same request may succeed later; always-200 doesn't cover those, because the
	// sender would take for stored what it should send again.
	retry bool
}{
	core.RejectNoSignature:   {status: http.StatusUnauthorized},
	core.RejectBadSignature:  {status: http.StatusUnauthorized},
	core.RejectExpired:       {status: http.StatusUnauthorized},
	core.RejectCredentials:   {status: http.StatusUnauthorized},
	core.RejectAddress:       {status: http.StatusForbidden, detail: "this address may not send here"},
	core.RejectMethod:        {status: http.StatusMethodNotAllowed, detail: "this method is not answered here"},
	core.RejectTooLarge:      {status: http.StatusRequestEntityTooLarge, detail: "the body is larger than this source allows"},
	core.RejectTruncated:     {status: http.StatusBadRequest, detail: "the body ended before it was complete", retry: true},
	core.RejectTimeout:       {status: http.StatusRequestTimeout, detail: "the body did not arrive in time", retry: true},
	core.RejectMalformed:     {status: http.StatusBadRequest},
	core.RejectEmpty:         {status: http.StatusBadRequest},
	core.RejectRate:          {status: http.StatusTooManyRequests, detail: "too many requests from this address", retry: true},
	core.RejectOverload:      {status: http.StatusServiceUnavailable, detail: "too many requests at once; send it again", retry: true},
	core.RejectStore:         {status: http.StatusServiceUnavailable, detail: "the event could not be stored; send it again", retry: true},
	core.RejectCertificate:   {status: http.StatusServiceUnavailable, retry: true},
	core.RejectUnknownSource: {status: http.StatusNotFound, detail: "there is no source at this path"},
}

// refusals of which nothing but the reason is to be said are made once.
var refusals = func() map[core.RejectReason]*refusal {
	out := make(map[core.RejectReason]*refusal, len(ways))
	for reason, way := range ways {
		out[reason] = &refusal{reason, way.detail}
	}
	return out
}()

func refuse(reason core.RejectReason) *refusal { return refusals[reason] }

func refuseFor(err error) *refusal {
	var rejected *source.Rejected
	if errors.As(err, &rejected) {
		return &refusal{rejected.Reason, rejected.Detail}
	}
	return &refusal{core.RejectMalformed, "the message can't be read"}
}

// retryAfter is what a sender is told to wait: short, because what is refused for a moment's load or a
// store that is away is not lost only if it comes again.
const retryAfter = "5"

// answer says what the provider wants to hear.
func (x *exchange) answer(a *source.Answer) {
	header := x.w.Header()
	for name, text := range a.Header {
		header[name] = []string{text}
	}
	if a.Body == "" {
		x.w.WriteHeader(a.Status)
		return
	}
	if a.Sandboxed {
		header["X-Content-Type-Options"] = []string{"nosniff"}
		header["Content-Security-Policy"] = []string{"sandbox"}
	}
	header["Content-Type"] = []string{a.ContentType}
	header["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	x.w.WriteHeader(a.Status)
	x.write(a.Body)
}

// refuse answers a refused request, and hands it to the audit.
func (x *exchange) refuse(no *refusal) {
	way := ways[no.reason]
	if x.entry != nil && x.entry.AlwaysOK && !way.retry && no.reason != core.RejectMethod {
		x.keep(no, x.entry.Answer.Status)
		x.answer(&x.entry.Answer)
		return
	}
	if x.entry != nil {
		if own := x.entry.RefusalStatus(no.reason); own != 0 {
			way.status = own
		}
	}
	x.keep(no, way.status)
	header := x.w.Header()
	header["Content-Type"] = []string{"text/plain; charset=utf-8"}
	header["X-Content-Type-Options"] = []string{"nosniff"}
	switch {
	case no.reason == core.RejectMethod:
		header["Allow"] = []string{x.entry.Allow}
	case way.status == http.StatusUnauthorized && x.entry.Challenge != "":
		header["Www-Authenticate"] = []string{x.entry.Challenge}
	case way.status == http.StatusTooManyRequests, way.status == http.StatusServiceUnavailable:
		header["Retry-After"] = []string{retryAfter}
	case no.reason == core.RejectTooLarge, no.reason == core.RejectTruncated, no.reason == core.RejectTimeout:
		// What is left of the body is not worth reading.
		header["Connection"] = []string{"close"}
	}
	header["Content-Length"] = []string{strconv.Itoa(len(no.detail) + 1)}
	x.w.WriteHeader(way.status)
	x.write(no.detail)
	x.write("\n")
}

// write ignores a client that went away: there is nobody left to tell.
func (x *exchange) write(text string) {
	if w, ok := x.w.(interface{ WriteString(string) (int, error) }); ok {
		_, _ = w.WriteString(text)
		return
	}
	_, _ = x.w.Write([]byte(text))
}
