package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

func pageOf(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// fromDeliveries selects from deliveries wherever they stand: each row stands in one of the tables, and
// moves from one to another in one statement.
func fromDeliveries(columns string, tables ...string) string {
	var sql strings.Builder
	sql.WriteString("SELECT " + columns + " FROM (")
	for i, table := range tables {
		if i > 0 {
			sql.WriteString(" UNION ALL ")
		}
		sql.WriteString("SELECT " + deliveryFields + " FROM " + table)
	}
	sql.WriteString(") d JOIN lane l ON l.id = d.lane")
	return sql.String()
}

var allDeliveries = []string{"delivery", "delivery_done", "delivery_kept"}

// Delivery implements store.Reader.
func (s *Store) Delivery(ctx context.Context, id core.DeliveryID) (core.Delivery, error) {
	var d core.Delivery
	err := s.read(ctx, func(t *tx) (err error) {
		d, err = scanDelivery(t.row(fromDeliveries(deliveryColumns, allDeliveries...)+" WHERE d.id = $1", int64(id)))
		if errors.Is(err, pgx.ErrNoRows) {
			return core.Errorf(core.CodeNotFound, "there is no delivery %s", id)
		}
		return err
	})
	return d, err
}

// Deliveries implements store.Reader. Where no index leads to them it goes through the deliveries from the
// newest on, until the page is full or the reader's time is over.
func (s *Store) Deliveries(ctx context.Context, f store.DeliveryFilter) ([]core.Delivery, error) {
	q, err := deliveryQuery(f)
	if err != nil {
		return nil, err
	}
	var deliveries []core.Delivery
	err = s.readWithin(ctx, searchFactor*s.readTime, func(t *tx) error {
		before, err := t.deliveriesBefore(f)
		if err != nil {
			return err
		}
		rows, err := t.query(q.sql, append([]any{before}, q.args...)...)
		if err != nil {
			return err
		}
		deliveries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (core.Delivery, error) { return scanDelivery(row) })
		return err
	})
	return deliveries, err
}

// query is a statement that is put together; its first parameter is given when it is run.
type query struct {
	sql  string
	args []any
}

// deliveryQuery has each filter in its text only when it is used: the indexes are found only then.
func deliveryQuery(f store.DeliveryFilter) (query, error) {
	tables := allDeliveries
	where := "d.id < $1"
	var q query
	and := func(condition string, args ...any) {
		for _, a := range args {
			q.args = append(q.args, a)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(q.args)+1), 1)
		}
		where += " AND " + condition
	}
	// What few rows have is looked up and sorted; the rest is gone through in order.
	order := "d.id"
	if f.State != "" {
		state, err := stateNumber(f.State)
		if err != nil {
			return q, err
		}
		and(fmt.Sprintf("d.state = %d", state)) // in the text, for the partial indexes
		switch f.State {
		case core.StatePending:
			tables = allDeliveries[:1]
		case core.StateRunning:
			tables, order = allDeliveries[:1], "d.id + 0"
		case core.StateSucceeded, core.StateCancelled:
			tables = allDeliveries[1:]
		}
	}
	if !f.Event.IsZero() {
		and("d.event = ?", [16]byte(f.Event))
		order = "d.id + 0"
	}
	if f.Destination != "" {
		kind, name, _ := strings.Cut(f.Destination, ":")
		and("l.kind = ? AND l.name = ?", kind, clean(name))
	}
	if f.Tenant != "" {
		and("l.tenant = ?", clean(f.Tenant))
	}
	if f.Source != "" {
		and("d.source = ?", clean(f.Source))
	}
	if !f.Since.IsZero() {
		and("d.created >= ?", f.Since.UnixMicro())
	}
	if !f.Until.IsZero() {
		and("d.created <= ?", f.Until.UnixMicro())
	}
	q.args = append(q.args, pageOf(f.Limit))
	q.sql = fmt.Sprintf("%s WHERE %s ORDER BY %s DESC LIMIT $%d", fromDeliveries(deliveryColumns, tables...), where, order, len(q.args)+1)
	return q, nil
}

// deliveriesBefore returns the number below which a page starts: what the page before ended with, or, by
// bisection, what was made up to a while after until.
func (t *tx) deliveriesBefore(f store.DeliveryFilter) (int64, error) {
	before := f.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	if f.Until.IsZero() || !f.Event.IsZero() {
		return before, nil
	}
	next := `SELECT d.id, d.created FROM (SELECT id, created FROM delivery UNION ALL SELECT id, created FROM delivery_done
		UNION ALL SELECT id, created FROM delivery_kept) d `
	var top int64
	if err := t.row("SELECT last_value FROM delivery_id").Scan(&top); err != nil {
		return 0, err
	}
	limit := f.Until.Add(clockSlack).UnixMicro()
	low, high := int64(0), top+1
	for low < high {
		middle := low + (high-low)/2
		var id, created int64
		err := t.row(next+"WHERE d.id >= $1 ORDER BY d.id LIMIT 1", middle).Scan(&id, &created)
		switch {
		case errors.Is(err, pgx.ErrNoRows) || err == nil && created > limit:
			high = middle
		case err != nil:
			return 0, err
		default:
			low = id + 1
		}
	}
	return min(before, low), nil
}

// Attempts implements store.Reader. An attempt's id is the number of its claim: it is its delivery's.
func (s *Store) Attempts(ctx context.Context, id core.DeliveryID) ([]store.Attempt, error) {
	var attempts []store.Attempt
	err := s.read(ctx, func(t *tx) error {
		rows, err := t.query(`SELECT claim, node, started, duration, verdict, coalesce(reason, ''), coalesce(message, ''), trace
			FROM every_attempt WHERE delivery = $1 ORDER BY claim`, int64(id))
		if err != nil {
			return err
		}
		attempts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Attempt, error) {
			a := store.Attempt{Delivery: id}
			var started int64
			err := row.Scan(&a.Claim, &a.Node, &started, (*int64)(&a.Duration), (*string)(&a.Verdict), (*string)(&a.Reason),
				&a.Message, (*[]byte)(&a.Trace))
			a.ID, a.Started = int64(a.Claim), moment(started)
			return a, err
		})
		return err
	})
	return attempts, err
}
