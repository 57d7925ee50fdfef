//go:build unix

package postgres

import (
	"testing"

	"relais/internal/store"
	"relais/internal/store/storetest"
)

func TestStoreIsItsModel(t *testing.T) {
	t.Parallel()
	dbs := databases{make: func(t *testing.T) string { return database(t) }}
	storetest.Model(t, func(t *testing.T, o storetest.Options) store.Store {
		s, err := Open(t.Context(), Options{URL: dbs.of(t, o.Dir), Now: o.Now, Connections: 4})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, storetest.ModelOptions{Checks: 20})
}
