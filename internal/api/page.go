package api

import (
	"strconv"
	"time"

	"relais/internal/core"
)

// Page is the part of a list's request that says which page.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Entries on a page"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}

// Span is the part of a list's request that says from when to when.
type Span struct {
	Since time.Time `query:"since" doc:"Not before this time (RFC 3339)"`
	Until time.Time `query:"until" doc:"Before this time (RFC 3339)"`
}

// before reads the cursor of lists that are ordered by a number.
func (p Page) before() (int64, error) {
	if p.Cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(p.Cursor, 10, 64)
	if err != nil || n <= 0 {
		return 0, at("query.cursor", core.Errorf(core.CodeInvalid, "%q is not a cursor: use next_cursor of the page before", p.Cursor))
	}
	return n, nil
}

// List is one page of a list, newest first unless the operation says otherwise.
type List[T any] struct {
	Items []T `json:"items"`
	// NextCursor is "" on the last page.
	NextCursor string `json:"next_cursor,omitempty" doc:"Pass as cursor for the next page; absent on the last one"`
}

// listed makes a page of rows of which one more than limit was read: that one tells whether there is a
// next page, and isn't shown.
func listed[R, T any](rows []R, limit int, view func(*R) T, cursor func(*R) string) List[T] {
	out := List[T]{Items: make([]T, 0, min(len(rows), limit))}
	for i := range rows {
		if i == limit {
			out.NextCursor = cursor(&rows[i-1])
			break
		}
		out.Items = append(out.Items, view(&rows[i]))
	}
	return out
}

// pattern reads a pattern of event types; "" takes all.
func pattern(field, s string) (core.Pattern, error) {
	if s == "" {
		return core.Pattern{}, nil
	}
	p, err := core.ParsePattern(s)
	return p, at(field, err)
}
