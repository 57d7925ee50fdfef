package egress

import (
	"fmt"
	"net/netip"

	"code.dny.dev/ssrf"
)

// Verdict is what an address is judged to be. It is the message's reason, a metric's label and the key
// of the tests' table: the set is finite.
type Verdict string

const (
	VerdictAllowed     Verdict = "allowed"
	VerdictUnspecified Verdict = "unspecified" // 0.0.0.0/8, ::
	VerdictLoopback    Verdict = "loopback"
	VerdictPrivate     Verdict = "private"    // RFC 1918, fc00::/7
	VerdictLinkLocal   Verdict = "link_local" // among them the metadata services of clouds
	VerdictShared      Verdict = "shared"     // behind a carrier's NAT, 100.64.0.0/10
	VerdictMulticast   Verdict = "multicast"
	VerdictTunnel      Verdict = "tunnel"   // 6to4, Teredo, local NAT64: they hide another address
	VerdictZone        Verdict = "zone"     // a zone id names an interface of this machine
	VerdictReserved    Verdict = "reserved" // anything else that IANA keeps from the Internet
	VerdictPort        Verdict = "port"     // not a port for this protocol
	VerdictInvalid     Verdict = "invalid"  // not an address at all
)

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
	nat64       = ssrf.IPv6NAT64Prefix
	tunnels     = []netip.Prefix{
		netip.MustParsePrefix("2002::/16"),      // 6to4, RFC 3056
		netip.MustParsePrefix("2001::/32"),      // Teredo, RFC 4380
		netip.MustParsePrefix("64:ff9b:1::/48"), // local-use NAT64, RFC 8215
	}
	tables = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork())
)

// AddressError is a call that the policy didn't allow. Nothing was sent.
type AddressError struct {
	Host    string
	Verdict Verdict
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("calls to %s are not allowed: its address is judged %q", e.Host, string(e.Verdict))
}

// Judge says what an address is. An IPv4 address inside an IPv6 one (mapped, or behind the well-known
// NAT64 prefix) is judged as what the packets will reach: the IPv4 address.
func Judge(addr netip.Addr) Verdict {
	if !addr.IsValid() {
		return VerdictInvalid
	}
	if addr.Zone() != "" {
		return VerdictZone
	}
	addr = addr.Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case addr.IsUnspecified(), thisNetwork.Contains(addr):
		return VerdictUnspecified
	case addr.IsLoopback():
		return VerdictLoopback
	case addr.IsPrivate():
		return VerdictPrivate
	case addr.IsLinkLocalUnicast():
		return VerdictLinkLocal
	case addr.IsMulticast():
		return VerdictMulticast
	case sharedSpace.Contains(addr):
		return VerdictShared
	}
	for _, tunnel := range tunnels {
		if tunnel.Contains(addr) {
			return VerdictTunnel
		}
	}
	if tables.SafeAddr(addr) != nil {
		return VerdictReserved
	}
	return VerdictAllowed
}

// judgeText judges an address as the dialer writes it, with its port.
func judgeText(address string) Verdict {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return VerdictInvalid
	}
	return Judge(ap.Addr())
}
