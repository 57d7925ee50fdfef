package sqlstep

import (
	"context"
	"encoding/base64"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/core"
	"relais/internal/step"
)

type postgresTx struct {
	conn *pgxpool.Conn // nil once it was given back
	done func()
}

// run uses the extended protocol, which takes one statement, with arguments as text: the server reads each as
// the type that its place asks for, so that a number fits a column of text and a decimal stays one.
func (t *postgresTx) run(ctx context.Context, statement string, args []any, into *rows) (int64, error) {
	if err := plainText(args, false, "PostgreSQL"); err != nil {
		return 0, parameter(err)
	}
	pg := t.conn.Conn().PgConn()
	reader := pg.ExecParams(ctx, statement, asText(args), nil, nil, nil)
	fields := reader.FieldDescriptions()
	if len(fields) > 0 {
		columns := make([]string, len(fields))
		for i, f := range fields {
			columns[i] = f.Name
		}
		if err := into.head(columns); err != nil {
			return 0, err // the rest is dropped with the connection
		}
	}
	for reader.NextRow() {
		raw := reader.Values()
		values := make([]any, len(raw))
		for i := range raw {
			values[i] = t.value(fields[i].DataTypeOID, raw[i])
		}
		more, err := into.add(values)
		if err != nil {
			return 0, err
		}
		if !more {
			return into.count, nil
		}
	}
	tag, err := reader.Close()
	if err != nil {
		return 0, err
	}
	if into.columns != nil && !tag.Insert() && !tag.Update() && !tag.Delete() {
		return into.count, nil
	}
	return tag.RowsAffected(), nil
}

func asText(args []any) [][]byte {
	out := make([][]byte, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			out[i] = []byte(v)
		case bool:
			out[i] = strconv.AppendBool(nil, v)
		case int64:
			out[i] = strconv.AppendInt(nil, v, 10)
		case float64:
			out[i] = asDecimal(v)
		}
		if arg != nil && out[i] == nil {
			out[i] = []byte{} // an empty text is not null
		}
	}
	return out
}

// asDecimal writes a double as people do: 12345678, where the shortest form is 1.2345678e+07, which no column of
// whole numbers takes.
func asDecimal(f float64) []byte {
	if size := math.Abs(f); f != 0 && (size < 1e-6 || size >= 1e21) {
		return strconv.AppendFloat(nil, f, 'g', -1, 64)
	}
	return strconv.AppendFloat(nil, f, 'f', -1, 64)
}

// value reads one value that came as text.
func (t *postgresTx) value(oid uint32, raw []byte) any {
	if raw == nil {
		return nil
	}
	text := string(raw)
	switch oid {
	case pgtype.BoolOID:
		return text == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case pgtype.Float4OID:
		if f, err := strconv.ParseFloat(text, 32); err == nil {
			return floatOf(f, 32)
		}
	case pgtype.Float8OID:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return floatOf(f, 64)
		}
	case pgtype.JSONOID, pgtype.JSONBOID:
		return jsonOf(raw)
	case pgtype.ByteaOID:
		var plain []byte
		if t.scan(oid, raw, &plain) {
			return base64.StdEncoding.EncodeToString(plain)
		}
	case pgtype.TimestamptzOID:
		var at pgtype.Timestamptz
		if t.scan(oid, raw, &at) && at.InfinityModifier == pgtype.Finite {
			return timeOf(at.Time)
		}
	case pgtype.TimestampOID:
		var at pgtype.Timestamp
		if t.scan(oid, raw, &at) && at.InfinityModifier == pgtype.Finite {
			return timeOf(at.Time)
		}
	}
	return textOf(raw)
}

func (t *postgresTx) scan(oid uint32, raw []byte, into any) bool {
	return t.conn.Conn().TypeMap().Scan(oid, pgtype.TextFormatCode, raw, into) == nil
}

func (t *postgresTx) mark(ctx context.Context, key, delivery string) (*noted, error) {
	n, err := t.run(ctx, "INSERT INTO "+effectsTable+" (key, delivery, at) VALUES ($1, $2, now()) ON CONFLICT (key) DO NOTHING", []any{key, delivery}, &rows{})
	if err != nil || n == 1 {
		return nil, err
	}
	return stored(ctx, t, "SELECT result, delivery FROM "+effectsTable+" WHERE key = $1", key)
}

// stored reads the result of an effect that is done. A row that went between is somebody's clearing up: the
// effect isn't done twice for it.
func stored(ctx context.Context, t transaction, statement, key string) (*noted, error) {
	got := &rows{whole: true}
	if _, err := t.run(ctx, statement, []any{key}, got); err != nil {
		return nil, err
	}
	var out noted
	if len(got.list) > 0 {
		row, _ := got.list[0].(map[string]any)
		out.result, _ = row["result"].(string)
		out.delivery, _ = row["delivery"].(string)
	}
	return &out, nil
}

func (t *postgresTx) keep(ctx context.Context, key, result string) error {
	_, err := t.run(ctx, "UPDATE "+effectsTable+" SET result = $2 WHERE key = $1", []any{key, result}, &rows{})
	return err
}

func (t *postgresTx) commit(ctx context.Context) error {
	pg := t.conn.Conn().PgConn()
	results, err := pg.Exec(ctx, "COMMIT").ReadAll()
	if err != nil {
		return err
	}
	t.release()
	if len(results) != 1 || results[0].CommandTag.String() != "COMMIT" {
		return &step.Failure{Disposition: step.Final, Reason: core.ReasonStatement, Message: "PostgreSQL: the statement ended its own transaction, and nothing was done"}
	}
	return nil
}

func (t *postgresTx) rollback() {
	if t.conn == nil {
		return
	}
	pg := t.conn.Conn().PgConn()
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	if !idle(ctx, pg) {
		_ = pg.Close(ctx) // the server rolls back what its client left
	}
	t.release()
}

func (t *postgresTx) release() {
	t.conn.Release()
	t.conn = nil
	t.done()
}

// idle brings a connection out of its transaction, and tells whether it can be used again.
func idle(ctx context.Context, pg *pgconn.PgConn) bool {
	if pg.IsBusy() || pg.IsClosed() {
		return false // rows that nobody reads stand in the way
	}
	_, err := pg.Exec(ctx, "ROLLBACK").ReadAll()
	return err == nil && pg.TxStatus() == 'I'
}
