package sellsy

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"relais/internal/config"
	"relais/internal/step"
	"relais/internal/step/once"
	"relais/internal/step/rest"
)

const (
	defaultBaseURL  = "https://api.sellsy.com/v2"
	defaultTokenURL = "https://login.sellsy.com/oauth2/access-tokens" //nolint:gosec // an address
	tokenPath       = "/oauth2/access-tokens"                         //nolint:gosec // an address
)

// Connection is a Sellsy account.
type Connection struct {
	client *client
	rules  once.Rules
}

// ConnectionKind is a Sellsy account that is reached by the given HTTP client.
func ConnectionKind(httpClient *http.Client) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "sellsy",
		Doc:  "A Sellsy account, by its API V2.",
		Params: append([]step.Param{
			{Name: "client_id", Type: step.TypeString, Doc: "The id of a personal OAuth client of the account, with the scopes estimates.read, invoices.read and invoices.write."},
			{Name: "client_secret", Type: step.TypeString, Secret: true, Doc: "The secret of that client. Tokens are asked for with it, kept, and renewed."},
			{Name: "personal_token", Type: step.TypeString, Secret: true, Doc: "A token that is used as it is, where there is no client. Sellsy's tokens end after some hours."},
			{Name: "base_url", Type: step.TypeString, Default: defaultBaseURL, Check: checkURL, Doc: "Where the API is."},
			{Name: "token_url", Type: step.TypeString, Check: checkURL, Doc: "Where tokens are given. Default: Sellsy's own, or /oauth2/access-tokens on the host of another base_url."},
		}, once.Params()...),
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
	rules, err := once.RulesOf(settings)
	if err != nil {
		return nil, err
	}
	base, token := addresses(settings)
	api := rest.API{System: &system, HTTP: httpClient, Base: strings.TrimSuffix(base, "/"), Timeout: rules.Request}
	c := &client{}
	id, secret := word(settings, "client_id"), word(settings, "client_secret")
	static := word(settings, "personal_token")
	switch {
	case id != "" && secret != "":
		api.Secrets = []string{secret}
		c.tokens = &tokens{fetch: fetchToken(api, token, id, secret), timeout: rules.Request}
	case id != "" || secret != "":
		return nil, errors.New("client_id and client_secret go together")
	case static != "":
		api.Secrets = []string{static}
		c.tokens = &tokens{current: static}
	default:
		return nil, errors.New("client_id and client_secret are missing (or a personal_token)")
	}
	c.api = api
	return &Connection{client: c, rules: rules}, nil
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
	return append(step.Hosts(url.Parse(base)), step.Hosts(url.Parse(token))...)
}

func checkURL(value any) error {
	return rest.CheckAddress(value, defaultBaseURL, isLoopback, "this machine only: every call carries a token")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
