//go:build unix

package postgres

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"
)

// The server reads columns as they were meant: every type, NULL, empty values and empty arrays.
func TestColumnsAreReadAsTheyWereWritten(t *testing.T) {
	s := openAt(t, database(t))
	var uuids, texts, byteas, bigints, integers, smallints, booleans, none column
	id := [16]byte{1, 2, 255}
	uuids.uuid(id)
	uuids.null(pgtype.UUIDOID)
	for _, text := range []string{"", "é \" ' {},\\ NULL", "x"} {
		texts.text(text)
	}
	byteas.bytes(nil)
	byteas.bytes([]byte{})
	byteas.bytes([]byte{0, 255})
	byteas.bytesOf("")
	byteas.bytesOf("é")
	for _, n := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
		bigints.bigint(n)
	}
	for _, n := range []int32{math.MinInt32, math.MaxInt32} {
		integers.integer(n)
	}
	for _, n := range []int16{math.MinInt16, math.MaxInt16} {
		smallints.smallint(n)
	}
	booleans.boolean(true)
	booleans.boolean(false)
	var got struct {
		UUIDs     []*string
		Texts     []string
		Byteas    [][]byte
		Bigints   []int64
		Integers  []int32
		Smallints []int16
		Booleans  []bool
		None      []string
		Length    *int
	}
	if err := s.pool.QueryRow(t.Context(), `SELECT $1::uuid[]::text[], $2::text[], $3::bytea[], $4::bigint[], $5::integer[], $6::smallint[],
		$7::boolean[], $8::text[], array_length($8::text[], 1)`, &uuids, &texts, &byteas, &bigints, &integers, &smallints, &booleans, &none).
		Scan(&got.UUIDs, &got.Texts, &got.Byteas, &got.Bigints, &got.Integers, &got.Smallints, &got.Booleans, &got.None, &got.Length); err != nil {
		t.Fatal(err)
	}
	want := got
	text := "0102ff00-0000-0000-0000-000000000000"
	want.UUIDs, want.Texts = []*string{&text, nil}, []string{"", "é \" ' {},\\ NULL", "x"}
	want.Byteas = [][]byte{nil, {}, {0, 255}, nil, []byte("é")}
	want.Bigints, want.Integers = []int64{math.MinInt64, -1, 0, math.MaxInt64}, []int32{math.MinInt32, math.MaxInt32}
	want.Smallints, want.Booleans = []int16{math.MinInt16, math.MaxInt16}, []bool{true, false}
	want.None, want.Length = []string{}, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestColumnOfAnotherTypeIsRefused(t *testing.T) {
	s := openAt(t, database(t))
	var numbers column
	numbers.bigint(1)
	if _, err := s.pool.Exec(t.Context(), "SELECT $1::text[]", &numbers); err == nil {
		t.Error("numbers went out as text")
	}
}
