package config_test

import (
	"testing"
	"time"

	"relais/internal/config"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"30d": 30 * day, "1d12h": 36 * time.Hour, "72h": 3 * day, "5m": 5 * time.Minute, "1m30s": 90 * time.Second,
		"0": 0, "0s": 0, "0d": 0, "1.5s": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond,
	} {
		if got, err := config.ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "d", "30", "-1s", "-1d", "1d-1h", "1.5d", "99999999d", "1d1d", "1 d", "1w", "9999999h", "d1"} {
		if got, err := config.ParseDuration(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"64MiB": 64 << 20, "1 MB": 1e6, "1048576": 1 << 20, "10kB": 10_000, "10KB": 10_000, "2GiB": 2 << 30, "5B": 5, "0": 0, "1TB": 1e12,
	} {
		if got, err := config.ParseSize(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1.5MB", "1 mile", "9999999999TiB", "1M", "0x10"} {
		if got, err := config.ParseSize(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func TestPublicAddress(t *testing.T) {
	for listen, want := range map[string]bool{
		":3000": true, "0.0.0.0:3000": true, "[::]:3000": true, "192.168.1.2:3000": true, "example.fr:80": true, "nonsense": true,
		"127.0.0.1:3000": false, "127.8.8.8:1": false, "[::1]:3000": false, "localhost:3000": false,
	} {
		if got := config.PublicAddress(listen); got != want {
			t.Errorf("%s: got %v", listen, got)
		}
	}
}
