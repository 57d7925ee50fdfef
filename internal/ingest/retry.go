package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/store"
)

// RetryStore is what verifying rejections again needs.
type RetryStore interface {
	Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error)
	Rejection(ctx context.Context, id int64) (store.Rejection, error)
	Rejections(ctx context.Context, f store.RejectionFilter) ([]store.Rejection, error)
	MarkRejectionAccepted(ctx context.Context, id int64, event core.EventID) error
}

// RetryParams choose what is verified again, and say with what.
type RetryParams struct {
	Source *source.Source // compiled with today's secrets
	Since  time.Time
	Match  func(event *core.Event) Matched
	Wake   func(batch []store.Accepted, results []store.Appended)
	// PublicURL is the address that providers call, for presets that sign it.
	PublicURL string
	// DryRun verifies and counts, and stores nothing.
	DryRun bool
}

// Retried says what became of the rejections.
type Retried struct {
	Accepted int // stored as events now
	Repeats  int // stored, but as repeats of events that came in another way
	Refused  int // refused again
	// Incomplete were not kept whole: they were refused for another reason than their signature, or their
	// source takes credentials, or redacts.
	Incomplete int
}

// retryPage is how many rejections are looked at in one call of the store.
const retryPage = 200

// RetryRejections verifies stored rejections of a source again, oldest first, each as of the time when
// it came, and appends those that pass as if they came now for the first time. It can be run again at
// any time: what became an event is not looked at again, and an event appended right before a crash is
// appended under the same id.
func RetryRejections(ctx context.Context, s RetryStore, p RetryParams) (Retried, error) {
	var out Retried
	ids, err := retriable(ctx, s, p, &out)
	if err != nil {
		return out, err
	}
	for _, id := range ids {
		rejection, err := s.Rejection(ctx, id)
		if core.CodeOf(err) == core.CodeNotFound {
			continue // its age or the bound took it in the meantime
		}
		if err != nil {
			return out, fmt.Errorf("rejection %d: %w", id, err)
		}
		if err := retryOne(ctx, s, p, &rejection, &out); err != nil {
			return out, fmt.Errorf("rejection %d: %w", id, err)
		}
	}
	return out, nil
}

// retriable lists the rejections that were kept whole and became no event yet, oldest first.
func retriable(ctx context.Context, s RetryStore, p RetryParams, out *Retried) ([]int64, error) {
	var ids []int64
	filter := store.RejectionFilter{Source: p.Source.Name, Since: p.Since, Limit: retryPage}
	for {
		page, err := s.Rejections(ctx, filter)
		if err != nil {
			return nil, err
		}
		for i := range page {
			switch {
			case !page[i].Event.IsZero():
			case page[i].Complete:
				ids = append(ids, page[i].ID)
			default:
				out.Incomplete++
			}
			filter.Before = page[i].ID
		}
		if len(page) < retryPage {
			slices.Reverse(ids)
			return ids, nil
		}
	}
}

func retryOne(ctx context.Context, s RetryStore, p RetryParams, r *store.Rejection, out *Retried) error {
	req := &source.Request{Method: r.Method, Query: r.Query, Header: core.DecodeHeader(r.Header), Body: r.Body, Now: r.At}
	if p.Source.SignsURL() {
		req.URL = strings.TrimSuffix(p.PublicURL, "/") + (&url.URL{Path: r.Path, RawQuery: r.Query}).RequestURI()
	}
	if err := p.Source.Verify(req); err != nil {
		out.Refused++
		return nil
	}
	msg, err := p.Source.Read(req)
	if err != nil {
		out.Refused++
		return nil
	}
	if p.DryRun {
		out.Accepted++
		return nil
	}
	batch := []store.Accepted{accept(p.Match, p.Source, req, &msg, retriedID(r), "")}
	appended, err := s.Append(ctx, batch)
	if err != nil {
		return err
	}
	if len(appended) != 1 {
		return errors.New("the store answered for another number of events")
	}
	if p.Wake != nil {
		p.Wake(batch, appended)
	}
	if appended[0].RepeatOf.IsZero() {
		out.Accepted++
	} else {
		out.Repeats++
	}
	return s.MarkRejectionAccepted(ctx, r.ID, batch[0].Event.ID)
}

// retriedID is the id of the event that a rejection becomes: the same however often it is tried. It is
// a UUIDv7 of the time when the request came.
func retriedID(r *store.Rejection) core.EventID {
	seed := binary.BigEndian.AppendUint64([]byte("relais rejection"), uint64(r.ID))
	seed = binary.BigEndian.AppendUint64(seed, uint64(r.At.UnixNano()))
	sum := sha256.Sum256(append(seed, r.Source...))
	var id core.EventID
	copy(id[:], sum[:])
	ms := uint64(r.At.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
