//go:build unix

package postgres

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestNewestRequestsReadNoOthers asks for the newest requests, as people do who look what came: payloads of all others
// stay as they are.
func TestNewestRequestsReadNoOthers(t *testing.T) {
	url := database(t)
	conn := admin(t, url)
	for _, sql := range []string{
		fmt.Sprintf(`INSERT INTO event (day, seq, id, tenant, source, type, at, format, flags, body)
			SELECT %d + i %% 2, i, gen_random_uuid(), 'default', 's', 't', i, 'form', 0, 'a=1' FROM generate_series(1, 500) i`, storetestDay.Unix()/86400),
		`INSERT INTO rejection (tenant, source, at, reason, detail, status, address, method, path, query, body_size, complete, bytes, body, format)
			SELECT 'default', 's', i, 'signature_invalid', '', 401, '', 'POST', '/', '', 3, true, 3, 'a=1', 'form' FROM generate_series(1, 500) i`,
		"ANALYZE",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		ask  string
		sort bool
	}{
		{"ORDER BY id DESC LIMIT 10", false},
		{"WHERE source = 's' AND id < 1000000000000000 ORDER BY id DESC LIMIT 10", false},
		{"WHERE id > 490 ORDER BY id LIMIT 10", false},
		{"ORDER BY processed_at DESC LIMIT 10", true},
	} {
		// A connection's first transaction has no other's figures.
		err := pgx.BeginFunc(t.Context(), admin(t, url), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL track_functions = 'pl'"); err != nil {
				return err
			}
			rows, err := tx.Query(t.Context(), "SELECT id, payload ->> 'a' FROM ic_postback "+tt.ask)
			if err != nil {
				return err
			}
			got, err := pgx.CollectRows(rows, pgx.RowToMap)
			if err != nil || len(got) != 10 {
				t.Errorf("%s: %d rows, %v", tt.ask, len(got), err)
			}
			var calls, scanned int64
			if err := tx.QueryRow(t.Context(), "SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'relais_payload'").Scan(&calls); err != nil {
				return err
			}
			err = tx.QueryRow(t.Context(), "SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables WHERE relname LIKE 'event%' OR relname = 'rejection'").Scan(&scanned)
			if calls != 10 || scanned > 0 != tt.sort {
				t.Errorf("%s: %d payloads were computed, and %d rows were gone through", tt.ask, calls, scanned)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
