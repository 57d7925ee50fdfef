package sellsy

import (
	"context"
	"sync"
	"time"
)

// tokens keeps the access token. Many callers that need a new one wait for one request.
type tokens struct {
	// fetch asks for a token; nil for a static one, which can't be renewed.
	fetch   func(ctx context.Context) (token string, lifetime time.Duration, err error)
	timeout time.Duration

	mu      sync.Mutex
	current string
	until   time.Time // renewed from here on
	flight  *flight
}

// flight is a request for a token that is under way.
type flight struct {
	landed chan struct{}
	token  string
	err    error
}

// renewBefore is how long before its end a token is renewed: longer than a call lasts.
const renewBefore = time.Minute

// get returns a token that is good for a call. refused is one that Sellsy has just refused, or "".
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	if t.fetch == nil || t.current != "" && t.current != refused && time.Now().Before(t.until) {
		defer t.mu.Unlock()
		return t.current, nil
	}
	f := t.flight
	if f == nil {
		f = &flight{landed: make(chan struct{})}
		t.flight = f
		// The flight is everybody's: the caller who happened to start it may be told to stop.
		go t.fly(context.WithoutCancel(ctx), f)
	}
	t.mu.Unlock()
	select {
	case <-f.landed:
		return f.token, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (t *tokens) fly(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	token, lifetime, err := t.fetch(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.current, t.until = token, time.Now().Add(lifetime-min(renewBefore, lifetime/2))
	}
	f.token, f.err, t.flight = token, err, nil
	close(f.landed)
}

func (t *tokens) renewable() bool { return t.fetch != nil }
