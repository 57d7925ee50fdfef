package step

import (
	"net/url"
	"slices"
	"strings"
)

// Difference is a member of a webhook that isn't as it should be. Secrets are asterisks in it.
type Difference struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// hiddenSecret stands for what may be a secret.
const hiddenSecret = "***"

// SecretDifference is the difference of a member that is a secret.
func SecretDifference(name string) Difference { return Difference{name, hiddenSecret, hiddenSecret} }

// AddressDifference tells of the address that a webhook called before. What isn't also in the address that it
// calls now may be a secret: one can stand in any part of the path.
func (w *Webhook) AddressDifference(name, old string) Difference {
	return Difference{name, w.hide(old), w.hide(w.URL)}
}

func (w *Webhook) hide(address string) string {
	u, err := url.Parse(address)
	shown, errShown := url.Parse(w.Shown)
	if err != nil || errShown != nil || u.Host == "" {
		return hiddenSecret
	}
	known := strings.Split(shown.Path, "/")
	segments := strings.Split(u.Path, "/")
	for i, segment := range segments {
		if segment != "" && !slices.Contains(known, segment) {
			segments[i] = hiddenSecret
		}
	}
	out := u.Scheme + "://"
	if u.User != nil {
		out += hiddenSecret + "@"
	}
	out += u.Host + strings.Join(segments, "/")
	if u.RawQuery != "" {
		out += "?" + hiddenSecret
	}
	return out
}
