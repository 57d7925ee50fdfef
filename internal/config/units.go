package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads Go's durations and whole days: "30d", "1d12h", "72h", "5m", "1.5s", "0".
func ParseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a duration: allowed are numbers with d, h, m, s or ms, such as 30d, 72h, 5m, 1m30s", s)
	rest, days := s, time.Duration(0)
	if before, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, wrong
		}
		if days, rest = time.Duration(n)*24*time.Hour, after; rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-days {
		return 0, wrong
	}
	return days + d, nil
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads a number of bytes: "64MiB", "1 MB", "1048576".
func ParseSize(s string) (int64, error) {
	number, factor := strings.TrimSpace(s), int64(1)
	for _, unit := range sizeUnits {
		if before, ok := strings.CutSuffix(number, unit.name); ok {
			number, factor = strings.TrimSpace(before), unit.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is not a size: allowed are whole numbers of bytes, or with kB, MB, GB, KiB, MiB, GiB, such as 64MiB", s)
	}
	return n * factor, nil
}

// rate is a number of things per second, and how many may come at once.
type rate struct {
	perSecond float64
	count     float64
}

// parseRate reads "10/s", "100/m", "5000/h", "20000/d".
func parseRate(s string) (rate, error) {
	wrong := fmt.Errorf("%q is not a rate: allowed is a number per s, m, h or d, such as 10/s or 100/m", s)
	number, unit, ok := strings.Cut(s, "/")
	if !ok {
		return rate{}, wrong
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n > 0) || n > 1e9 {
		return rate{}, wrong
	}
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86400}[strings.TrimSpace(unit)]
	if seconds == 0 {
		return rate{}, wrong
	}
	return rate{perSecond: n / seconds, count: n}, nil
}

// ParseRate reads a rate as the file writes it: how many a second, and how many are counted.
func ParseRate(s string) (perSecond, count float64, err error) {
	r, err := parseRate(s)
	return r.perSecond, r.count, err
}

// parsePrefix reads an address or a range of them: 194.2.122.158, 10.0.0.0/8, 2001:db8::/32.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p != p.Masked() {
			return netip.Prefix{}, fmt.Errorf("%q has bits past its length: write %s", s, p.Masked())
		}
		return p, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("%q is not an address: allowed are addresses and ranges such as 194.2.122.158 or 10.0.0.0/8", s)
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number from 0", s)
	}
	return n, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not true or false", s)
}

// parseSwitch reads what people write for a thing that is on or off.
func parseSwitch(s string) (bool, error) {
	switch s {
	case "on", "true":
		return true, nil
	case "off", "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not on or off", s)
}

func showSwitch(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func parseText(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", errors.New("the text is empty")
	}
	return s, nil
}
