package source

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"relais/internal/config"
)

// check compiles all of a preset that needs no secret, and joins all that is wrong.
func (p *Preset) check() error {
	s := new(Source)
	faults := []error{s.answers(p), s.defaults(p)}
	for _, one := range []struct{ field, path string }{{"path", p.Path}, {"test_path", p.TestPath}, {"events_path", p.EventsPath}} {
		if one.path == "" {
			continue
		}
		if _, err := config.ParsePath(one.path); err != nil {
			faults = append(faults, invalid(one.field, "%s", err))
		}
	}
	_, err := parsePrefixes(p.AllowIPs)
	faults = append(faults, err)
	for _, method := range s.allMethods(p) {
		if method == "" || strings.ToUpper(method) != method {
			faults = append(faults, invalid("methods", "%q is not a method: methods are written in capitals", method))
		}
	}
	if p.Answer.Status != 0 && (p.Answer.Status < 200 || p.Answer.Status > 299) {
		faults = append(faults, invalid("answer.status", "%d: what was stored is answered with a 2xx", p.Answer.Status))
	}
	if p.Verify.Scheme != "none" {
		faults = append(faults, p.Verify.check())
	}
	return errors.Join(append(faults, s.compileReading(p, config.Source{}))...)
}

func (s *Source) answers(p *Preset) (err error) {
	s.Answer = p.Answer.withDefaults()
	s.Methods = p.Methods
	if len(s.Methods) == 0 {
		s.Methods = []string{http.MethodPost}
	}
	s.Allow = strings.Join(s.allMethods(p), ", ")
	s.refuse, err = p.Refuse.statuses()
	return err
}

// allMethods are those that are answered, with messages or handshakes.
func (s *Source) allMethods(p *Preset) []string {
	out := slices.Clone(s.Methods)
	for _, h := range p.Handshake {
		if h.Method != "" && !slices.Contains(out, h.Method) {
			out = append(out, h.Method)
		}
	}
	return out
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
