package source

import (
	"slices"
	"strings"
)

type signedKind uint8

const (
	signedLiteral signedKind = iota
	signedKey
	signedTimestamp
	signedID
	signedMethod
	signedURL
	signedBody
)

var signedNames = map[string]signedKind{
	"key": signedKey, "timestamp": signedTimestamp, "id": signedID,
	"method": signedMethod, "url": signedURL, "body": signedBody,
}

// signedPart is a piece of what is signed.
type signedPart struct {
	kind    signedKind
	literal []byte
}

// parseSigned reads a template such as "{timestamp}.{body}".
func parseSigned(text string) ([]signedPart, error) {
	var parts []signedPart
	err := eachPart(text, func(literal string) error {
		parts = append(parts, signedPart{literal: []byte(literal)})
		return nil
	}, func(name string) error {
		kind, ok := signedNames[name]
		if !ok {
			return invalid("verify.signed", "{%s} can't be signed: allowed are {key}, {timestamp}, {id}, {method}, {url}, {body}", name)
		}
		parts = append(parts, signedPart{kind: kind})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return parts, nil
}

// eachPart walks a template's literals and its names in braces.
func eachPart(text string, literal, name func(string) error) error {
	for text != "" {
		open := strings.IndexByte(text, '{')
		if open < 0 {
			return literal(text)
		}
		if open > 0 {
			if err := literal(text[:open]); err != nil {
				return err
			}
		}
		end := strings.IndexByte(text[open:], '}')
		if end < 0 {
			return invalid("", "%q: a brace is not closed", text)
		}
		if err := name(text[open+1 : open+end]); err != nil {
			return err
		}
		text = text[open+end+1:]
	}
	return nil
}

func signs(parts []signedPart, kind signedKind) bool {
	for _, p := range parts {
		if p.kind == kind {
			return true
		}
	}
	return false
}

// extendable tells whether whoever saw one signed request can sign a longer one without the key: a plain
// digest goes on from where it ended, unless it ended with the key, which only its holder can write again.
func extendable(s scheme, parts []signedPart) bool {
	if s.keyed {
		return false
	}
	for _, p := range slices.Backward(parts) {
		if p.kind != signedLiteral {
			return p.kind != signedKey
		}
	}
	return false
}
