package sqlstep

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/step"
)

// What of the rows is kept: the whole result has 64 KiB.
const (
	maxRows = 1000
	maxSize = 60 << 10
)

// rows are the rows that a statement gave, as far as they are kept.
type rows struct {
	// stopAtLimit tells that nobody needs the rows past those that are kept.
	stopAtLimit bool
	// whole tells that a row is needed whatever its size: it is relais' own.
	whole bool

	columns   []string
	list      []any
	count     int64
	size      int
	truncated bool
	// unread tells that there were more rows than were counted.
	unread bool
}

// head names the columns. Two of one name would hide one another.
func (r *rows) head(columns []string) error {
	seen := map[string]bool{}
	for _, name := range columns {
		if seen[name] {
			return &step.Failure{Disposition: step.Final, Reason: core.ReasonStatement,
				Message: fmt.Sprintf("two columns are called %q: give them names with AS", name)}
		}
		seen[name] = true
	}
	r.columns = columns
	return nil
}

// add counts a row, keeps it while there is room, and tells whether the next one is wanted.
func (r *rows) add(values []any) (bool, error) {
	r.count++
	if r.truncated {
		return true, nil
	}
	row := make(map[string]any, len(values))
	for i, value := range values {
		row[r.columns[i]] = value
	}
	text, err := json.Marshal(row)
	if err != nil {
		return false, fmt.Errorf("encode a row: %w", err)
	}
	size := len(text) + 1
	if len(r.list) == 0 {
		size *= 2 // it stands twice, also as the first
	}
	if !r.whole && (len(r.list) == maxRows || r.size+size > maxSize) {
		r.truncated = true
		if r.stopAtLimit {
			r.unread = true
			r.count--
			return false, nil
		}
		return true, nil
	}
	r.size += size
	r.list = append(r.list, row)
	return true, nil
}

// write puts the rows into a step's result.
func (r *rows) write(result step.Result) {
	result["rows"], result["row"], result["count"], result["truncated"] = r.list, nil, r.count, r.truncated
	if r.list == nil {
		result["rows"] = []any{}
	} else {
		result["row"] = r.list[0]
	}
}

// timeOf writes a time as RFC 3339 in UTC.
func timeOf(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// textOf writes bytes that should be text: base64 where they aren't.
func textOf(raw []byte) any {
	if utf8.Valid(raw) {
		return string(raw)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// jsonOf decodes a JSON column.
func jsonOf(raw []byte) any {
	if value, err := expr.DecodeJSON(raw); err == nil {
		return value
	}
	return textOf(raw)
}

// floatOf is a double as JSON can hold it.
func floatOf(f float64, bits int) any {
	switch {
	case math.IsNaN(f), math.IsInf(f, 0):
		return strconv.FormatFloat(f, 'g', -1, bits)
	case bits == 32: // the shortest decimal that is this float, not this float's double
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, 32), 64)
	}
	return f
}
