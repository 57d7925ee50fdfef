package postgres

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// claimKeys makes each event the first of its key, unless the key is held; it then waits for who holds
	// it to commit, and keeps the key from changing. It changes nothing of a key that is held: the statement
	// after it looks who holds it.
	claimKeys = `INSERT INTO dedup (key, event, expires)
		SELECT u.key, u.event, relais_now($1) + u.span FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS u (key, event, span)
		ON CONFLICT (key) DO UPDATE SET event = excluded.event, expires = excluded.expires WHERE dedup.expires <= relais_now($1)`

	// claimForgotten takes the keys whose event is gone. It is a statement of its own because one that waited for
	// a key doesn't see the event that was stored with it.
	claimForgotten = "SELECT relais_take_forgotten($1, $2, $3, $4)"

	forceKeys = `INSERT INTO dedup (key, event, expires)
		SELECT u.key, u.event, relais_now($1) + u.span FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS u (key, event, span)
		ON CONFLICT (key) DO UPDATE SET event = excluded.event, expires = excluded.expires`
)

// appendEvents stores events, their deliveries and their orders to fan out. Who holds an event's key is the
// first, and an event that isn't is a repeat. Numbers are given in the order of the batch. A pause is
// locked, so that who ends it waits for this transaction, and releases what it put aside. An event whose day is told
// goes there, unless that is neither today nor, around midnight, the day beside it: then it has none, and is refused.
//
// appendPlain is a transaction of its own, settings included, for a batch of which every key is new and nothing is
// ordered, forced or fanned out; appendBare for one without deliveries. The keys come first, as in all transactions:
// it waits for who is about to hold one of them, and fails if one is held.
//
// The columns are unnested side by side in a SELECT's list: in FROM, each would be written to a buffer of its own first.
var (
	appendPlain = appendKeyed("$24", "$25", "$26") + appendPaused + appendStored + appendFirst + appendReturning + appendMade + appendUnordered + appendResult
	appendBare  = appendKeyed("$17", "$18", "$19") + appendInsert + appendFirst + "\n\tRETURNING id, seq, repeat_of"
)

const appendFirst = "nullif(u.repeat_of, u.id)" + appendUnnested + "WHERE (SELECT count(*) FROM keyed) >= 0"

func appendKeyed(keys, events, windows string) string {
	return `WITH
clock AS MATERIALIZED (SELECT relais_now($1) AS now, set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '1s', true),
	set_config('tcp_keepalives_idle', '5', true), set_config('tcp_keepalives_interval', '2', true), set_config('tcp_keepalives_count', '3', true)),
keyed AS (
	INSERT INTO dedup (key, event, expires)
	SELECT u.key, u.event, (SELECT now FROM clock) + u.span
	FROM (SELECT unnest(` + keys + "::uuid[]) AS key, unnest(" + events + "::uuid[]) AS event, unnest(" + windows + `::bigint[]) AS span) u
	RETURNING 1)`
}

const (
	appendEvents = "WITH clock AS MATERIALIZED (SELECT relais_now($1) AS now)" + appendPaused + appendStored +
		"nullif(coalesce((SELECT d.event FROM dedup d WHERE d.key = u.key), u.repeat_of), u.id)" + appendUnnested + appendReturning + appendMade

	appendPaused = `,
paused AS MATERIALIZED (SELECT name FROM pause WHERE scope = 'source' AND name = ANY ($4::text[]) FOR KEY SHARE)`
	appendStored = `,
stored AS (` + appendInsert
	appendInsert = `
	INSERT INTO event (day, seq, id, tenant, source, type, native, at, format, flags, repeat_of, header, query, path, body)
	SELECT CASE WHEN u.day IS NULL THEN (SELECT now FROM clock) / 86400000000
			WHEN u.day BETWEEN ((SELECT now FROM clock) - ` + idDaySlack + `) / 86400000000
				AND ((SELECT now FROM clock) + ` + idDaySlack + `) / 86400000000 THEN u.day END,
		nextval('event_seq'), u.id, u.tenant, u.source, u.type, u.native, u.at, u.format, u.flags, `
	appendUnnested = `,
		u.header, u.query, u.path, u.body
	FROM (SELECT unnest($2::uuid[]) AS id, unnest($3::text[]) AS tenant, unnest($4::text[]) AS source, unnest($5::text[]) AS type,
		unnest($6::bytea[]) AS native, unnest($7::bigint[]) AS at, unnest($8::text[]) AS format, unnest($9::smallint[]) AS flags,
		unnest($10::uuid[]) AS key, unnest($11::uuid[]) AS repeat_of, unnest($12::bytea[]) AS header, unnest($13::bytea[]) AS query,
		unnest($14::bytea[]) AS path, unnest($15::bytea[]) AS body, unnest($16::integer[]) AS day) u `
	appendReturning = `
	RETURNING id, day, seq, source, repeat_of)`
	appendMade = `,
made AS (
	INSERT INTO delivery (event, event_day, event_seq, lane, source, class, due, route_set, created, order_key, wait)
	SELECT e.id, e.day, e.seq, u.lane, e.source, u.class, c.now + u.delay, u.route_set, c.now, u.order_key,
		CASE WHEN e.source = ANY (ARRAY(SELECT name FROM paused)) THEN 2 ELSE 0 END`
	appendUnordered = `
	FROM (SELECT unnest($17::uuid[]) AS event, unnest($18::bigint[]) AS lane, unnest($19::smallint[]) AS class, unnest($20::bigint[]) AS delay,
		unnest($21::text[]) AS route_set, unnest($22::bytea[]) AS order_key, unnest($23::boolean[]) AS forced) u
	JOIN stored e ON e.id = u.event CROSS JOIN clock c
	WHERE u.forced OR e.repeat_of IS NULL)`
	// Of the deliveries of one chain all but the first wait, and that one too when there are others.
	appendOrdered = `
		+ CASE WHEN u.order_key IS NOT NULL AND (row_number() OVER (PARTITION BY u.lane, u.order_key ORDER BY u.n) > 1
			OR EXISTS (SELECT FROM delivery d WHERE d.lane = u.lane AND d.order_key = u.order_key AND (d.state < 2 OR d.stops)))
			THEN 1 ELSE 0 END
	FROM unnest($17::uuid[], $18::bigint[], $19::smallint[], $20::bigint[], $21::text[], $22::bytea[], $23::boolean[])
		WITH ORDINALITY AS u (event, lane, class, delay, route_set, order_key, forced, n)
	JOIN stored e ON e.id = u.event CROSS JOIN clock c
	WHERE u.forced OR e.repeat_of IS NULL
	ORDER BY u.n)`
	appendFanOuts = `,
orders AS (
	INSERT INTO fan_out (event, event_day, event_seq, route_set, cursor)
	SELECT e.id, e.day, e.seq, u.route_set, '' FROM unnest($24::uuid[], $25::text[], $26::boolean[]) AS u (event, route_set, forced)
	JOIN stored e ON e.id = u.event WHERE u.forced OR e.repeat_of IS NULL)`
	appendResult = `
SELECT id, seq, repeat_of FROM stored`
)

// keyRows are keys that events take.
type keyRows struct{ keys, events, windows column }

// appendRows are the rows of a batch.
type appendRows struct {
	ids, tenants, sources, types, natives, ats, formats, flags, keys, repeats, headers, queries, paths, bodies, days column

	deliveries struct{ events, lanes, classes, delays, sets, keys, forced column }
	fanOuts    struct{ events, sets, forced column }

	claims, forced keyRows
	chains         []chain
	// allNew says that no two events here have one key, and that nobody is known to hold one.
	allNew bool
}

// rowsOf decides what can be decided without the database: of several events with one key the first takes
// it, unless it is held, and whoever comes after one that takes it by force repeats that one.
func rowsOf(events []*store.Accepted, lanes map[core.Destination]int64, allNew bool, now time.Time) *appendRows {
	r := &appendRows{allNew: allNew}
	r.makeRoom(events)
	var claims, forced map[[16]byte]*store.Accepted
	for _, a := range events {
		e := &a.Event
		key, repeatOf := false, e.RepeatOf
		if repeatOf == e.ID {
			repeatOf = core.EventID{} // the first itself, sent again
		}
		if a.DedupKey != ([16]byte{}) && a.DedupWindow > 0 {
			taker := forced[a.DedupKey]
			switch {
			case a.Force:
				forced = with(forced, a)
			case taker != nil:
				repeatOf = taker.Event.ID
			case repeatOf.IsZero():
				key = true
				if claims[a.DedupKey] == nil {
					claims = with(claims, a)
				} else {
					r.allNew = false
				}
			}
		}
		r.addEvent(a, repeatOf, key, now)
		r.addWork(a, lanes)
	}
	r.claims.addAll(claims)
	r.forced.addAll(forced)
	return r
}

// makeRoom makes room in the columns of what each event has.
func (r *appendRows) makeRoom(events []*store.Accepted) {
	texts, headers, bodies := 0, 0, 0
	for _, a := range events {
		texts += len(a.Event.Tenant) + len(a.Event.Source) + len(a.Event.Type) + len(a.Event.Format)
		headers += len(a.Event.Header)
		bodies += len(a.Event.Body)
	}
	n := len(events)
	room(n, 16, &r.ids, &r.keys, &r.claims.keys, &r.claims.events)
	room(n, 8, &r.ats, &r.flags, &r.days, &r.claims.windows)
	room(n, texts/max(2*n, 1), &r.tenants, &r.sources, &r.types, &r.formats)
	room(n, headers/max(n, 1), &r.headers)
	room(n, bodies/max(n, 1), &r.bodies)
	room(n, 0, &r.natives, &r.repeats, &r.queries, &r.paths)
}

func with(m map[[16]byte]*store.Accepted, a *store.Accepted) map[[16]byte]*store.Accepted {
	if m == nil {
		m = map[[16]byte]*store.Accepted{}
	}
	m[a.DedupKey] = a
	return m
}

// addAll adds the keys in their order, in which every transaction takes them.
func (k *keyRows) addAll(events map[[16]byte]*store.Accepted) {
	keys := slices.SortedFunc(maps.Keys(events), func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	for _, key := range keys {
		a := events[key]
		k.keys.uuid(key)
		k.events.uuid(a.Event.ID)
		k.windows.bigint(max(a.DedupWindow, time.Second).Microseconds())
	}
}

func (r *appendRows) addEvent(a *store.Accepted, repeatOf core.EventID, key bool, now time.Time) {
	e := &a.Event
	r.ids.uuid(e.ID)
	r.tenants.text(clean(tenantOr(e.Tenant)))
	r.sources.text(clean(e.Source))
	r.types.text(clean(e.Type))
	native := e.NativeType
	if native == e.Type {
		native = ""
	}
	r.natives.bytesOf(native)
	r.ats.bigint(micros(e.ReceivedAt))
	r.formats.text(clean(string(e.Format)))
	r.flags.smallint(int16(store.EventFlags(e))) //nolint:gosec // 15 bits
	if key {
		r.keys.uuid(a.DedupKey)
	} else {
		r.keys.null(pgtype.UUIDOID)
	}
	if repeatOf.IsZero() {
		r.repeats.null(pgtype.UUIDOID)
	} else {
		r.repeats.uuid(repeatOf)
	}
	r.headers.bytes(e.Header)
	r.queries.bytesOf(e.Query)
	r.paths.bytesOf(e.Path)
	r.bodies.bytes(e.Body)
	if day, ok := dayOfID(e.ID, now); ok {
		r.days.integer(day)
	} else {
		r.days.null(pgtype.Int4OID)
	}
}

// addWork adds what a first event brings with it: its deliveries, or the order to make them.
func (r *appendRows) addWork(a *store.Accepted, lanes map[core.Destination]int64) {
	if a.FanOut {
		f := &r.fanOuts
		f.events.uuid(a.Event.ID)
		f.sets.text(clean(a.RouteSet))
		f.forced.boolean(a.Force)
		return
	}
	d := &r.deliveries
	for i := range a.Deliveries {
		n := &a.Deliveries[i]
		// A delivery is one event for one destination.
		if slices.ContainsFunc(a.Deliveries[:i], func(b store.NewDelivery) bool { return b.Destination == n.Destination }) {
			continue
		}
		lane := lanes[n.Destination]
		d.events.uuid(a.Event.ID)
		d.lanes.bigint(lane)
		d.classes.smallint(int16(core.Class(n.Priority, 0))) //nolint:gosec // 0 to 7
		d.delays.bigint(n.Delay.Microseconds())
		d.sets.text(clean(a.RouteSet))
		d.forced.boolean(a.Force)
		if !n.Ordered {
			d.keys.null(pgtype.ByteaOID)
			continue
		}
		d.keys.bytes([]byte(n.OrderKey))
		r.chains = append(r.chains, chain{lane: lane, key: n.OrderKey})
	}
}

// statement is the shortest that does what the batch needs.
func (r *appendRows) statement() string {
	switch ordered, fansOut := len(r.chains) > 0, r.fanOuts.events.n > 0; {
	case r.plain() && r.deliveries.events.n == 0:
		return appendBare
	case r.plain():
		return appendPlain
	case ordered && fansOut:
		return appendEvents + appendOrdered + appendFanOuts + appendResult
	case ordered:
		return appendEvents + appendOrdered + appendResult
	case fansOut:
		return appendEvents + appendUnordered + appendFanOuts + appendResult
	default:
		return appendEvents + appendUnordered + appendResult
	}
}

// plain tells whether appendPlain does it.
func (r *appendRows) plain() bool {
	return r.allNew && len(r.chains) == 0 && r.fanOuts.events.n == 0 && r.forced.keys.n == 0
}

func (r *appendRows) arguments(given *int64) []any {
	d := &r.deliveries
	arguments := append(make([]any, 0, 26), given, &r.ids, &r.tenants, &r.sources, &r.types, &r.natives, &r.ats, &r.formats, &r.flags,
		&r.keys, &r.repeats, &r.headers, &r.queries, &r.paths, &r.bodies, &r.days)
	if d.events.n > 0 || !r.plain() {
		arguments = append(arguments, &d.events, &d.lanes, &d.classes, &d.delays, &d.sets, &d.keys, &d.forced)
	}
	switch f := &r.fanOuts; {
	case r.plain():
		arguments = append(arguments, &r.claims.keys, &r.claims.events, &r.claims.windows)
	case f.events.n > 0:
		arguments = append(arguments, &f.events, &f.sets, &f.forced)
	}
	return arguments
}
