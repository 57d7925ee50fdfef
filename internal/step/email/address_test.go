package email

import (
	netmail "net/mail"
	"strings"
	"testing"
)

func TestAddressesHoldNothingButAnAddress(t *testing.T) {
	for _, text := range []string{
		"a@b.fr, c@d.fr", "g: a@b.fr, c@d.fr;", "a@b.fr\r\nBcc: x@y.fr", "\"a\\\r\n b\"@b.fr",
		"\"x> SIZE=1\"@b.fr", "\"x>\tNOTIFY=NEVER\"@b.fr", `"a\"b"@b.fr`, "a@b.fr\u2028Bcc: x", strings.Repeat("a", 1000) + "@b.fr", "",
	} {
		if got, err := oneAddress(text); err == nil {
			t.Errorf("%q is taken for the address %q", text, got)
		}
	}
	// The line break is inside the encoded word, for the reader's program to decode.
	got, err := oneAddress("=?utf-8?q?Anne=0D=0ABcc=3A_x=40y.fr?= <a@b.fr>")
	if err != nil {
		t.Fatal(err)
	}
	back, err := netmail.ParseAddress(got)
	if err != nil || back.Address != "a@b.fr" || strings.ContainsAny(back.Name, "\r\n") {
		t.Errorf("%q reads as %+v, %v", got, back, err)
	}
}
