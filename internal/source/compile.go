package source

import (
	"maps"
	"net/http"
	"net/netip"
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

// check compiles all of a preset that needs no secret.
func (p *Preset) check() error {
	s := new(Source)
	s.answers(p)
	if _, err := parsePrefixes(p.AllowIPs); err != nil {
		return err
	}
	for _, method := range append(slices.Clone(p.Methods), slices.Collect(maps.Keys(s.Handshakes))...) {
		if method == "" || strings.ToUpper(method) != method {
			return invalid("methods", "%q is not a method: methods are written in capitals", method)
		}
	}
	if p.Answer.Status != 0 && (p.Answer.Status < 200 || p.Answer.Status > 299) {
		return invalid("answer.status", "%d: what was stored is answered with a 2xx", p.Answer.Status)
	}
	if p.Verify.Scheme != "none" {
		if err := p.Verify.check(); err != nil {
			return err
		}
	}
	return s.compileReading(p, config.Source{})
}

func (s *Source) answers(p *Preset) {
	s.Answer = p.Answer.withDefaults()
	s.Methods = p.Methods
	if len(s.Methods) == 0 {
		s.Methods = []string{http.MethodPost}
	}
	s.Handshakes = make(map[string]Answer, len(p.Handshake))
	allow := slices.Clone(s.Methods)
	for _, h := range p.Handshake {
		s.Handshakes[h.Method] = h.Answer.withDefaults()
		allow = append(allow, h.Method)
	}
	s.Allow = strings.Join(allow, ", ")
}

func (a Answer) withDefaults() Answer {
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if a.ContentType == "" && a.Body != "" {
		a.ContentType = "text/plain; charset=utf-8"
	}
	return a
}

func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, errAddr := netip.ParseAddr(text)
			if errAddr != nil {
				return nil, invalid("allow_ips", "%q is no address and no range", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// compileReading makes what Read needs.
func (s *Source) compileReading(p *Preset, in config.Source) error {
	var err error
	for _, f := range []struct {
		to   *formatOf
		text string
	}{{&s.formatForm, p.Data.Form}, {&s.formatJSON, p.Data.JSON}, {&s.formatOther, p.Data.Other}} {
		if *f.to, err = parseFormat(f.text); err != nil {
			return err
		}
	}
	rules := &ruleReader{want: newPaths()}
	if s.types, err = rules.compile("type", p.Type, false); err != nil {
		return err
	}
	if s.nativeTypes, err = rules.compile("native_type", p.NativeType, false); err != nil {
		return err
	}
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
	if s.dedup, err = rules.compile("dedup", dedup.Key, true); err != nil {
		return err
	}
	s.dedupWindow = window(in.DedupWindow, dedup)
	s.dedupSeed = []byte(core.DefaultTenant + "\x00" + s.Name + "\x00")
	s.want, s.slots = rules.want, rules.slots
	s.readings.New = s.newReading
	s.redact, err = parseRedaction(append(slices.Clone(p.Redact), in.Redact...))
	return err
}

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
