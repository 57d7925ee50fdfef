package ingest

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"relais/internal/source"
)

// clientAddress is who sends the request. X-Forwarded-For is a claim: what a trusted proxy added is
// believed, from the right, as far as the addresses are themselves trusted proxies; the first that isn't
// is the client. The zero Addr is nobody, and matches no list.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	if len(trusted) == 0 || !contains(trusted, addr) {
		return addr
	}
	lists := r.Header["X-Forwarded-For"]
	for i := len(lists) - 1; i >= 0; i-- {
		for list := lists[i]; list != ""; {
			cut := strings.LastIndexByte(list, ',')
			next, ok := parseForwarded(strings.TrimSpace(list[cut+1:]))
			if !ok {
				return addr // nobody knows what stands before it
			}
			addr = next
			if !contains(trusted, addr) {
				return addr
			}
			list = list[:max(cut, 0)]
		}
	}
	return addr
}

// relayed tells that a proxy passed the request on which isn't known as one: then the address is that
// proxy's, and "from this machine" says nothing of who sends.
func relayed(r *http.Request, trusted []netip.Prefix) bool {
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && contains(trusted, peer.Addr().Unmap()) && r.Header["X-Forwarded-For"] != nil {
		return false // it was asked, and said so
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Proto", "Via"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return false
}

// parseForwarded reads an address, with or without a port.
func parseForwarded(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// limitKey is what one limit is kept for: an IPv4 address, or a /64 of IPv6, which is what one customer
// of a provider gets and can walk through.
func limitKey(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return prefix.Addr()
}

// maxAddresses bounds the table of limits: about 15 MiB.
const maxAddresses = 1 << 16

// addressLimiter limits requests by address. The table is bounded: when it is full of addresses that
// are all in use, new ones share one limit.
type addressLimiter struct {
	rate  rate.Limit
	burst int

	mu       sync.Mutex
	table    map[netip.Addr]*sender
	overflow *sender
	swept    time.Time
}

// sender is what is known of one address, or of a /64.
type sender struct {
	*rate.Limiter
	// held are the bytes in flight that its requests have reserved.
	held atomic.Int64
	// fetches are those of certificates that its requests name.
	fetches *rate.Limiter
}

func newSender(limit rate.Limit, burst int) *sender {
	return &sender{Limiter: rate.NewLimiter(limit, burst), fetches: source.NewFetches()}
}

func newAddressLimiter(perSecond float64, burst int) *addressLimiter {
	limit := rate.Limit(perSecond)
	return &addressLimiter{rate: limit, burst: burst, table: map[netip.Addr]*sender{}, overflow: newSender(limit, burst)}
}

func (l *addressLimiter) same(other *addressLimiter) bool {
	return l.rate == other.rate && l.burst == other.burst
}

// allow returns the request's sender, and whether one more request of it is within its rate.
func (l *addressLimiter) allow(addr netip.Addr, now time.Time) (*sender, bool) {
	s := l.sender(limitKey(addr), now)
	return s, s.AllowN(now, 1)
}

func (l *addressLimiter) sender(key netip.Addr, now time.Time) *sender {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.table[key]; known != nil {
		return known
	}
	if len(l.table) >= maxAddresses && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for addr, s := range l.table {
			// Full buckets say nothing that new ones don't.
			if s.TokensAt(now) >= float64(l.burst) && s.fetches.TokensAt(now) >= float64(s.fetches.Burst()) && s.held.Load() == 0 {
				delete(l.table, addr)
			}
		}
	}
	if len(l.table) >= maxAddresses {
		return l.overflow
	}
	s := newSender(l.rate, l.burst)
	l.table[key] = s
	return s
}
