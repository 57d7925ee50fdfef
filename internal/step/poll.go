package step

import (
	"context"
	"time"
)

// Change is something that happened in another system, as that system's webhook would have told of it.
type Change struct {
	Type   string // as the provider names it
	Object string // the id of what changed
	At     time.Time
	// Earliest is when it may have happened already, where the provider doesn't tell the time of it; zero is At.
	Earliest time.Time
	// Touched is when the object changed last, in whatever way; zero where that isn't known.
	Touched time.Time
	// Undated tells that neither says when it happened: it may have been a moment ago.
	Undated bool
	Body    []byte // JSON
}

// Poller is a connection that can be asked what happened, for what its webhooks lost.
type Poller interface {
	// Changes lists what happened since then, oldest first.
	Changes(ctx context.Context, since time.Time) ([]Change, error)
	// Past is how far back to ask where nobody says: for as long as what may still happen is dated back.
	Past() time.Duration
	// ObjectOf finds the object that an event's data is about, "" where it says none.
	ObjectOf(data any) string
}

// Webhook is what a provider is told to call.
type Webhook struct {
	Label  string
	URL    string
	Events []string // as the provider names them
	Shown  string   // the URL without its secret
	Key    string   // that it signs with; "" where it can't
}

// Installed is what became of a webhook at its provider.
type Installed struct {
	Action  string       `json:"action"`            // created, updated or unchanged
	ID      string       `json:"id,omitempty"`      // "" where nothing was made
	Changes []Difference `json:"changes,omitempty"` // what differed
}

// Hooked is a connection whose webhooks can be set up through its API.
type Hooked interface {
	// Events lists what can be subscribed to.
	Events(ctx context.Context) ([]string, error)
	// Install makes the webhook, or changes the one that calls the same place. With dry it only looks.
	Install(ctx context.Context, want Webhook, dry bool) (Installed, error)
}
