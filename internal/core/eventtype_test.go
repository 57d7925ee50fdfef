package core

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNormalizeType(t *testing.T) {
	long := strings.Repeat("a", MaxTypeLength)
	for native, want := range map[string]string{
		"estimate.step":             "estimate.step",
		"orders/create":             "orders.create",
		"/orders//create/":          "orders.create",
		"BILL_PAYED":                "BILL_PAYED",
		"com.stripe: charge failed": "com.stripe.charge.failed",
		"..a...b..":                 "a.b",
		"créé":                      "cr",
		"événement.créé.x":          "v.nement.cr.x",
		"":                          UntypedEvent,
		"///":                       UntypedEvent,
		"\x00":                      UntypedEvent,
		"*.**":                      UntypedEvent,
		long:                        long,
		long + "b":                  long,
		long[:127] + "/b":           long[:127],
		long[:126] + "//b":          long[:126] + ".b",
	} {
		if got := NormalizeType(native); got != want {
			t.Errorf("NormalizeType(%q) = %q, want %q", native, got, want)
		}
	}
}

func TestNormalizeTypeCopiesNothingThatIsNormal(t *testing.T) {
	native := strings.Clone("payment.succeeded")
	if n := testing.AllocsPerRun(100, func() { NormalizeType(native) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestNormalizedTypesFollowTheGrammar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		native := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z./ *]{0,200}`)).Draw(t, "native")
		got := NormalizeType(native)
		if len(got) == 0 || len(got) > MaxTypeLength {
			t.Fatalf("%q has %d bytes", got, len(got))
		}
		for segment := range strings.SplitSeq(got, ".") {
			if segment == "" || strings.Trim(segment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
				t.Fatalf("%q has the segment %q", got, segment)
			}
		}
		if again := NormalizeType(got); again != got {
			t.Fatalf("normalizing %q again gives %q", got, again)
		}
		if p, err := ParsePattern(got); err != nil || !p.Match(got) {
			t.Fatalf("the type %q is no pattern for itself: %v", got, err)
		}
	})
}

func FuzzNormalizeType(f *testing.F) {
	for _, seed := range []string{"orders/create", "", "..", "a.b", "\xff\xfe", strings.Repeat("é.", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, native string) {
		if got := NormalizeType(native); !isNormalType(got) {
			t.Errorf("NormalizeType(%q) = %q, which is not normal", native, got)
		}
	})
}
