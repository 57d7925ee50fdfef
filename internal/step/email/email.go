// Package email is the step email/send: one mail through a mail server of the configuration.
//
// Mail knows no key that would make a repeat harmless. Until the server has taken the whole message
// nothing was sent, and a failure before that is retried. When the answer to the end of the message is
// lost, nobody knows: the mail may go out again, under the same Message-ID, by which people and mail
// programs recognise it; or on_unknown: stop asks a person instead.
package email

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"strings"

	"github.com/wneessen/go-mail"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// Send is the kind email/send.
func Send() step.Kind {
	return step.Kind{
		Name:       "email/send",
		Class:      step.ClassAtLeastOnce,
		Connection: "smtp",
		Result:     []string{"message_id"},
		Doc:        "Sends a mail, with `text`, `html`, or both. Its result has `message_id`.",
		Params: []step.Param{
			{Name: "to", Type: step.TypeList, Required: true, Doc: "Who gets it: one address or a list."},
			{Name: "cc", Type: step.TypeList, Doc: "Who gets a copy."},
			{Name: "bcc", Type: step.TypeList, Doc: "Who gets a copy that the others don't see."},
			{Name: "reply_to", Type: step.TypeString, Doc: "Where answers go."},
			{Name: "subject", Type: step.TypeString, Required: true, Doc: "The subject; line breaks become spaces."},
			{Name: "text", Type: step.TypeString, Doc: "The mail as plain text."},
			{Name: "html", Type: step.TypeString, Encode: encodeHTML,
				Doc: "The mail as HTML; inserted values are escaped for the place where they stand."},
		},
		Run: run,
	}
}

func run(ctx context.Context, call *step.Call) (step.Result, error) {
	server, ok := call.Connection.(*server)
	if !ok {
		return nil, fmt.Errorf("email/send got a connection of type %T", call.Connection)
	}
	msg, err := compose(server.from, call)
	if err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
	}
	if err := server.send(ctx, msg); err != nil && !msg.IsDelivered() {
		return nil, meaning(err)
	}
	return step.Result{"message_id": msg.GetMessageID()}, nil
}

// meaning tells what a failed conversation means for the delivery: a code of the server's decides where
// it gave one (5yz is final by RFC 5321, section 4.2.1), and else how far the conversation came.
func meaning(err error) *step.Failure {
	failure := &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Cause: err}
	var sent *mail.SendError
	var reply *textproto.Error
	code, said := 0, ""
	switch {
	case errors.As(err, &reply):
		code, said = reply.Code, reply.Msg
	case errors.As(err, &sent):
		code, said = sent.ErrorCode(), sent.EnhancedStatusCode()
	}
	switch {
	case code >= 400:
		failure.Reason, failure.Message = core.ReasonStatus, strings.TrimSpace(fmt.Sprintf("the mail server answered %d %s", code, said))
		if code >= 500 {
			failure.Disposition = step.Final
		}
		if code == 535 || code == 534 || code == 538 {
			failure.Reason = core.ReasonAuth
		}
	case sent != nil && sent.Reason == mail.ErrSMTPDataClose:
		failure.Disposition, failure.Reason = step.Unknown, core.ReasonUnknown
		failure.Message = "the mail was handed over and the server's answer was lost: it may have been sent"
	case failure.Reason == core.ReasonAddress:
		failure.Disposition, failure.Message = step.Final, "mail server: "+egress.Explain(err)
	case failure.Reason != core.ReasonInternal:
		failure.Message = "mail server: " + egress.Explain(err)
	case errors.Is(err, mail.ErrNoSupportedAuthDiscovered):
		failure.Disposition, failure.Reason = step.Final, core.ReasonAuth
		failure.Message = "the mail server offers no safe way to log in"
	case strings.Contains(err.Error(), noStartTLS):
		failure.Reason = core.ReasonTLS
		failure.Message = "the mail server offers no STARTTLS: nothing was sent in clear; write tls: tls for one that is encrypted from the first byte (port 465), " +
			"or tls: none, without user and pass, for one on this machine"
	default:
		failure.Reason, failure.Message = core.ReasonReset, "the conversation with the mail server failed: "+firstLine(err)
	}
	return failure
}

// noStartTLS is how the library says it; it has no error of its own for that.
const noStartTLS = "does not support STARTTLS"

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
