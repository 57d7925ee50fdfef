package route

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/config"
	"relais/internal/core"
)

func TestAnotherNodeMatchesAsThisOneDoes(t *testing.T) {
	set := compile(t,
		config.Route{Name: "stock", On: []string{"sellsy/**"}, OrderBy: "${{ event.data.product }}", Delay: time.Second, Priority: core.PriorityHigh},
		config.Route{Name: "trial", On: []string{"sellsy/**"}, Test: true},
		config.Route{Name: "urgent", On: []string{"*/estimate.step"}, FIFO: true, PriorityExpr: "${{ event.data.priority }}"},
	)
	text, err := set.Encode(strings.NewReplacer(), nil)
	if err != nil {
		t.Fatal(err)
	}
	other, definitions, err := Decode(text, set.Hash())
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"product":7,"priority":"low"}`, `{}`} {
		for _, test := range []bool{false, true} {
			event := estimate(body)
			event.Test = test
			here, _ := set.Match(event)
			there, _ := other.Match(event)
			if diff := cmp.Diff(here, there); diff != "" {
				t.Errorf("the other node matches otherwise (-here +there):\n%s", diff)
			}
		}
	}
	if len(definitions) != 3 || other.Hash() != set.Hash() {
		t.Errorf("decoded %v under %q", definitions, other.Hash())
	}
}

func TestADefinitionChangesWithItsRouteAndNotWithASecret(t *testing.T) {
	definition := func(text, secret string) string {
		set := compile(t, config.Route{Name: "a", On: []string{"**/**"}, Steps: []config.Step{{ID: "1", With: map[string]any{"text": text, "key": secret}}}})
		encoded, err := set.Encode(strings.NewReplacer(secret, "•"), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, definitions, err := Decode(encoded, "")
		if err != nil {
			t.Fatal(err)
		}
		return definitions[Destination("a")]
	}
	if definition("one", "s3cret") != definition("one", "0ther") {
		t.Error("another secret made another definition: it could be guessed from the digest")
	}
	if definition("one", "s3cret") == definition("two", "s3cret") {
		t.Error("a changed step kept the definition")
	}
}

func TestDamagedSetIsRefused(t *testing.T) {
	for _, text := range []string{
		`{"name":`, `[{"name":"a","definition":"d","on":["s/x"],"priority":2,"unless":"night"}]`, `[{"name":"a","on":["s/x/y"],"priority":2}]`,
	} {
		if _, _, err := Decode([]byte(text), "x"); err == nil {
			t.Errorf("a set that can't be read was taken: %s", text)
		}
	}
}
