// Package rest calls another system's API: JSON over HTTP.
//
// An answer is bounded, and decoded as the system's document has it. What is no success is an *Error; a call
// without an answer, and one whose answer can't be read, are an *UnreadError. Failure says what each of them
// means for a delivery. A call that makes something goes behind a fence of package once, and the fence is told
// where the system refused: then nothing was made.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"relais/internal/step"
	"relais/internal/step/once"
)

// System is what is particular to one system's API.
type System struct {
	Name string // as messages call it
	// MaxAnswer bounds an answer, in bytes.
	MaxAnswer int64
	// Decode reads an answer; nil for json.Unmarshal.
	Decode func(data []byte, out any) error
	// Said is what the body of an error says to people, "" where it says nothing.
	Said func(body []byte) string
	// After is when the system may be called again where Retry-After doesn't say; nil for a system that has no
	// other way to tell.
	After func(*http.Response) time.Duration
	// Hint adds to a failure what is known of this system's errors.
	Hint func(*Error, *step.Failure)
}

// API is a system as one connection reaches it.
type API struct {
	*System
	HTTP    *http.Client
	Base    string        // what stands before each path
	Timeout time.Duration // of a call that may be repeated, its answer included
	// Secrets never stand in a message, whatever the system answers.
	Secrets []string
}

// Call is one request.
type Call struct {
	Method, Path string
	Header       http.Header // says who calls
	Body         []byte      // JSON; nil for none
	// Fence is what the request stands behind; nil where it may be repeated at will.
	Fence *once.Fence
}

// Read makes a call that may be repeated at will, with in as its body; nil is none.
func (a *API) Read(ctx context.Context, in any, call func(ctx context.Context, body []byte) error) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	return call(ctx, body)
}

// Do makes one request, and reads its answer into out; a nil out takes any.
func (a *API) Do(ctx context.Context, c Call, out any) error {
	request, err := http.NewRequestWithContext(ctx, c.Method, a.Base+c.Path, bytes.NewReader(c.Body))
	if err != nil {
		return err
	}
	if c.Fence != nil {
		request = c.Fence.Wrap(request, c.Body)
	}
	for name, values := range c.Header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "relais")
	if c.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := a.HTTP.Do(request)
	if err != nil {
		return &UnreadError{Cause: err}
	}
	data, err := a.readAnswer(response)
	if err != nil {
		return &UnreadError{Cause: err, Status: response.StatusCode}
	}
	if response.StatusCode/100 != 2 {
		failed := a.NewError(response, data)
		if c.Fence != nil && failed.Refused() {
			c.Fence.Refused()
		}
		return failed
	}
	if out == nil {
		return nil
	}
	decode := a.Decode
	if decode == nil {
		decode = json.Unmarshal
	}
	if err := decode(data, out); err != nil {
		return &UnreadError{Cause: fmt.Errorf("the answer is not what %s's document says: %w", a.Name, err), Status: response.StatusCode}
	}
	return nil
}

func (a *API) readAnswer(response *http.Response) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(response.Body, a.MaxAnswer+1))
	err = errors.Join(err, response.Body.Close())
	if err == nil && int64(len(data)) > a.MaxAnswer {
		err = fmt.Errorf("the answer is larger than %d MiB", a.MaxAnswer>>20)
	}
	return data, err
}
