package egress

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// nameServer answers A questions over UDP on loopback. A name may have several lists of addresses: each
// question for it gets the next one, as a name that changes between a check and a call would.
type nameServer struct {
	mu    sync.Mutex
	names map[string][][]netip.Addr
}

func serveNames(t *testing.T, names map[string][][]netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &nameServer{names: names}
	go s.serve(conn)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (s *nameServer) serve(conn net.PacketConn) {
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if reply := s.answer(packet[:n]); reply != nil {
			_, _ = conn.WriteTo(reply, from)
		}
	}
}

func (s *nameServer) answer(query []byte) []byte {
	if len(query) < 17 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	addrs, known := s.next(strings.ToLower(strings.Join(labels, ".")), kind)
	reply := append([]byte{}, query[:2]...)
	flags := uint16(0x8180)
	if !known {
		flags |= 3 // no such name
	}
	reply = binary.BigEndian.AppendUint16(reply, flags)
	reply = binary.BigEndian.AppendUint16(reply, 1)
	reply = binary.BigEndian.AppendUint16(reply, uint16(len(addrs)))
	reply = append(reply, 0, 0, 0, 0)
	reply = append(reply, query[12:at+5]...)
	for _, addr := range addrs {
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, addr.AsSlice()...)
	}
	return reply
}

func (s *nameServer) next(name string, kind uint16) ([]netip.Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists, known := s.names[name]
	if kind != 1 || len(lists) == 0 {
		return nil, known
	}
	if len(lists) > 1 {
		s.names[name] = lists[1:]
	}
	return lists[0], true
}
