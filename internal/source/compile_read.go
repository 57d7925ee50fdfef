package source

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// Windows of a dedup key when the preset gives none: a provider's id is remembered for longer than
// providers retry; a body's digest only for as long as one message is sent again by accident.
const (
	windowOfID   = 72 * time.Hour
	windowOfBody = 10 * time.Minute
)

// compileReading makes what Read needs.
func (s *Source) compileReading(p *Preset, in config.Source) error {
	var faults []error
	var err error
	for i, f := range []struct {
		to   *formatOf
		text string
	}{{&s.formatForm, p.Data.Form}, {&s.formatJSON, p.Data.JSON}, {&s.formatOther, p.Data.Other}} {
		if *f.to, err = parseFormat(f.text); err != nil && (i == 0 || f.text != p.Data.Form) {
			faults = append(faults, err)
		}
	}
	names, err := fieldNames(p.Fields, in.Fields)
	faults = append(faults, err)
	rules := &ruleReader{lens: newLens(), names: names}
	if len(p.Split.At) > 0 {
		rules.envelope = newLens()
	}
	s.split, err = compileSplit(&p.Split, rules.envelope)
	faults = append(faults, err)
	s.types, err = rules.compile("type", p.Type)
	faults = append(faults, err)
	s.nativeTypes, err = rules.compile("native_type", p.NativeType)
	faults = append(faults, err)
	s.trial, err = rules.conditions("test", p.Test)
	faults = append(faults, err, s.compileAgree(rules, p.Agree), s.compileHandshakes(rules, p))
	dedup := p.Dedup
	switch in.Dedup {
	case "":
		// Anyone could send the next key first, and the real message would be taken for the repeat.
		s.dedupBody = in.Auth == "none"
	case "off":
		dedup = Dedup{}
	case "body":
		dedup = Dedup{Key: Rules{{Is: "{body}"}}}
	default:
		dedup = Dedup{Key: Rules{{CEL: in.Dedup}}, Window: dedup.Window}
	}
	rules.allow = fieldsAllowed{body: true}
	s.dedup, err = rules.compile("dedup", dedup.Key)
	if err := errors.Join(append(faults, err, s.stored.compile(s, p, names))...); err != nil {
		return err
	}
	s.dedupWindow = window(in.DedupWindow, dedup)
	if keep := in.Retention.Events; keep > 0 && keep < s.dedupWindow && len(dedup.Key) > 0 {
		return invalid("retention.events", "%s is shorter than the %s for which repeats are known: an event that is gone can't be repeated; give dedup_window as well", keep, s.dedupWindow)
	}
	s.dedupSeed = []byte(core.DefaultTenant + "\x00" + s.Name + "\x00")
	s.readings.New = s.newReading(rules.lens)
	if s.split != nil {
		s.envelopes.New = s.newReading(rules.envelope)
	}
	s.redact, err = parseRedaction(append(slices.Clone(p.Redact), in.Redact...))
	return err
}

func (s *Source) compileAgree(rules *ruleReader, in [][]string) error {
	for _, texts := range in {
		if len(texts) < 2 {
			return invalid("agree", "%q agrees with nothing: two texts or more must be the same", texts)
		}
		var compiled [][]field
		for _, text := range texts {
			parts, err := rules.text("agree", text)
			if err != nil {
				return err
			}
			compiled = append(compiled, parts)
		}
		s.agree = append(s.agree, compiled)
	}
	return nil
}

// fieldNames reads which name stands for which letter; the source's own go before the preset's.
func fieldNames(texts ...string) (map[string]string, error) {
	names := map[string]string{}
	for _, text := range texts {
		if text == "" {
			continue
		}
		clear(names)
		for pair := range strings.SplitSeq(text, ";") {
			name, letter, ok := strings.Cut(strings.TrimSpace(pair), ":")
			if !ok || !fieldGrammar.MatchString(name) || !fieldGrammar.MatchString(letter) {
				return nil, invalid("fields", "%q is no NAME:LETTER: fields are written as Mt:M;Ref:R", pair)
			}
			names[letter] = name
		}
	}
	return names, nil
}

var fieldGrammar = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func window(own time.Duration, dedup Dedup) time.Duration {
	switch {
	case own > 0:
		return own
	case dedup.Window > 0:
		return dedup.Window
	}
	for _, rule := range dedup.Key {
		if strings.Contains(rule.Is, "{body}") {
			return windowOfBody
		}
	}
	return windowOfID
}
