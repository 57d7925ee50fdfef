package telemetry

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
)

// LogOptions say how to log.
type LogOptions struct {
	Out io.Writer
	// Format is text (one readable line per event) or json.
	Format string
	// Level is debug, info, warn or error.
	Level string
}

// Log is the process's logger. Its level and the secrets it must not print follow the configuration
// without a restart.
type Log struct {
	*slog.Logger
	level slog.LevelVar
	out   scrubber
}

// NewLog makes the logger. An unknown format or level is an error that names what is allowed.
func NewLog(o LogOptions) (*Log, error) {
	l := &Log{out: scrubber{out: o.Out}}
	if err := l.SetLevel(o.Level); err != nil {
		return nil, err
	}
	var h slog.Handler
	switch o.Format {
	case "text", "":
		h = newTextHandler(&l.out, &l.level)
	case "json":
		h = slog.NewJSONHandler(&l.out, &slog.HandlerOptions{Level: &l.level})
	default:
		return nil, fmt.Errorf("log format %q: allowed are text and json", o.Format)
	}
	l.Logger = slog.New(redactor{h})
	return l, nil
}

// SetLevel changes the least level that is written; "" is info.
func (l *Log) SetLevel(level string) error {
	levels := map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	v, ok := levels[strings.ToLower(level)]
	if !ok {
		return fmt.Errorf("log level %q: allowed are debug, info, warn and error", level)
	}
	l.level.Set(v)
	return nil
}

// HideSecrets takes these texts out of every line from now on, besides those given before: a secret
// that was replaced by a reload may still be on its way into a line. Texts of fewer than six bytes stay:
// to hide "test" would garble the log and protect nothing.
func (l *Log) HideSecrets(values []string) { l.out.hide(values) }

// scrubber takes known texts out of finished lines.
type scrubber struct {
	out   io.Writer
	known atomic.Pointer[scrubbed]
}

type scrubbed struct {
	values   []string
	texts    [][]byte // what stands in lines
	replacer *strings.Replacer
}

const shortestSecret = 6

func (s *scrubber) hide(values []string) {
	var all []string
	if old := s.known.Load(); old != nil {
		all = slices.Clone(old.values)
	}
	for _, v := range values {
		if len(v) >= shortestSecret && !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	known := &scrubbed{values: all, replacer: Hiding(all)}
	for _, text := range hidden(all) {
		known.texts = append(known.texts, []byte(text))
	}
	s.known.Store(known)
}

// Hiding returns what takes these texts out of a text, as they are and as they stand inside quotes. Texts
// of fewer than six bytes stay.
func Hiding(values []string) *strings.Replacer {
	texts := hidden(values)
	pairs := make([]string, 0, 2*len(texts))
	for _, text := range texts {
		pairs = append(pairs, text, secretText)
	}
	return strings.NewReplacer(pairs...)
}

// hidden are the values' texts, as they are and as they stand inside quotes.
func hidden(values []string) []string {
	// The longest first: where one secret begins another, the rest of the longer would stay.
	sorted := slices.SortedStableFunc(slices.Values(values), func(a, b string) int { return len(b) - len(a) })
	var texts []string
	for _, v := range sorted {
		if len(v) < shortestSecret {
			continue
		}
		texts = append(texts, v)
		if quoted := fmt.Sprintf("%q", v); quoted[1:len(quoted)-1] != v {
			texts = append(texts, quoted[1:len(quoted)-1])
		}
	}
	return texts
}

// Write writes one line. slog's handlers write each line with one call. To look whether a secret is there takes a tenth
// of replacing it, and nearly never one is.
func (s *scrubber) Write(line []byte) (int, error) {
	known := s.known.Load()
	if known == nil || !slices.ContainsFunc(known.texts, func(text []byte) bool { return bytes.Contains(line, text) }) {
		return s.out.Write(line)
	}
	if _, err := known.replacer.WriteString(s.out, string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
