package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// takeOverSlice is how many deliveries one transaction takes over.
const takeOverSlice = 500

// lockTimeout is PostgreSQL's code for a lock that wasn't given in time.
const lockTimeout = "55P03"

// TakeOver implements store.Lanes. It goes slice by slice, each a transaction of its own: what is done stays
// done when a later one fails, and the caller comes back for the rest.
//
// A node whose lease has lapsed may only be slow. What it finishes before it is taken over counts: a finish
// and a take-over of one delivery lock its lane, and the second sees what the first did. While its
// deliveries are taken over its row is locked: it can't beat, and so nothing that it claims after its next
// beat is taken from it by mistake. A node whose own lease has lapsed takes over nothing of others.
func (s *Store) TakeOver(ctx context.Context, p store.TakeOverParams) (store.TakenOver, error) {
	var taken store.TakenOver
	for wait := true; ; {
		var slice taking
		err := s.transact(ctx, func(t *tx) (err error) {
			slice = taking{t: t, p: &p, wait: wait}
			return slice.run()
		})
		switch {
		case err == nil:
			taken.Returned += slice.taken.Returned
			taken.Dead = append(taken.Dead, slice.taken.Dead...)
			if !slice.more {
				return taken, nil
			}
		case wait && stateOf(err) == lockTimeout:
			// Somebody was stopped with a lane's lock in hand, maybe the node that is to be taken over: the
			// others' lanes don't wait for the server to end it.
			wait = false
		case taken.Returned > 0 || len(taken.Dead) > 0:
			return taken, nil
		default:
			return taken, err
		}
	}
}

// taking is one slice of a take-over.
type taking struct {
	t     *tx
	p     *store.TakeOverParams
	wait  bool     // for lanes that others have locked
	from  []string // the nodes
	taken store.TakenOver
	more  bool
}

// running is a delivery that is to be taken over.
type running struct {
	id            int64
	lane          int64
	interruptions int
	ordered       bool
	orderKey      []byte
	destination   core.Destination
	sent          string // the key of an effect whose outcome isn't known
	dies, stops   bool   // what becomes of it, as it was decided when it was read
}

func (k *taking) run() error {
	if err := k.findNodes(); err != nil {
		return err
	}
	seen, err := k.look(false, nil)
	if err != nil || len(seen) == 0 {
		return err
	}
	k.more = len(seen) == takeOverSlice
	var ids, lanes []int64
	var chains []chain
	locked := map[chain]bool{}
	for _, r := range seen {
		ids, lanes = append(ids, r.id), append(lanes, r.lane)
		if r.ordered && r.dies {
			c := chain{r.lane, string(r.orderKey)}
			chains, locked[c] = append(chains, c), true
		}
	}
	if err := k.t.lockChains(chains); err != nil {
		return err
	}
	if k.wait {
		err = k.t.lockLanes(lanes)
	} else {
		ids, err = k.lockSome(ids, lanes)
	}
	if err != nil {
		return err
	}
	held, err := k.look(true, ids)
	if err != nil {
		return err
	}
	held = slices.DeleteFunc(held, func(r *running) bool { // interrupted once more since the chains were locked
		return r.ordered && r.dies && !locked[chain{r.lane, string(r.orderKey)}]
	})
	if len(held) == 0 {
		k.more = false
		return nil
	}
	return k.interrupt(held)
}

// findNodes locks the nodes whose leases have lapsed, and adds those that nothing is known of. This node's
// own name is always among them.
func (k *taking) findNodes() error {
	me := clean(k.p.Node)
	k.from = []string{me}
	read := func(results pgx.BatchResults) error {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		var name string
		_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
			if name != me {
				k.from = append(k.from, name)
			}
			return nil
		})
		return err
	}
	const alive = "EXISTS (SELECT FROM node m WHERE m.name = $1 AND m.lease > 0 AND m.beat + m.lease >= relais_now($2))"
	return k.t.send(func(b *pgx.Batch) {
		b.Queue(steadyPlans)
		b.Queue(`SELECT n.name FROM node n WHERE n.name <> $1 AND n.beat + n.lease < relais_now($2)
			AND EXISTS (SELECT FROM delivery d WHERE d.state = 1 AND d.node = n.name) AND `+alive+`
			ORDER BY n.name FOR UPDATE OF n SKIP LOCKED`, me, k.t.now)
		b.Queue(`WITH RECURSIVE hop AS (
				(SELECT node FROM delivery WHERE state = 1 ORDER BY node LIMIT 1)
				UNION ALL
				SELECT d.node FROM hop h CROSS JOIN LATERAL (
					SELECT node FROM delivery WHERE state = 1 AND node > h.node ORDER BY node LIMIT 1) d)
			SELECT h.node FROM hop h WHERE NOT EXISTS (SELECT FROM node n WHERE n.name = h.node) AND `+alive, me, k.t.now)
	}, func(results pgx.BatchResults) error {
		if err := skip(results, 1); err != nil {
			return err
		}
		if err := read(results); err != nil {
			return err
		}
		return read(results)
	})
}

// look reads what runs under those nodes' names and isn't held: a first slice of it, or, to lock it, what still
// does of what was read then. What is locked is being finished, or worked on in the ledger, and is left.
func (k *taking) look(lock bool, ids []int64) ([]*running, error) {
	held := make([]int64, len(k.p.Held))
	for i, id := range k.p.Held {
		held[i] = int64(id)
	}
	sql := `SELECT d.id, d.lane, d.interruptions, d.order_key IS NOT NULL, d.order_key, l.tenant, l.kind, l.name
		FROM delivery d JOIN lane l ON l.id = d.lane
		WHERE d.state = 1 AND d.node = ANY($1::text[]) AND (d.node <> $2 OR d.id NOT IN (SELECT unnest($3::bigint[])))`
	args := []any{k.from, clean(k.p.Node), held}
	if lock {
		sql += " AND d.id = ANY($4::bigint[]) ORDER BY d.id FOR UPDATE OF d SKIP LOCKED"
		args = append(args, ids)
	} else {
		sql += " ORDER BY d.id LIMIT $4"
		args = append(args, takeOverSlice)
	}
	rows, err := k.t.query(sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*running, error) {
		r := &running{}
		var kind string
		err := row.Scan(&r.id, &r.lane, &r.interruptions, &r.ordered, &r.orderKey, &r.destination.Tenant, &kind, &r.destination.Name)
		r.destination.Kind = core.DestinationKind(kind)
		r.interruptions++
		r.dies, r.stops = k.p.Ends(r.interruptions, r.ordered, r.destination)
		return r, err
	})
}

// lockSome locks those of the lanes that nobody else has locked, and returns the deliveries of these.
func (k *taking) lockSome(ids, lanes []int64) ([]int64, error) {
	rows, err := k.t.query("SELECT id FROM lane WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", lanes)
	if err != nil {
		return nil, err
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	var some []int64
	for i, id := range ids {
		if slices.Contains(got, lanes[i]) {
			some = append(some, id)
		}
	}
	return some, nil
}

// interrupt gives deliveries back, or ends those that were interrupted too often. One that may have done
// something in another system says so either way: it isn't to be dropped as too old before that is looked
// up, nor to die without telling what to look at. The effects are read after the deliveries were locked: from
// then on nobody sends one.
func (k *taking) interrupt(held []*running) error {
	if err := k.readSent(held); err != nil {
		return err
	}
	var back, dead []*running
	var lanes []int64
	for _, r := range held {
		lanes = append(lanes, r.lane)
		if r.dies {
			dead = append(dead, r)
		} else {
			back = append(back, r)
		}
	}
	if err := k.t.exec(`UPDATE lane l SET running = l.running - c.count
		FROM (SELECT lane, count(*) FROM unnest($1::bigint[]) u(lane) GROUP BY lane) c WHERE l.id = c.lane`, lanes); err != nil {
		return err
	}
	if err := k.giveBack(back); err != nil {
		return err
	}
	return k.end(dead)
}

func (k *taking) readSent(held []*running) error {
	byID := make(map[int64]*running, len(held))
	ids := make([]int64, len(held))
	for i, r := range held {
		byID[r.id], ids[i] = r, r.id
	}
	rows, err := k.t.query("SELECT delivery, key FROM effect WHERE state = 'sent' AND state <> 'done' AND delivery = ANY($1::bigint[]) ORDER BY key DESC", ids)
	if err != nil {
		return err
	}
	var id int64
	var key string
	_, err = pgx.ForEachRow(rows, []any{&id, &key}, func() error {
		byID[id].sent = key
		return nil
	})
	return err
}

func (k *taking) giveBack(back []*running) error {
	if len(back) == 0 {
		return nil
	}
	var ids []int64
	var counts []int32
	var reasons []*string
	for _, r := range back {
		reason := core.ReasonNone
		if r.sent != "" {
			reason = core.ReasonUnknown
		}
		ids, counts = append(ids, r.id), append(counts, int32(r.interruptions)) //nolint:gosec // a few
		reasons = append(reasons, textOrNull(string(reason)))
	}
	k.taken.Returned = len(back)
	return k.t.exec(`UPDATE delivery d SET state = 0, due = relais_now($1), interruptions = u.interruptions, reason = coalesce(u.reason, d.reason)
		FROM unnest($2::bigint[], $3::integer[], $4::text[]) u(id, interruptions, reason) WHERE d.id = u.id`,
		k.t.now, ids, counts, reasons)
}

func (k *taking) end(dead []*running) error {
	for _, r := range dead {
		message := "relais stopped each time it tried this delivery"
		if r.sent != "" {
			message += "; the effect " + r.sent + " was sent, and what became of it isn't known: a replay looks for it first"
		}
		d, err := scanDelivery(k.t.row(`UPDATE delivery d SET state = 3, finished = relais_now($2), interruptions = $3, stops = $4, reason = $5, message = $6
			FROM lane l WHERE d.id = $1 AND l.id = d.lane RETURNING `+deliveryColumns,
			r.id, k.t.now, r.interruptions, r.stops, string(core.ReasonInterrupted), clean(message)))
		if err != nil {
			return err
		}
		k.taken.Dead = append(k.taken.Dead, d)
		if r.stops {
			continue
		}
		if err := k.t.moveDone([]int64{r.id}); err != nil {
			return err
		}
		if r.ordered {
			if err := k.t.releaseNext(chain{r.lane, string(r.orderKey)}); err != nil {
				return err
			}
		}
	}
	return nil
}
