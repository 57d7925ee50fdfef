package sellsy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"relais/internal/step/once"
)

// client calls the API V2.
type client struct {
	http    *http.Client
	base    string
	timeout time.Duration
	tokens  *tokens
	// secrets never stand in a message, whatever Sellsy answers.
	secrets []string
}

// maxAnswer bounds an answer: a page of a hundred invoices is some hundreds of KiB.
const maxAnswer = 8 << 20

// read makes a call that changes nothing: it may be repeated at will.
func (c *client) read(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.call(ctx, method, path, body, nil, out)
}

// call makes one request, and a second one with a new token where the first one's was refused.
func (c *client) call(ctx context.Context, method, path string, body []byte, f *once.Fence, out any) error {
	token, err := c.tokens.get(ctx, "")
	if err != nil {
		return err
	}
	err = c.once(ctx, method, path, token, body, f, out)
	var refused *apiError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || !c.tokens.renewable() {
		return err
	}
	if token, err = c.tokens.get(ctx, token); err != nil {
		return err
	}
	return c.once(ctx, method, path, token, body, f, out)
}

func (c *client) once(ctx context.Context, method, path, token string, body []byte, f *once.Fence, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if f != nil {
		request = f.Wrap(request, body)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "relais")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return &netError{cause: err}
	}
	data, err := readAnswer(response)
	if err != nil {
		return &netError{cause: err, status: response.StatusCode}
	}
	if response.StatusCode/100 != 2 {
		failed := c.newAPIError(response, data)
		if f != nil && failed.refused() {
			f.Refused()
		}
		return failed
	}
	if err := json.Unmarshal(data, out); err != nil {
		return &netError{cause: fmt.Errorf("the answer is not what Sellsy's document says: %w", err), status: response.StatusCode}
	}
	return nil
}

func readAnswer(response *http.Response) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	err = errors.Join(err, response.Body.Close())
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	return data, err
}

// fetchToken asks for a token with the client's credentials.
func (c *client) fetchToken(address, id, secret string) func(context.Context) (string, time.Duration, error) {
	return func(ctx context.Context) (string, time.Duration, error) {
		body, err := json.Marshal(map[string]string{
			"grant_type": "client_credentials", "client_id": id, "client_secret": secret,
		})
		if err != nil {
			return "", 0, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return "", 0, err
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", "application/json")
		request.Header.Set("User-Agent", "relais")
		response, err := c.http.Do(request)
		if err != nil {
			return "", 0, &netError{cause: err}
		}
		data, err := readAnswer(response)
		if err != nil {
			return "", 0, &netError{cause: err, status: response.StatusCode}
		}
		if status := response.StatusCode; status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
			return "", 0, &authError{message: fmt.Sprintf("Sellsy gave no token (%d): client_id and client_secret of the connection are wrong, or the client isn't personal", status)}
		}
		if response.StatusCode/100 != 2 {
			return "", 0, c.newAPIError(response, data)
		}
		var answer struct {
			Token    string `json:"access_token"`
			Lifetime int64  `json:"expires_in"`
		}
		if err := json.Unmarshal(data, &answer); err != nil || answer.Token == "" || strings.ContainsAny(answer.Token, " \r\n") {
			return "", 0, &netError{cause: errors.New("the answer to the request for a token holds none"), status: response.StatusCode}
		}
		return answer.Token, time.Duration(min(max(answer.Lifetime, 1), 30*24*3600)) * time.Second, nil
	}
}
