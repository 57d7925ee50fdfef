//go:build unix

package postgres

import (
	"errors"
	"strings"
	"testing"

	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// TestDatabaseThatDoesNotExistIsNamed: its server is there, and nobody's rights are wrong.
func TestDatabaseThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	slash := strings.LastIndexByte(url, '/')
	query := ""
	if at := strings.IndexByte(url[slash:], '?'); at >= 0 {
		query = url[slash+at:]
	}
	_, err := Open(t.Context(), Options{URL: url[:slash+1] + "nowhere" + query})
	if err == nil || !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "the database nowhere doesn't exist: create it (PostgreSQL's code 3D000)") {
		t.Errorf("it says %v", err)
	}
	var away *store.Away
	if !errors.As(err, &away) || !away.Lasting {
		t.Error("it counts as something that passes by itself")
	}
}
