package dolibarr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"relais/internal/step/once"
)

// maxAnswer bounds an answer: a page of a hundred invoices with their lines is some MiB.
const maxAnswer = 16 << 20

// read makes a call that may be repeated at will.
func (c *Connection) read(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, c.request)
	defer cancel()
	return c.call(ctx, method, path, body, nil, out)
}

// call makes one request; one that makes something stands behind a fence.
func (c *Connection) call(ctx context.Context, method, path string, body []byte, f *once.Fence, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if f != nil {
		request = f.Wrap(request, body)
	}
	request.Header.Set("DOLAPIKEY", c.key) //nolint:canonicalheader // as its document writes it
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
	if out == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(out); err != nil {
		return &netError{cause: fmt.Errorf("the answer is not what Dolibarr's document says: %w", err), status: response.StatusCode}
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

// list reads a list, of which older versions say 404 where it is empty.
func (c *Connection) list(ctx context.Context, path string, query url.Values) ([]object, error) {
	var found []object
	err := c.read(ctx, http.MethodGet, path, query, nil, &found)
	if isAbsent(err) {
		return nil, nil
	}
	return found, err
}
