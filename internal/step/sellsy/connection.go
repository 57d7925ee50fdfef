package sellsy

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
	defaultBaseURL  = "https://api.sellsy.com/v2"
	defaultTokenURL = "https://login.sellsy.com/oauth2/access-tokens" //nolint:gosec // an address
	defaultRequest  = 30 * time.Second
	defaultSettle   = 2 * time.Minute
	defaultRecheck  = 30 * time.Second
	tokenPath       = "/oauth2/access-tokens" //nolint:gosec // an address
)

// Connection is a Sellsy account.
type Connection struct {
	client *client
	// request bounds one call, settle is how long what was sent may take to be seen, recheck lies between
	// two look-ups that find nothing.
	request, settle, recheck time.Duration
	// clock goes on while the machine sleeps and while the process is stopped.
	clock func() time.Duration
	// hook is called at each Point; nil outside of tests.
	hook Hook
}

// ConnectionKind is a Sellsy account that is reached by the given HTTP client.
func ConnectionKind(httpClient *http.Client) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "sellsy",
		Doc:  "A Sellsy account, by its API V2.",
		Params: []step.Param{
			{Name: "client_id", Type: step.TypeString, Doc: "The id of a personal OAuth client of the account, with the scopes estimates.read, invoices.read and invoices.write."},
			{Name: "client_secret", Type: step.TypeString, Secret: true, Doc: "The secret of that client. Tokens are asked for with it, kept, and renewed."},
			{Name: "personal_token", Type: step.TypeString, Secret: true, Doc: "A token that is used as it is, where there is no client. Sellsy's tokens end after some hours."},
			{Name: "base_url", Type: step.TypeString, Default: defaultBaseURL, Check: checkURL, Doc: "Where the API is."},
			{Name: "token_url", Type: step.TypeString, Check: checkURL, Doc: "Where tokens are given. Default: Sellsy's own, or /oauth2/access-tokens on the host of another base_url."},
			{Name: "request_timeout", Type: step.TypeDuration, Default: defaultRequest, Doc: "How long one call may take, its answer included."},
			{Name: "settle", Type: step.TypeDuration, Default: defaultSettle, Doc: "How long a sent invoice is left alone before it is looked for. More than twice request_timeout."},
			{Name: "recheck", Type: step.TypeDuration, Default: defaultRecheck, Doc: "How long after a look-up that found nothing the second one counts."},
		},
		Env: map[string]string{ //nolint:gosec // names of variables, not their values
			"base_url": "SELLSY_BASE_URL", "personal_token": "SELLSY_PERSONAL_TOKEN",
			"client_id": "SELLSY_CLIENT_ID", "client_secret": "SELLSY_CLIENT_SECRET",
		},
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
		request: duration(settings, "request_timeout", defaultRequest),
		settle:  duration(settings, "settle", defaultSettle),
		recheck: duration(settings, "recheck", defaultRecheck),
		clock:   once.Clock,
	}
	if c.request <= 0 || c.settle <= 2*c.request {
		return nil, fmt.Errorf("settle is %s and request_timeout %s: settle must be more than twice request_timeout, which must be more than 0",
			c.settle, c.request)
	}
	base, token := addresses(settings)
	c.client = &client{http: httpClient, base: strings.TrimSuffix(base, "/"), timeout: c.request}
	id, secret := word(settings, "client_id"), word(settings, "client_secret")
	static := word(settings, "personal_token")
	switch {
	case id != "" && secret != "":
		c.client.tokens = &tokens{fetch: c.client.fetchToken(token, id, secret), timeout: c.request}
		c.client.secrets = []string{secret}
	case id != "" || secret != "":
		return nil, errors.New("client_id and client_secret go together")
	case static != "":
		c.client.tokens = &tokens{current: static}
		c.client.secrets = []string{static}
	default:
		return nil, errors.New("client_id and client_secret are missing (or a personal_token)")
	}
	return c, nil
}

func duration(settings map[string]any, name string, otherwise time.Duration) time.Duration {
	if d, ok := settings[name].(time.Duration); ok {
		return d
	}
	return otherwise
}

func word(settings map[string]any, name string) string {
	switch v := settings[name].(type) {
	case string:
		return v
	case config.Secret:
		return v.Reveal()
	}
	return ""
}

// addresses are where the API and its tokens are. A token's address follows the API's: a sandbox's secret
// must not be sent to Sellsy, nor Sellsy's to a sandbox.
func addresses(settings map[string]any) (base, token string) {
	base, token = word(settings, "base_url"), word(settings, "token_url")
	if base == "" {
		base = defaultBaseURL
	}
	if token != "" {
		return base, token
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Host == "api.sellsy.com" {
		return base, defaultTokenURL
	}
	return base, u.Scheme + "://" + u.Host + tokenPath
}

func hosts(settings map[string]any) []string {
	base, token := addresses(settings)
	var list []string
	for _, address := range []string{base, token} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			list = append(list, u.Scheme+"://"+u.Host)
		}
	}
	return list
}

// checkURL wants https, since every call carries a token, except on this machine.
func checkURL(value any) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("it must be an address: " + defaultBaseURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("it must be an address such as " + defaultBaseURL + ", without a query or a password")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https:// (http:// is for this machine only: every call carries a token)")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
