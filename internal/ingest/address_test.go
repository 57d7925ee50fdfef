package ingest

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

func TestForwardedAddressIsBelievedFromTrustedProxiesOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, tc := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"nobody forwards", "198.51.100.1:1", nil, "198.51.100.1"},
		{"a stranger claims", "198.51.100.1:1", []string{"203.0.113.1"}, "198.51.100.1"},
		{"a proxy forwards", "10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"a client claims through a proxy", "10.0.0.1:1", []string{"192.0.2.9, 203.0.113.1"}, "203.0.113.1"},
		{"two proxies", "10.0.0.1:1", []string{"203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"two headers", "10.0.0.1:1", []string{"203.0.113.1", "10.0.0.2"}, "203.0.113.1"},
		{"only proxies", "10.0.0.1:1", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"a proxy that forwards nothing", "10.0.0.1:1", nil, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.1:4711"}, "203.0.113.1"},
		{"v6 with a port", "[2001:db8::1]:1", []string{"[2001:470::7]:4711"}, "2001:470::7"},
		{"v4 written as v6", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		{"no address", "10.0.0.1:1", []string{"203.0.113.1, unknown"}, "10.0.0.1"},
		{"empty", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"a comma alone", "10.0.0.1:1", []string{","}, "10.0.0.1"},
		{"a socket", "@", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tc.remote, Header: http.Header{}}
		if tc.forwarded != nil {
			r.Header["X-Forwarded-For"] = tc.forwarded
		}
		if got := clientAddress(r, trusted).String(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestTableOfAddressesIsBounded(t *testing.T) {
	l := newAddressLimiter(1, 2)
	now := time.Now()
	for i := range 2 * maxAddresses {
		l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(l.table) > maxAddresses {
		t.Errorf("the table has %d addresses", len(l.table))
	}
	if allowed(l, netip.MustParseAddr("192.0.2.1"), now) {
		t.Error("past the table, addresses are not limited")
	}
	later := now.Add(time.Minute)
	if !allowed(l, netip.MustParseAddr("192.0.2.1"), later) {
		t.Error("an address is refused though the table could be swept")
	}
	if len(l.table) != 1 {
		t.Errorf("%d addresses are left after the sweep", len(l.table))
	}
}

func TestOneCustomersAddressesShareOneLimit(t *testing.T) {
	l := newAddressLimiter(0.001, 1)
	now := time.Now()
	if !allowed(l, netip.MustParseAddr("2001:db8:1:2::1"), now) || allowed(l, netip.MustParseAddr("2001:db8:1:2:ffff::1"), now) {
		t.Error("addresses of one /64 are limited one by one")
	}
	if !allowed(l, netip.MustParseAddr("2001:db8:1:3::1"), now) {
		t.Error("another /64 shares the limit")
	}
}

func allowed(l *addressLimiter, addr netip.Addr, now time.Time) bool {
	_, ok := l.allow(addr, now)
	return ok
}
