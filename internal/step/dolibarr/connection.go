package dolibarr

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/step"
	"relais/internal/step/once"
)

const (
	apiPath        = "/api/index.php"
	defaultRequest = 30 * time.Second
	defaultSettle  = 2 * time.Minute
	defaultRecheck = 30 * time.Second
)

// Connection is one Dolibarr.
type Connection struct {
	http *http.Client
	base string // with /api/index.php
	key  string
	// request, settle, recheck, clock and hook are once.Rules'.
	request, settle, recheck time.Duration
	clock                    func() time.Duration
	hook                     once.Hook
}

// ConnectionKind is a Dolibarr that is reached by the given HTTP client.
func ConnectionKind(httpClient *http.Client) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "dolibarr",
		Doc:  "A Dolibarr, by its REST API: the module API/REST must be on.",
		Params: []step.Param{
			{Name: "url", Type: step.TypeString, Required: true, Check: checkURL, Doc: "Where the Dolibarr is: https://erp.example.fr; /api/index.php is added."},
			{Name: "api_key", Type: step.TypeString, Required: true, Secret: true, Doc: "The API key of a Dolibarr user, best of one that is for relais alone. It needs the rights of what the steps read and make."},
			{Name: "request_timeout", Type: step.TypeDuration, Default: defaultRequest, Doc: "How long one call may take, its answer included."},
			{Name: "settle", Type: step.TypeDuration, Default: defaultSettle, Doc: "How long a sent invoice is left alone before it is looked for. More than twice request_timeout."},
			{Name: "recheck", Type: step.TypeDuration, Default: defaultRecheck, Doc: "How long after a look-up that found nothing the second one counts."},
		},
		Env:   map[string]string{"url": "DOLIBARR_URL", "api_key": "DOLIBARR_API_KEY"},
		Hosts: hosts,
		Open: func(settings map[string]any) (any, error) {
			connection, err := open(httpClient, settings)
			if err != nil {
				return nil, err
			}
			return connection, nil
		},
	}
}

func open(httpClient *http.Client, settings map[string]any) (*Connection, error) {
	c := &Connection{
		http: httpClient, clock: once.Clock,
		request: duration(settings, "request_timeout", defaultRequest),
		settle:  duration(settings, "settle", defaultSettle),
		recheck: duration(settings, "recheck", defaultRecheck),
	}
	if c.request <= 0 || c.settle <= 2*c.request {
		return nil, fmt.Errorf("settle is %s and request_timeout %s: settle must be more than twice request_timeout, which must be more than 0",
			c.settle, c.request)
	}
	address, _ := settings["url"].(string)
	c.base = strings.TrimSuffix(strings.TrimSuffix(address, "/"), apiPath) + apiPath
	switch key := settings["api_key"].(type) {
	case config.Secret:
		c.key = key.Reveal()
	case string:
		c.key = key
	}
	if c.key == "" || strings.ContainsFunc(c.key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("api_key is not a key: it is the text that the user's card in Dolibarr shows")
	}
	return c, nil
}

func duration(settings map[string]any, name string, otherwise time.Duration) time.Duration {
	if d, ok := settings[name].(time.Duration); ok {
		return d
	}
	return otherwise
}

func hosts(settings map[string]any) []string {
	address, _ := settings["url"].(string)
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return []string{u.Scheme + "://" + u.Host}
	}
	return nil
}

// checkURL wants https, since every call carries the key, except where nobody else's network lies between.
func checkURL(value any) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("it must be an address: https://erp.example.fr")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("it must be an address such as https://erp.example.fr, without a query or a password")
	case u.Scheme == "https", u.Scheme == "http" && isNear(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https:// (http:// is for this machine and private addresses only: every call carries the key)")
}

// isNear tells this machine, a private address, and a name without a dot, such as a container's.
func isNear(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate()
	}
	return !strings.Contains(host, ".")
}

// SetHook sets the hook of a connection that a ConnectionKind opened. It is for tests.
func SetHook(connection any, hook once.Hook) {
	if c, ok := connection.(*Connection); ok {
		c.hook = hook
	}
}
