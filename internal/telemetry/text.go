package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// textHandler writes one line for each record, for people:
//
//	2026-03-02T09:41:07.312+01:00 INFO  invoice created  reference=D-20260302-00012 amount="1200.00 EUR" outcome=succeeded
//
// The time comes first and is local, the message stands before its attributes, and a value is quoted only
// where it would be misread. A line break in a value is written as \n: nobody can forge a line.
type textHandler struct {
	mu     *sync.Mutex
	out    io.Writer
	level  slog.Leveler
	prefix string // attributes of With, already written
	group  string // "name." of open groups
}

func newTextHandler(out io.Writer, level slog.Leveler) *textHandler {
	return &textHandler{mu: &sync.Mutex{}, out: out, level: level}
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// lines are buffers that were written.
var lines = sync.Pool{New: func() any { return new([]byte) }}

// longLine is the largest buffer that is kept.
const longLine = 4 << 10

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	buffer := lines.Get().(*[]byte)
	line := (*buffer)[:0]
	defer func() {
		if cap(line) <= longLine {
			*buffer = line
			lines.Put(buffer)
		}
	}()
	if !r.Time.IsZero() {
		line = r.Time.AppendFormat(line, "2006-01-02T15:04:05.000Z07:00")
		line = append(line, ' ')
	}
	line = append(line, levelName(r.Level)...)
	line = append(line, ' ')
	line = append(line, oneLine(r.Message)...)
	if h.prefix != "" || r.NumAttrs() > 0 {
		line = append(line, ' ')
	}
	line = append(line, h.prefix...)
	r.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.group, a)
		return true
	})
	line = append(line, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(line)
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	written := []byte(h.prefix)
	for _, a := range attrs {
		written = appendAttr(written, h.group, a)
	}
	next.prefix = string(written)
	return &next
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.group += name + "."
	return &next
}

// levelName is as wide for each level, so that messages stand in one column.
func levelName(l slog.Level) string {
	switch l {
	case slog.LevelInfo:
		return "INFO "
	case slog.LevelWarn:
		return "WARN "
	}
	return fmt.Sprintf("%-5s", l.String())
}

func appendAttr(line []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return line
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range v.Group() {
			line = appendAttr(line, group, member)
		}
		return line
	}
	line = append(line, ' ')
	line = append(line, oneLine(group+a.Key)...)
	line = append(line, '=')
	return append(line, quoted(valueText(v))...)
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindFloat64:
		return strconv.FormatFloat(v.Float64(), 'f', -1, 64)
	default:
		return v.String()
	}
}

// quoted writes a value so that it reads as one: bare when it holds nothing that separates.
func quoted(s string) string {
	if s == "" {
		return `""`
	}
	for _, c := range s {
		if c <= ' ' || c == '"' || c == '=' || c == utf8.RuneError || !unicode.IsPrint(c) {
			return strconv.Quote(s)
		}
	}
	return s
}

// oneLine keeps a message on its line.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		q := strconv.Quote(s)
		return q[1 : len(q)-1]
	}
	return s
}
