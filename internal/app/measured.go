package app

import (
	"context"
	"encoding/json"
	"time"

	"relais/internal/store"
	"relais/internal/telemetry"
)

// measured is a store whose writes are counted and timed as their callers see them.
type measured struct {
	store.Store
	metrics *telemetry.Metrics
	outage  *outage // nil where the store is a folder
}

func (m measured) Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	began := time.Now()
	appended, err := m.Store.Append(ctx, batch)
	m.metrics.Wrote(telemetry.WorkAppend, time.Since(began), err)
	m.noteOutage(ctx, began, err)
	if err == nil {
		m.metrics.Appended(len(batch))
	}
	return appended, err
}

func (m measured) Claim(ctx context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	began := time.Now()
	claimed, err := m.Store.Claim(ctx, p)
	m.metrics.Wrote(telemetry.WorkClaim, time.Since(began), err)
	return claimed, err
}

func (m measured) Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error) {
	began := time.Now()
	lost, err := m.Store.Finish(ctx, outcomes)
	m.metrics.Wrote(telemetry.WorkFinish, time.Since(began), err)
	return lost, err
}

func (m measured) AppendRejections(ctx context.Context, batch []store.Rejection, bounds store.RejectionBounds) error {
	began := time.Now()
	err := m.Store.AppendRejections(ctx, batch, bounds)
	m.metrics.Wrote(telemetry.WorkRejections, time.Since(began), err)
	return err
}

func (m measured) Retain(ctx context.Context, p store.RetainParams) (store.Retained, error) {
	began := time.Now()
	done, err := m.Store.Retain(ctx, p)
	m.metrics.Wrote(telemetry.WorkRetain, time.Since(began), err)
	m.metrics.Retained(done.Events, done.Attempts, done.DedupKeys, done.Rejections)
	return done, err
}

func (m measured) Tell(ctx context.Context, node string, told json.RawMessage) error {
	began := time.Now()
	err := m.Store.Tell(ctx, node, told)
	m.noteOutage(ctx, began, err)
	return err
}

func (m measured) noteOutage(ctx context.Context, began time.Time, err error) {
	if m.outage != nil {
		m.outage.note(ctx, began, err)
	}
}
