package spool

import (
	"database/sql"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	columns = `size, received, id, tenant, source, type, native, format, redacted, test, dedup_key, dedup_window, force,
	query, path, header, body, flags`
	selectWaiting = `SELECT ` + columns + ` FROM waiting ORDER BY seq LIMIT ?`
	selectAside   = `SELECT ` + columns + ` FROM aside WHERE seq = ?`
	insertWaiting = `INSERT INTO waiting (` + columns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO NOTHING`
	moveAside = `INSERT INTO aside (` + columns + `, reason, at) SELECT ` + columns + `, ?, ? FROM waiting WHERE id = ?
	ON CONFLICT (id) DO NOTHING`

	// rowBytes is about what a row takes besides what its event holds.
	rowBytes = 128
)

// sizeOf is what an event counts for.
func sizeOf(a *store.Accepted) int64 {
	e := &a.Event
	return int64(rowBytes + len(e.Tenant) + len(e.Source) + len(e.Type) + len(e.NativeType) + len(e.Format) +
		len(e.Query) + len(e.Path) + len(e.Header) + len(e.Body))
}

// values are an event's columns. Its deliveries aren't kept: they are matched when it is moved.
func values(a *store.Accepted) []any {
	e := &a.Event
	return []any{sizeOf(a), e.ReceivedAt.UnixMicro(), e.ID[:], []byte(e.Tenant), []byte(e.Source), []byte(e.Type),
		[]byte(e.NativeType), []byte(e.Format), e.Redacted, e.Test, a.DedupKey[:], int64(a.DedupWindow), a.Force,
		[]byte(e.Query), []byte(e.Path), some(e.Header), some(e.Body), store.EventFlags(e)}
}

// some is the bytes, and empty where there are none: a nil slice would be NULL.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func scan(rows *sql.Rows) (store.Accepted, error) {
	var a store.Accepted
	var size, received, window, flags int64
	var redacted, test bool
	var id, tenant, source, kind, native, format, key, query, path []byte
	e := &a.Event
	err := rows.Scan(&size, &received, &id, &tenant, &source, &kind, &native, &format, &redacted, &test, &key, &window, &a.Force,
		&query, &path, &e.Header, &e.Body, &flags)
	store.SetEventFlags(e, flags)
	e.Redacted, e.Test = redacted, test // also of a row that an older relais wrote
	copy(e.ID[:], id)
	copy(a.DedupKey[:], key)
	a.DedupWindow = time.Duration(window)
	e.ReceivedAt = time.UnixMicro(received).UTC()
	e.Tenant, e.Source, e.Type, e.NativeType = string(tenant), string(source), string(kind), string(native)
	e.Format, e.Query, e.Path = core.DataFormat(format), string(query), string(path)
	return a, err
}
