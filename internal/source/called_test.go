package source

import (
	"net/http"
	"net/url"
	"testing"

	"relais/internal/config"
)

func TestCalledPutsTheTokenWhereVerificationLooks(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "hooks.example.fr"}
	for _, c := range []struct{ path, variant, secret, want string }{
		{"", "", "s3cret-token", "https://hooks.example.fr/webhook"},
		{"/in-own", "", "s3cret-token", "https://hooks.example.fr/in-own"},
		{"/erp/{flow}", "", "s3cret-token", "https://hooks.example.fr/in/erp"},
		{"/webhook/{token}", "path", "s3cret-token", "https://hooks.example.fr/webhook/s3cret-token"},
		{"/webhook/{token}/erp", "path", "with / and ?", "https://hooks.example.fr/webhook/with%20%2F%20and%20%3F/erp"},
	} {
		in := config.Source{Name: "erp", Preset: "dolibarr", Path: c.path, Secrets: []config.Secret{config.NewSecret(c.secret)}}
		if c.variant != "" {
			in.Verify = map[string]any{"variant": c.variant}
		}
		s, err := Compile(in, Embedded())
		if err != nil {
			t.Fatal(err)
		}
		req := &Request{Method: http.MethodPost, Header: http.Header{}}
		if err := s.Sign(req); err != nil {
			t.Fatal(err)
		}
		if got := s.Called(base, req).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
		if err := s.Verify(req); err != nil {
			t.Errorf("%s: what was signed is refused: %v", c.path, err)
		}
	}
}
