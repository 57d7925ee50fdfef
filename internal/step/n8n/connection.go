package n8n

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"relais/internal/config"
	"relais/internal/step"
)

// Connection is the kind n8n: where its webhooks are, and what they ask for.
func Connection() step.ConnectionKind {
	return step.ConnectionKind{
		Name: "n8n",
		Doc:  "An n8n whose workflows are started by webhooks. Give what its Webhook nodes ask for: nothing, a header, a user and a password, or a token.",
		Params: []step.Param{
			{Name: "url", Type: step.TypeString, Required: true, Doc: "Where n8n is, such as `https://n8n.example.fr`, without `/webhook`."},
			{Name: "header", Type: step.TypeString, Doc: "The name of the header that the nodes check (Header Auth)."},
			{Name: "value", Type: step.TypeString, Secret: true, Doc: "The header's value."},
			{Name: "user", Type: step.TypeString, Doc: "Who logs in (Basic Auth)."},
			{Name: "pass", Type: step.TypeString, Secret: true, Doc: "The user's password."},
			{Name: "token", Type: step.TypeString, Secret: true, Doc: "The token that is sent as Bearer (JWT Auth)."},
		},
		Open:  func(settings map[string]any) (any, error) { return opened(settings) },
		Hosts: func(settings map[string]any) []string { return step.Hosts(base(settings)) },
	}
}

type connection struct {
	base         string
	header, user string
	value, pass  config.Secret
	token        config.Secret
}

func base(settings map[string]any) (*url.URL, error) {
	u, err := step.BaseURL(settings, "https://n8n.example.fr")
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(u.Path, "/webhook") || strings.HasSuffix(u.Path, "/webhook-test") {
		return nil, errors.New("url ends before /webhook: relais adds it")
	}
	return u, nil
}

func opened(settings map[string]any) (*connection, error) {
	c := &connection{}
	u, err := base(settings)
	if err != nil {
		return nil, err
	}
	c.base = u.String()
	c.header, _ = settings["header"].(string)
	c.value, _ = settings["value"].(config.Secret)
	c.user, _ = settings["user"].(string)
	c.pass, _ = settings["pass"].(config.Secret)
	c.token, _ = settings["token"].(config.Secret)
	ways := 0
	for _, given := range []bool{c.header != "", c.user != "", !c.token.IsZero()} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, errors.New("only one of header, user and token may be given: a Webhook node checks one")
	case (c.header == "") != c.value.IsZero():
		return nil, errors.New("header and value belong together")
	case (c.user == "") != c.pass.IsZero():
		return nil, errors.New("user and pass belong together")
	case !isToken(c.header) && c.header != "":
		return nil, errors.New("header is not a header's name")
	case strings.ContainsFunc(c.value.Reveal()+c.token.Reveal(), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, errors.New("a header may not hold line breaks or control characters")
	}
	switch http.CanonicalHeaderKey(c.header) {
	case "Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Idempotency-Key":
		return nil, errors.New("header is one that relais writes itself")
	}
	return c, nil
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}

func (c *connection) authenticate(req *http.Request) {
	switch {
	case c.header != "":
		req.Header.Set(c.header, c.value.Reveal())
	case c.user != "":
		req.SetBasicAuth(c.user, c.pass.Reveal())
	case !c.token.IsZero():
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
}
