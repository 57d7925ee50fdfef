package step

import "testing"

func TestAddressesAreToldWithoutTheirSecrets(t *testing.T) {
	const query = "https://hooks.example.fr/webhook?token=new"
	for _, c := range []struct{ url, shown, old, wantOld, wantNew string }{
		{query, "https://hooks.example.fr/webhook", "https://hooks.example.fr/webhook?token=old", "https://hooks.example.fr/webhook?***", "https://hooks.example.fr/webhook?***"},
		{query, "https://hooks.example.fr/webhook", "https://a:b@old.example.fr/webhook/s3cret", "https://***@old.example.fr/webhook/***", "https://hooks.example.fr/webhook?***"},
		{
			"https://hooks.example.fr/webhook/new", "https://hooks.example.fr/webhook/{token}", "https://hooks.example.fr/webhook/old",
			"https://hooks.example.fr/webhook/***", "https://hooks.example.fr/webhook/***",
		},
		{query, "https://hooks.example.fr/webhook", "%zz", "***", "https://hooks.example.fr/webhook?***"},
		{query, "https://hooks.example.fr/webhook", "", "***", "https://hooks.example.fr/webhook?***"},
	} {
		w := Webhook{URL: c.url, Shown: c.shown}
		if got, want := w.AddressDifference("url", c.old), (Difference{"url", c.wantOld, c.wantNew}); got != want {
			t.Errorf("%s: %+v, want %+v", c.old, got, want)
		}
	}
}
