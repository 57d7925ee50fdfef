package egress

import (
	"net/netip"
	"testing"
)

func TestAddressesAreJudgedByWhatPacketsReach(t *testing.T) {
	for _, c := range []struct {
		addr string
		want Verdict
	}{
		{"93.184.215.14", VerdictAllowed},
		{"2606:4700::1111", VerdictAllowed},
		{"0.0.0.0", VerdictUnspecified},
		{"0.1.2.3", VerdictUnspecified},
		{"::", VerdictUnspecified},
		{"127.0.0.1", VerdictLoopback},
		{"127.255.255.254", VerdictLoopback},
		{"::1", VerdictLoopback},
		{"10.0.0.1", VerdictPrivate},
		{"172.16.0.1", VerdictPrivate},
		{"172.31.255.255", VerdictPrivate},
		{"172.32.0.1", VerdictAllowed},
		{"192.168.1.1", VerdictPrivate},
		{"fd00::1", VerdictPrivate},
		{"169.254.169.254", VerdictLinkLocal},
		{"fe80::1", VerdictLinkLocal},
		{"fe80::1%eth0", VerdictZone},
		{"2606:4700::1111%1", VerdictZone},
		{"100.64.0.1", VerdictShared},
		{"224.0.0.1", VerdictMulticast},
		{"ff02::1", VerdictMulticast},
		{"255.255.255.255", VerdictReserved},
		{"240.0.0.1", VerdictReserved},
		{"192.0.2.1", VerdictReserved},
		{"198.18.0.1", VerdictReserved},
		{"2001:db8::1", VerdictReserved},
		{"::127.0.0.1", VerdictReserved}, // the old compatible form
		{"100::1", VerdictReserved},
		{"::ffff:127.0.0.1", VerdictLoopback},
		{"::ffff:10.0.0.1", VerdictPrivate},
		{"::ffff:93.184.215.14", VerdictAllowed},
		{"64:ff9b::127.0.0.1", VerdictLoopback},
		{"64:ff9b::169.254.169.254", VerdictLinkLocal},
		{"64:ff9b::93.184.215.14", VerdictAllowed},
		{"64:ff9b:1::10.0.0.1", VerdictTunnel},
		{"2002:7f00:1::1", VerdictTunnel},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", VerdictTunnel},
	} {
		if got := Judge(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s is judged %s, want %s", c.addr, got, c.want)
		}
	}
	if got := Judge(netip.Addr{}); got != VerdictInvalid {
		t.Errorf("no address is judged %s", got)
	}
}

func FuzzNoSpellingOfLoopbackIsAllowed(f *testing.F) {
	f.Add("127.0.0.1")
	f.Add("::ffff:7f00:1")
	f.Fuzz(func(t *testing.T, text string) {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		if Judge(addr) == VerdictAllowed && (addr.Unmap().IsLoopback() || addr.Unmap().IsPrivate() || addr.Zone() != "") {
			t.Errorf("%s is allowed", text)
		}
	})
}
