package source

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// Every preset leads to the page that its rule comes from, shows what is sent, says what its scheme leaves
// open, and proves with a vector that it refuses.
func TestPresetsAreComplete(t *testing.T) {
	presets := Embedded()
	for _, name := range presets.Names() {
		p, err := presets.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		outline, err := presets.Outline(name)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*outline, withoutTests(*p)) {
			t.Errorf("%s: its outline is not what it says without its vectors, which must stand last", name)
		}
		if link, err := url.Parse(p.Docs); err != nil || link.Scheme != "https" || link.Host == "" {
			t.Errorf("%s: docs %q is no link", name, p.Docs)
		}
		if p.Title == "" || len(p.Events) == 0 {
			t.Errorf("%s: it has no title or no sample", name)
		}
		if p.Verify.Uncovered == "" && p.Verify.Tolerance == 0 {
			t.Errorf("%s: uncovered doesn't say what %s leaves open", name, p.Verify.Scheme)
		}
		var accepted, refused bool
		for _, v := range p.Tests {
			if v.Source == "" {
				t.Errorf("%s: the vector %q doesn't say where it is from", name, v.Name)
			}
			accepted = accepted || v.Want.Reject == ""
			refused = refused || v.Want.Reject == core.RejectBadSignature || v.Want.Reject == core.RejectCredentials
		}
		if !accepted || !refused {
			t.Errorf("%s: its vectors show an accepted request: %v, one of another sender refused: %v", name, accepted, refused)
		}
	}
}

func withoutTests(p Preset) Preset {
	p.Tests = nil
	return p
}

// The providers that relais promises to know.
func TestPresetsOfPromisedProviders(t *testing.T) {
	have := Embedded().Names()
	for name := range strings.FieldsSeq(`sellsy stripe github bitbucket gitlab gitlab-signed gitea forgejo shopify woocommerce
		prestashop slack mollie mollie-next pennylane qonto axonaut brevo zendesk calendly typeform jira linear
		standard-webhooks svix alforis-crm meta notion paddle telegram zoom intercom vercel square
		paybox systempay lyra-rest twilio adyen adyen-platforms hubspot sendgrid discord docusign paypal mailgun gocardless
		dolibarr n8n tecdoc carriers easypost 17track fedex dhl dhl-ecommerce ups aftership shippo sendcloud ship24 trackingmore usps generic generic-hmac`) {
		if !slices.Contains(have, name) {
			t.Errorf("there is no preset %s", name)
		}
	}
	if len(have) < 60 {
		t.Errorf("there are %d presets, and sixty are promised", len(have))
	}
}

// The example of docs/presets.md is a whole preset: copied as it stands, its vector passes and its sample can be sent.
func TestPresetOfTheDocumentWorks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "presets.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the page has no example")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, OwnFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, OwnFolder, "acme.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	presets := Beside(filepath.Join(dir, "relais.yaml"))
	if faults := presets.CheckOwn(); len(faults) > 0 {
		t.Fatalf("%+v", faults)
	}
	src, err := Compile(config.Source{Name: "acme", Preset: "acme", Secrets: secrets(signKey)}, presets)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Sample("payment.succeeded", "7", "1", time.Unix(1_700_000_000, 0)); err != nil {
		t.Error(err)
	}
}
