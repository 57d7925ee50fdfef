package config

import (
	"slices"
	"strings"
	"testing"
)

// TestOtherNamesOfTypes: a route holds the name that is sent, and a warning says so; a name that the
// provider sends itself stays.
func TestOtherNamesOfTypes(t *testing.T) {
	catalog := Catalog{
		Steps: []StepKind{{Name: "a/b"}},
		Presets: []Preset{{Name: "erp", Types: []string{"BILL_PAYED", "COMPANY_CREATE", "PROPOSAL_SUPPLIER_DELETE"},
			Aliases: map[string]string{"INVOICE_PAYED": "BILL_PAYED", "THIRDPARTY_*": "COMPANY_*", "PROPOSAL_*": "PROPAL_*"}}},
	}
	text := `
sources: {erp: {preset: erp, auth: none, path: /erp}, other: {auth: none}}
routes:
  r:
    on: [erp/INVOICE_PAYED, erp/THIRDPARTY_CREATE, erp/PROPOSAL_SUPPLIER_DELETE, "*/INVOICE_PAYED"]
    steps: [{use: a/b}]
`
	c, problems := read("relais.yaml", ".", []byte(text), func(string) (string, bool) { return "", false }, catalog)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []string{"erp/BILL_PAYED", "erp/COMPANY_CREATE", "erp/PROPOSAL_SUPPLIER_DELETE", "*/INVOICE_PAYED"}
	if got := c.Routes[0].On; !slices.Equal(got, want) {
		t.Errorf("the route is on %q, want %q", got, want)
	}
	if len(c.Warnings) != 3 || !strings.Contains(c.Warnings[0].Message, `erp sends "INVOICE_PAYED" as "BILL_PAYED"`) {
		t.Errorf("warned of %v", c.Warnings)
	}
}
