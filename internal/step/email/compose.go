package email

import (
	"errors"
	"fmt"
	"html/template"
	netmail "net/mail"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"relais/internal/expr"
	"relais/internal/step"
)

const (
	maxRecipients = 100
	maxSubject    = 500 // characters; longer ones are cut, as no reader shows them
)

func compose(from string, call *step.Call) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.From(from); err != nil {
		return nil, errors.New("from is not an address")
	}
	total := 0
	for _, list := range []struct {
		name string
		set  func(...string) error
	}{{"to", msg.To}, {"cc", msg.Cc}, {"bcc", msg.Bcc}} {
		addresses, err := recipients(list.name, call.With[list.name])
		if err != nil {
			return nil, err
		}
		if total += len(addresses); total > maxRecipients {
			return nil, fmt.Errorf("a mail has at most %d recipients", maxRecipients)
		}
		if len(addresses) == 0 {
			continue
		}
		if err := list.set(addresses...); err != nil {
			return nil, fmt.Errorf("%s: an address can't be used", list.name)
		}
	}
	if reply, ok := call.With["reply_to"].(string); ok {
		address, err := oneAddress(reply)
		if err != nil {
			return nil, fmt.Errorf("reply_to: %w", err)
		}
		if err := msg.ReplyTo(address); err != nil {
			return nil, errors.New("reply_to: the address can't be used")
		}
	}
	subject, _ := call.With["subject"].(string)
	msg.Subject(oneLine(subject))
	msg.SetDateWithValue(call.Now())
	msg.SetMessageIDWithValue(messageID(call.IdempotencyKey, from))
	// Says to vacation responders that nobody wrote this (RFC 3834, section 5).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	return msg, setBody(msg, call.With)
}

func setBody(msg *mail.Msg, with map[string]any) error {
	text, hasText := with["text"].(string)
	html, hasHTML := with["html"].(string)
	switch {
	case hasText:
		msg.SetBodyString(mail.TypeTextPlain, text)
		if hasHTML {
			msg.AddAlternativeString(mail.TypeTextHTML, html)
		}
	case hasHTML:
		msg.SetBodyString(mail.TypeTextHTML, html)
	default:
		return errors.New("text or html must be given")
	}
	return nil
}

// messageID is the same for every attempt, so that a second copy is known for one.
func messageID(key, from string) string {
	domain := "relais.invalid"
	if address, err := netmail.ParseAddress(from); err == nil {
		domain = address.Address[strings.LastIndexByte(address.Address, '@')+1:]
	}
	return key + "@" + domain
}

func recipients(name string, value any) ([]string, error) {
	list, _ := value.([]any)
	out := make([]string, 0, len(list))
	for i, item := range list {
		text, _ := item.(string)
		address, err := oneAddress(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		out = append(out, address)
	}
	if name == "to" && len(out) == 0 {
		return nil, errors.New("to: there is no recipient")
	}
	return out, nil
}

// oneAddress takes exactly one address: a value from an event can't add a recipient.
func oneAddress(text string) (string, error) {
	if len(text) > 1000 || strings.ContainsAny(text, "\r\n\x00") {
		return "", errors.New("it is not a mail address")
	}
	address, err := netmail.ParseAddress(text)
	// A quoted local part may hold what ends the address for a careless mail server; nobody has one.
	if err != nil || strings.ContainsAny(address.Address, "\r\n\t\x00 <>\"\\") {
		return "", errors.New("it is not a mail address")
	}
	address.Name = oneLine(address.Name) // an encoded word may have held line breaks
	return address.String(), nil
}

// oneLine makes a subject. A value that is already written as an encoded word would be decoded by the
// reader's program, control characters and all; the space keeps it the text that it is.
func oneLine(text string) string {
	text = strings.ReplaceAll(text, "=?", "= ?")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxSubject {
		return string(runes[:maxSubject-1]) + "…"
	}
	return text
}

// encodeHTML lets html/template escape each inserted value by where it stands: text, attribute, address,
// script. The file's own words are the template; an action in them is only text.
func encodeHTML(pieces []expr.Piece) (string, error) {
	var source strings.Builder
	var inserted []string
	for _, piece := range pieces {
		if piece.Inserted {
			source.WriteString("{{index . " + strconv.Itoa(len(inserted)) + "}}")
			inserted = append(inserted, piece.Text)
		} else {
			source.WriteString(strings.ReplaceAll(piece.Text, "{{", `{{"{{"}}`))
		}
	}
	t, err := template.New("html").Parse(source.String())
	if err != nil {
		return "", errors.New("the HTML can't be read")
	}
	var out strings.Builder
	if err := t.Execute(&out, inserted); err != nil {
		return "", errors.New("a value stands where it can't be escaped: between tags, in quoted attributes and addresses it can")
	}
	return out.String(), nil
}
