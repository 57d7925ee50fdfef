package store

// A store is copied into another table by table, row by row, with all numbers kept. This is what the two
// agree on; neither knows the other.

// CopyTable is a part of a store's data, and what its rows hold, in that order: an int64, a float64, a bool, a
// string, bytes (an id has 16), or nil. Times are microseconds since 1970, durations of attempts nanoseconds,
// days days since 1970 in UTC.
type CopyTable struct {
	Name    string
	Columns []string
}

// CopyTables are all tables, those that others name before these. A delivery's day is the one on which it
// ended, an event's the one on which it was received, an attempt's the one on which it began. A route set's
// activation is 1 for the one in force, a lane's running what runs of it.
var CopyTables = []CopyTable{
	{"route_set", []string{"id", "hash", "text", "routes", "node", "at", "activation"}},
	{"lane", []string{"id", "tenant", "kind", "name", "running", "tokens", "tokens_at", "failures", "rest_until", "since"}},
	{"pause", []string{"scope", "name", "reason", "by", "at"}},
	{"event", []string{
		"day", "seq", "id", "tenant", "source", "type", "native", "at", "format", "flags", "repeat_of", "header", "query", "path", "body",
	}},
	{"delivery", []string{
		"id", "event", "event_day", "event_seq", "lane", "source", "state", "wait", "class", "due", "claim", "attempts", "interruptions",
		"node", "replay", "route_set", "created", "finished", "skipped", "stops", "order_key", "from_step", "reason", "message", "day",
	}},
	{"attempt", []string{"day", "delivery", "claim", "node", "started", "duration", "verdict", "reason", "message", "trace"}},
	{"step", []string{"delivery", "step", "definition", "ordinal", "result"}},
	{"effect", []string{
		"key", "kind", "state", "delivery", "claim", "node", "opened", "sent", "done", "absent", "result", "message", "resolved_by",
	}},
	{"fan_out", []string{"event", "event_day", "event_seq", "route_set", "cursor"}},
	{"dedup", []string{"key", "event", "expires"}},
	{"rejection", []string{
		"id", "tenant", "source", "at", "reason", "detail", "status", "address", "method", "path", "query", "body_size", "complete",
		"event", "bytes", "header", "body", "format",
	}},
	{"audit", []string{"id", "at", "by", "act", "object", "detail"}},
}

// CopyPlace is how far a table is copied: up to and with the row that has this number, and among those of one
// number this word. The zero CopyPlace is the beginning.
type CopyPlace struct {
	Number int64
	Word   string
}

// CopyNumbers are the highest numbers that a store ever gave, also to rows that are gone.
type CopyNumbers struct {
	Event, Delivery, Replay, Rejection, Lane, RouteSet, Audit int64
}

// CopySource says which data are copied.
type CopySource struct {
	// Identity stays as long as the data are the same store's. State changes with whatever is done there.
	Identity, State string
	// Name is for people.
	Name string
}
