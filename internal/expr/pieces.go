package expr

import (
	"context"

	"relais/internal/core"
)

// Piece is a stretch of an evaluated text: the configuration's own words, or a value that was inserted.
type Piece struct {
	Text     string
	Inserted bool
}

// Pieces evaluates a template that is one text and keeps the configuration's words apart from what came
// from outside, for whoever must encode the latter by where it stands: in a URL's path or its query, in
// HTML. A value that is alone is written as plain text too.
func (t *Template) Pieces(ctx context.Context, vars Vars) ([]Piece, error) {
	var parts textNode
	switch n := t.root.(type) {
	case textNode:
		parts = n
	case valueNode:
		parts = textNode{{value: n.value}}
	case literal:
		text, err := plainText(n.value)
		if err != nil {
			return nil, core.Errorf(core.CodeInvalid, "the value %w", err)
		}
		return []Piece{{Text: text}}, nil
	default:
		return nil, core.Errorf(core.CodeInvalid, "the value is not a text")
	}
	pieces, size := make([]Piece, len(parts)), 0
	for i, p := range parts {
		pieces[i] = Piece{Text: p.text}
		if p.value != nil {
			value, err := p.value.Eval(ctx, vars)
			if err != nil {
				return nil, err
			}
			text, err := plainText(value)
			if err != nil {
				return nil, core.Errorf(core.CodeInvalid, "%s %w", shorten(p.value.src), err)
			}
			pieces[i] = Piece{Text: text, Inserted: true}
		}
		if size += len(pieces[i].Text); size > MaxResult {
			return nil, core.Errorf(core.CodeInvalid, "the text is longer than 1 MiB")
		}
	}
	return pieces, nil
}
