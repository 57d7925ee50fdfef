package dolibarr

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

const apiPath = "/api/index.php"

// Connection is one Dolibarr.
type Connection struct {
	api   rest.API // its base is with apiPath
	key   string
	rules once.Rules
}

// ConnectionKind is a Dolibarr that is reached by the given HTTP client.
func ConnectionKind(httpClient *http.Client) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "dolibarr",
		Doc:  "A Dolibarr, by its REST API: the module API/REST must be on.",
		Params: append([]step.Param{
			{Name: "url", Type: step.TypeString, Required: true, Check: checkURL, Doc: "Where the Dolibarr is: https://erp.example.fr; /api/index.php is added."},
			{Name: "api_key", Type: step.TypeString, Required: true, Secret: true, Doc: "The API key of a Dolibarr user, best of one that is for relais alone. It needs the rights of what the steps read and make."},
		}, once.Params()...),
		Env: map[string]string{"url": "DOLIBARR_URL", "api_key": "DOLIBARR_API_KEY"},
		Hosts: func(settings map[string]any) []string {
			address, _ := settings["url"].(string)
			return step.Hosts(url.Parse(address))
		},
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
	address, _ := settings["url"].(string)
	c := &Connection{rules: rules}
	switch key := settings["api_key"].(type) {
	case config.Secret:
		c.key = key.Reveal()
	case string:
		c.key = key
	}
	if c.key == "" || strings.ContainsFunc(c.key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("api_key is not a key: it is the text that the user's card in Dolibarr shows")
	}
	c.api = rest.API{
		System: &system, HTTP: httpClient, Timeout: rules.Request, Secrets: []string{c.key},
		Base: strings.TrimSuffix(strings.TrimSuffix(address, "/"), apiPath) + apiPath,
	}
	return c, nil
}

func checkURL(value any) error {
	return rest.CheckAddress(value, "https://erp.example.fr", isNear, "this machine and private addresses only: every call carries the key")
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
		c.rules.Hook = hook
	}
}
