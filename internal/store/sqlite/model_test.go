package sqlite

import (
	"testing"

	"relais/internal/store"
	"relais/internal/store/storetest"
)

func TestStoreIsItsModel(t *testing.T) {
	storetest.Model(t, func(t *testing.T, o storetest.Options) store.Store {
		s, err := Open(t.Context(), Options{Dir: o.Dir, Now: o.Now, Sync: SyncOff})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, storetest.ModelOptions{OneProcess: true, Checks: 50})
}
