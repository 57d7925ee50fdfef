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
	signedPreceding
	// What follows is looked up or computed once for a request.
	signedCRC32
	signedSortedForm
	signedSortedValues
	signedHeader
	signedQuery
	signedForm
	signedJSON
	signedValue
)

// signedName is a name that can stand in braces.
type signedName struct {
	kind     signedKind
	argument bool // it goes on with a dot and a name of its own
}

var signedNames = map[string]signedName{
	"key": {kind: signedKey}, "timestamp": {kind: signedTimestamp}, "id": {kind: signedID},
	"method": {kind: signedMethod}, "url": {kind: signedURL}, "body": {kind: signedBody},
	"preceding": {kind: signedPreceding}, "crc32": {kind: signedCRC32}, "sorted-form": {kind: signedSortedForm},
	"sorted-values": {signedSortedValues, true}, "header": {signedHeader, true}, "query": {signedQuery, true},
	"form": {signedForm, true}, "json": {signedJSON, true}, "value": {signedValue, true},
}

type filter uint8

const (
	filterNone filter = iota
	filterUnslash
	filterAnyPort
	filterDecodeReserved
)

var filters = map[string]filter{"unslash": filterUnslash, "any-port": filterAnyPort, "decode-reserved": filterDecodeReserved}

// signedPart is a piece of what is signed.
type signedPart struct {
	kind    signedKind
	filter  filter
	literal []byte
	name    string // a header's in its canonical form
	slot    int    // of signedJSON
}

// varies tells whether what stands for the part can't be known before a signature matches.
func (p *signedPart) varies() bool {
	return p.kind == signedPreceding || p.filter == filterAnyPort
}

// direct tells whether the part is taken from the request as it is.
func (p *signedPart) direct() bool { return p.kind < signedPreceding && p.filter == filterNone }

// parseSigned reads a template such as "{timestamp}.{body}".
func parseSigned(text string) ([]signedPart, error) {
	var parts []signedPart
	slots := 0
	err := eachPart(text, func(literal string) error {
		parts = append(parts, signedPart{literal: []byte(literal)})
		return nil
	}, func(name string) error {
		part, err := parsePart(name)
		if part.kind == signedJSON {
			part.slot = slots
			slots++
		}
		parts = append(parts, part)
		return err
	})
	if err != nil {
		return nil, err
	}
	return parts, nil
}

func parsePart(text string) (signedPart, error) {
	name, filterName, filtered := strings.Cut(text, "|")
	name, argument, _ := strings.Cut(name, ".")
	known, ok := signedNames[name]
	if !ok || known.argument != (argument != "") {
		return signedPart{}, invalid("verify.signed", "{%s} can't be signed: allowed are %s", text, allowedParts())
	}
	part := signedPart{kind: known.kind, name: argument}
	if part.kind == signedHeader {
		part.name = headerPlace(argument).name
	}
	if filtered {
		part.filter = filters[filterName]
		if suits := part.filter == filterUnslash && part.kind > signedSortedValues ||
			part.filter > filterUnslash && part.kind == signedURL; !suits {
			return signedPart{}, invalid("verify.signed", "{%s}: |%s is nothing that can be done to it: allowed are {url|any-port}, {url|decode-reserved}, and |unslash after fields",
				text, filterName)
		}
	}
	return part, nil
}

func allowedParts() string {
	var out []string
	for name, known := range signedNames {
		if known.argument {
			name += ".NAME"
		}
		out = append(out, "{"+name+"}")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
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
	if s.kind != plainHash {
		return false
	}
	for _, p := range slices.Backward(parts) {
		if p.kind != signedLiteral {
			return p.kind != signedKey
		}
	}
	return false
}
