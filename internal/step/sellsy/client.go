package sellsy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"relais/internal/step/once"
	"relais/internal/step/rest"
)

// system is the API V2. A page of a hundred invoices is some hundreds of KiB.
var system = rest.System{Name: "Sellsy", MaxAnswer: 8 << 20, Said: said, After: after, Hint: hint}

// client calls the API V2.
type client struct {
	api    rest.API
	tokens *tokens
}

// read makes a call that changes nothing: it may be repeated at will.
func (c *client) read(ctx context.Context, method, path string, in, out any) error {
	return c.api.Read(ctx, in, func(ctx context.Context, body []byte) error { return c.call(ctx, method, path, body, nil, out) })
}

// call makes one request, and a second one with a new token where the first one's was refused.
func (c *client) call(ctx context.Context, method, path string, body []byte, f *once.Fence, out any) error {
	token, err := c.tokens.get(ctx, "")
	if err != nil {
		return err
	}
	call := rest.Call{Method: method, Path: path, Header: bearer(token), Body: body, Fence: f}
	err = c.api.Do(ctx, call, out)
	var refused *rest.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || !c.tokens.renewable() {
		return err
	}
	if token, err = c.tokens.get(ctx, token); err != nil {
		return err
	}
	call.Header = bearer(token)
	return c.api.Do(ctx, call, out)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// fetchToken asks for a token with the client's credentials.
func fetchToken(api rest.API, address, id, secret string) func(context.Context) (string, time.Duration, error) {
	api.Base = address
	return func(ctx context.Context) (string, time.Duration, error) {
		body, err := json.Marshal(map[string]string{
			"grant_type": "client_credentials", "client_id": id, "client_secret": secret,
		})
		if err != nil {
			return "", 0, err
		}
		var answer struct {
			Token    string `json:"access_token"`
			Lifetime int64  `json:"expires_in"`
		}
		err = api.Do(ctx, rest.Call{Method: http.MethodPost, Body: body}, &answer)
		var failed *rest.Error
		switch {
		case errors.As(err, &failed) && failed.Status/100 == 4 && failed.Status != http.StatusTooManyRequests && failed.Status != http.StatusRequestTimeout:
			return "", 0, &rest.AuthError{Message: fmt.Sprintf("Sellsy gave no token (%d): client_id and client_secret of the connection are wrong, or the client isn't personal", failed.Status)}
		case err != nil:
			return "", 0, err
		case answer.Token == "" || strings.ContainsAny(answer.Token, " \r\n"):
			return "", 0, rest.Unreadable("the answer to the request for a token holds none")
		}
		return answer.Token, time.Duration(min(max(answer.Lifetime, 1), 30*24*3600)) * time.Second, nil
	}
}
