package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"relais/internal/core"
	"relais/internal/store"
)

// PrefillParams say what a database is filled with.
type PrefillParams struct {
	// Waiting events have a delivery that is due now, to the route of this package's configurations
	// that never answers, or, where there are Lanes, to the routes of so many lanes in turn. Old events are
	// forty days old and have none.
	Waiting, Old, Lanes int
	// First events have a delivery to the route that is sent on, and come before all others: its lane is
	// the first that a start finds.
	First int
	// Body is the size of the waiting events' bodies, which are JSON then; 0 makes them as the generator's
	// requests are.
	Body int
}

// prefillBatch is how many events are in one commit, prefillAtOnce how many commits are under way.
const (
	prefillBatch  = 2000
	prefillAtOnce = 4
)

// Prefill stores events as ingest would have: what takes minutes over HTTP takes one.
func Prefill(ctx context.Context, s store.Appender, p PrefillParams) error {
	now := time.Now()
	maker, err := newEventMaker()
	if err != nil {
		return err
	}
	old := func() store.Accepted { return maker.accepted(now.Add(-40 * 24 * time.Hour)) }
	first := func() store.Accepted {
		a := maker.accepted(now)
		a.Deliveries = []store.NewDelivery{toRoute(deliverRoute)}
		return a
	}
	next := 0
	waiting := func() store.Accepted {
		a := maker.accepted(now)
		if p.Body > 0 {
			a.Event.Format, a.Event.Body = core.FormatJSON, document(maker.next, p.Body)
		}
		name := heldRoute
		if p.Lanes > 0 {
			name = laneName(next % p.Lanes)
			next++
		}
		a.Deliveries = []store.NewDelivery{toRoute(name)}
		return a
	}
	if err := appendMany(ctx, s, p.First, first); err != nil {
		return err
	}
	// Oldest first, as they would have arrived.
	if err := appendMany(ctx, s, p.Old, old); err != nil {
		return err
	}
	return appendMany(ctx, s, p.Waiting, waiting)
}

func toRoute(name string) store.NewDelivery {
	return store.NewDelivery{
		Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name},
		Priority:    core.PriorityNormal,
	}
}

// document is JSON of that many bytes with a number in it.
func document(id int64, size int) []byte {
	head := fmt.Sprintf(`{"id":"%d","fill":"`, id)
	fill := strings.Repeat("x", max(0, size-len(head)-len(`"}`)))
	return []byte(head + fill + `"}`)
}

// appendMany stores n events in batches, a few at once: while one waits for the disk, others are on
// their way.
func appendMany(ctx context.Context, s store.Appender, n int, next func() store.Accepted) error {
	work, under := errgroup.WithContext(ctx)
	work.SetLimit(prefillAtOnce)
	for n > 0 && under.Err() == nil {
		batch := make([]store.Accepted, min(n, prefillBatch))
		for i := range batch {
			batch[i] = next()
		}
		n -= len(batch)
		work.Go(func() error {
			_, err := s.Append(under, batch)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	return ctx.Err()
}

// eventMaker makes events with bodies, headers and keys like those of the generator's requests.
type eventMaker struct {
	request *request
	header  []byte
	key     [16]byte
	next    int64
}

func newEventMaker() (*eventMaker, error) {
	m := &eventMaker{request: newRequest("localhost", sourcePath, sourceKey), next: 2 * firstID}
	m.header = core.EncodeHeader(http.Header{
		"Content-Type":        {"application/x-www-form-urlencoded"},
		"User-Agent":          {"Sellsy"},
		"X-Webhook-Signature": {string(m.request.signature)},
	}, func(string) bool { return true })
	if _, err := rand.Read(m.key[:]); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return m, nil
}

func (m *eventMaker) accepted(at time.Time) store.Accepted {
	m.next++
	m.request.prepare(m.next, at)
	// Keys are digests: spread over their index. A multiplication by an odd number spreads as well.
	binary.BigEndian.PutUint64(m.key[:], uint64(m.next)*0x9E3779B97F4A7C15) //nolint:gosec // it wraps on purpose
	return store.Accepted{
		Event: core.Event{
			ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy",
			Type: "estimate.step", NativeType: "estimate.step", ReceivedAt: at,
			Format: core.FormatFormJSON + "notif", Header: m.header, Body: append([]byte(nil), m.request.body...),
		},
		DedupKey:    m.key,
		DedupWindow: 72 * time.Hour,
	}
}

// ServeNoStore serves the handler that verifies and answers as relais does and stores nothing, until
// the context ends.
func ServeNoStore(ctx context.Context, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
