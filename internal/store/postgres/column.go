package postgres

import (
	"encoding/binary"
	"errors"

	"github.com/jackc/pgx/v5/pgtype"
)

// column is an array of a statement's, written as PostgreSQL reads it while its elements are added: pgx would look
// at each element's type again, and a batch has hundreds.
type column struct {
	element uint32 // the OID of its elements' type
	n       int32
	nulls   int32  // of these
	data    []byte // of each element its length and its bytes
}

// room makes room in columns for n elements of about that many bytes: growing, they would be copied several times.
func room(n, size int, columns ...*column) {
	for _, c := range columns {
		c.data = make([]byte, 0, n*(4+size)+size)
	}
}

func (c *column) begin(element uint32, length int) []byte {
	c.element = element
	c.n++
	return binary.BigEndian.AppendUint32(c.data, uint32(length)) //nolint:gosec // of a bounded body at most
}

func (c *column) uuid(v [16]byte) { c.data = append(c.begin(pgtype.UUIDOID, 16), v[:]...) }

func (c *column) text(v string) { c.data = append(c.begin(pgtype.TextOID, len(v)), v...) }

func (c *column) bigint(v int64) {
	c.data = binary.BigEndian.AppendUint64(c.begin(pgtype.Int8OID, 8), uint64(v)) //nolint:gosec // its bits
}

func (c *column) integer(v int32) {
	c.data = binary.BigEndian.AppendUint32(c.begin(pgtype.Int4OID, 4), uint32(v)) //nolint:gosec // its bits
}

func (c *column) smallint(v int16) {
	c.data = binary.BigEndian.AppendUint16(c.begin(pgtype.Int2OID, 2), uint16(v)) //nolint:gosec // its bits
}

func (c *column) boolean(v bool) {
	bit := byte(0)
	if v {
		bit = 1
	}
	c.data = append(c.begin(pgtype.BoolOID, 1), bit)
}

// bytes adds a bytea, NULL for nil.
func (c *column) bytes(v []byte) {
	if v == nil {
		c.null(pgtype.ByteaOID)
		return
	}
	c.data = append(c.begin(pgtype.ByteaOID, len(v)), v...)
}

// bytesOf adds a bytea, NULL for "".
func (c *column) bytesOf(v string) {
	if v == "" {
		c.null(pgtype.ByteaOID)
		return
	}
	c.data = append(c.begin(pgtype.ByteaOID, len(v)), v...)
}

func (c *column) null(element uint32) {
	c.nulls++
	c.data = c.begin(element, -1)
}

// columnTypes are the arrays that columns are sent as, by the OIDs of their elements.
var columnTypes = map[uint32]uint32{
	pgtype.UUIDOID: pgtype.UUIDArrayOID, pgtype.TextOID: pgtype.TextArrayOID, pgtype.ByteaOID: pgtype.ByteaArrayOID,
	pgtype.Int8OID: pgtype.Int8ArrayOID, pgtype.Int4OID: pgtype.Int4ArrayOID, pgtype.Int2OID: pgtype.Int2ArrayOID,
	pgtype.BoolOID: pgtype.BoolArrayOID,
}

// registerColumns lets a connection take columns.
func registerColumns(m *pgtype.Map) {
	for element, array := range columnTypes {
		if t, ok := m.TypeForOID(array); ok {
			m.RegisterType(&pgtype.Type{Name: t.Name, OID: array, Codec: columnCodec{t.Codec, element}})
		}
	}
}

// columnCodec takes columns besides what the type's own codec takes.
type columnCodec struct {
	pgtype.Codec
	element uint32
}

// PlanEncode implements pgtype.Codec.
func (c columnCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(*column); ok && format == pgtype.BinaryFormatCode {
		return columnPlan{c.element}
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

type columnPlan struct{ element uint32 }

var errColumn = errors.New("a column's elements have another type than its parameter")

// Encode implements pgtype.EncodePlan: the number of dimensions, whether there are NULLs, the elements' type, the
// dimension's length and first index, and the elements (array_recv in PostgreSQL's arrayfuncs.c reads it).
func (p columnPlan) Encode(value any, buf []byte) ([]byte, error) {
	c := value.(*column) //nolint:forcetypeassert // PlanEncode looked
	if c.n > 0 && c.element != p.element {
		return nil, errColumn
	}
	n := c.n
	if c.nulls == n {
		n = 0 // unnest fills a shorter array up with NULLs
	}
	dimensions, nulls := uint32(min(n, 1)), uint32(min(c.nulls, n, 1)) //nolint:gosec // 0 or 1
	buf = binary.BigEndian.AppendUint32(buf, dimensions)
	buf = binary.BigEndian.AppendUint32(buf, nulls)
	buf = binary.BigEndian.AppendUint32(buf, p.element)
	if n == 0 {
		return buf, nil
	}
	buf = binary.BigEndian.AppendUint32(buf, uint32(n))
	buf = binary.BigEndian.AppendUint32(buf, 1)
	return append(buf, c.data...), nil
}
