package ingest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestBadInput sends everything that is wrong over a real connection: each has its clear answer, none is
// a 5xx, none repeats what it was sent, and nothing is stored.
func TestBadInput(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.MaxBodyBytes = 64 << 10 })
	post := func(contentType, body string) func() reply {
		return func() reply {
			return h.send("POST", "/in/sellsy", h.signed(contentType, []byte(body)), []byte(body))
		}
	}
	for _, tc := range []struct {
		name   string
		do     func() reply
		status int
		says   string
	}{
		{"no signature", func() reply { return h.send("POST", "/in/sellsy", nil, quote(1)) }, 401, "no signature"},
		{"wrong signature", func() reply {
			return h.send("POST", "/in/sellsy", http.Header{"X-Webhook-Signature": {strings.Repeat("0", 40)}}, quote(1))
		}, 401, "does not match"},
		{"no hexadecimal signature", func() reply {
			return h.send("POST", "/in/sellsy", http.Header{"X-Webhook-Signature": {"zz"}}, quote(1))
		}, 401, "not written as"},
		{"the signature twice", func() reply {
			header := h.signed(jsonType, quote(1))
			header.Add("X-Webhook-Signature", "00")
			return h.send("POST", "/in/sellsy", header, quote(1))
		}, 401, "twice"},
		{"another body's signature", func() reply { return h.send("POST", "/in/sellsy", h.signed(jsonType, quote(1)), quote(2)) }, 401, "does not match"},
		{"empty body", post(form, ""), 400, "empty"},
		{"limit + 1", post(jsonType, `"`+strings.Repeat("x", 64<<10-1)+`"`), 413, "larger"},
		{"invalid UTF-8", post(jsonType, "{\"event\":\"\xff\"}"), 400, "UTF-8"},
		{"invalid UTF-8 in notif", post(form, "notif=%7B%22event%22%3A%22%FF%22%7D"), 400, "UTF-8"},
		{"JSON 10,000 levels deep", post(jsonType, deep(10_000)), 400, "deeply"},
		{"JSON 10,000 levels deep in notif", post(form, "notif="+deep(10_000)), 400, "deeply"},
		{"no JSON", post(jsonType, "{"), 400, "JSON"},
		{"two JSON values", post(jsonType, "{}{}"), 400, "JSON"},
		{"notif twice", post(form, "notif=%7B%7D&notif=%7B%7D"), 400, "twice"},
		{"notif twice, once in disguise", post(form, "notif=%7B%7D&%6Eotif=%7B%7D"), 400, "twice"},
		{"no notif", post(form, "other=1"), 400, "lacks"},
		{"broken percent", post(form, "notif=%7"), 400, "form"},
		{"NUL bytes", post(jsonType, "{}\x00"), 400, "NUL"},
		{"NUL bytes in notif", post(form, "notif=%7B%7D%00"), 400, "NUL"},
		{"padding of a longer body", post(form, "notif=%7B%7D\x80\x00\x00\x00\x00\x00\x01\x90&x=1"), 400, "NUL"},
		{"wrong method", func() reply { return h.send("PUT", "/in/sellsy", nil, quote(1)) }, 405, "method"},
		{"unknown source", func() reply { return h.send("POST", "/in/nobody", nil, quote(1)) }, 404, "no source"},
		{"unknown path", func() reply { return h.send("POST", "/webhook/sellsy/", nil, quote(1)) }, 404, "no source"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.do()
			if got.status != tc.status || !strings.Contains(got.body, tc.says) {
				t.Errorf("answered %d %q, want %d and words on %q", got.status, got.body, tc.status, tc.says)
			}
			if got.header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
				t.Errorf("answered as %v", got.header)
			}
			if tc.status == 405 && got.header.Get("Allow") != "POST, GET" {
				t.Errorf("allows %q", got.header.Get("Allow"))
			}
		})
	}
	if n := len(h.store.stored()); n != 0 {
		t.Errorf("%d events are stored", n)
	}
	if h.counted.get("in flight") != 0 {
		t.Errorf("%d bytes are in flight still", h.counted.get("in flight"))
	}
}

func TestLimitIsInclusive(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.MaxBodyBytes = 64 << 10 })
	body := []byte(`"` + strings.Repeat("x", 64<<10-2) + `"`)
	if got := h.send("POST", "/in/sellsy", h.signed(jsonType, body), body); got.status != 200 {
		t.Errorf("a body of just the limit: %d %s", got.status, got.body)
	}
	if got := h.sendRaw(chunked(h, body, true)); got != 200 {
		t.Errorf("a chunked body of just the limit: %d", got)
	}
	larger := append(body, ' ')
	if got := h.sendRaw(chunked(h, larger, true)); got != 413 {
		t.Errorf("a chunked body of one byte more: %d", got)
	}
}

// sendRaw writes bytes to a connection, closes its sending half, and returns the answer's status.
func (h *house) sendRaw(text string) int {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(text)); err != nil {
		h.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		h.t.Fatal(err)
	}
	return readStatus(h.t, conn)
}

func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func chunked(h *house, body []byte, end bool) string {
	var b strings.Builder
	b.WriteString("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n")
	for name, values := range h.signed(jsonType, body) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, values[0])
	}
	fmt.Fprintf(&b, "\r\n%x\r\n%s\r\n", len(body), body)
	if end {
		b.WriteString("0\r\n\r\n")
	}
	return b.String()
}

func TestTruncatedBodiesAreRefused(t *testing.T) {
	h := open(t, nil)
	for name, text := range map[string]string{
		"chunked without its end":   chunked(h, quote(1), false),
		"chunked inside a chunk":    strings.TrimSuffix(chunked(h, quote(1), false), "}}\r\n"),
		"a chunk of no length":      "POST /in/sellsy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"shorter than it announced": "POST /in/sellsy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nnotif=",
	} {
		if got := h.sendRaw(text); got != 400 {
			t.Errorf("%s: answered %d, want 400", name, got)
		}
	}
	if n := len(h.store.stored()); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestSlowSenderIsEnded(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.BodyTimeout = 200 * time.Millisecond })
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nno")); err != nil {
		t.Fatal(err)
	}
	if got := readStatus(t, conn); got != 408 {
		t.Errorf("answered %d, want 408", got)
	}
	if got := h.counted.get("failures sellsy body_timeout"); got != 1 {
		t.Errorf("%d body timeouts are counted", got)
	}
}

func TestTooLargeIsToldBeforeTheBodyIsSent(t *testing.T) {
	h := open(t, nil)
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\nExpect: 100-continue\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := readStatus(t, conn); got != 413 {
		t.Errorf("answered %d, want 413", got)
	}
}

func TestOneAddressCannotHoldAllTheBytesInFlight(t *testing.T) {
	small := sellsy()
	small.MaxBodyBytes = 4 << 10
	h := open(t, func(o *Options) {
		o.Settings.Bounds.InFlightBytes = 256 << 10
		o.Settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}, small)
	// More requests whose bodies never come than there is room for. 100 tells that the body is waited for.
	statuses := map[int]int{}
	for range 80 {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\n" +
			"Expect: 100-continue\r\nContent-Length: 4096\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		statuses[readStatus(t, conn)]++
	}
	header := h.signed(jsonType, quote(1))
	header.Set("X-Forwarded-For", "198.51.100.1")
	if got := h.send("POST", "/in/sellsy", header, quote(1)); got.status != 200 {
		t.Errorf("from another address: answered %d, while one address holds %d requests open", got.status, statuses[100])
	}
	if statuses[100] != 16 || statuses[503] != 64 {
		t.Errorf("the address that never sends its bodies was answered %v", statuses)
	}
}

// A header's memory is taken before anything is known of its sender, and many times its bytes.
func TestHeadersAreBounded(t *testing.T) {
	h := open(t, nil)
	for size, want := range map[int]int{11 << 10: 200, 20 << 10: 431} {
		header := h.signed(jsonType, quote(1))
		for i := range size / 16 {
			header.Set(fmt.Sprintf("X-%05d", i), "1234567")
		}
		if got := h.send("POST", "/in/sellsy", header, quote(1)); got.status != want {
			t.Errorf("a header of %d bytes: answered %d, want %d", size, got.status, want)
		}
	}
}
