package dolibarr

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"relais/internal/step/once"
	"relais/internal/step/rest"
)

// system is Dolibarr's API. A page of a hundred invoices with their lines is some MiB.
var system = rest.System{Name: "Dolibarr", MaxAnswer: 16 << 20, Decode: decode, Said: said, Hint: hint}

// decode keeps numbers as they are written.
func decode(data []byte, out any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(out)
}

// read makes a call that may be repeated at will.
func (c *Connection) read(ctx context.Context, method, path string, query url.Values, in, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.api.Read(ctx, in, func(ctx context.Context, body []byte) error { return c.call(ctx, method, path, body, nil, out) })
}

// call makes one request; one that makes something stands behind a fence.
func (c *Connection) call(ctx context.Context, method, path string, body []byte, f *once.Fence, out any) error {
	header := http.Header{}
	header.Set("DOLAPIKEY", c.key) //nolint:canonicalheader // as its document writes it
	return c.api.Do(ctx, rest.Call{Method: method, Path: path, Header: header, Body: body, Fence: f}, out)
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
