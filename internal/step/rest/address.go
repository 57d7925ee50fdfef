package rest

import (
	"errors"
	"net/url"
)

// CheckAddress wants an API's address: of https, since every call carries a secret, except where nobody else's
// network lies between. near tells such a host, and why says it for the message.
func CheckAddress(value any, example string, near func(host string) bool, why string) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("it must be an address: " + example)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("it must be an address such as " + example + ", without a query or a password")
	case u.Scheme == "https", u.Scheme == "http" && near(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https:// (http:// is for " + why + ")")
}
