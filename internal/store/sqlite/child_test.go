//go:build unix

package sqlite

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"relais/internal/store"
	"relais/internal/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Main(m, map[string]func(dir string) error{
		"append":                childAppends,
		"readonly":              childReadOnly,
		"small disk":            childSmallDisk,
		"back up":               childBacksUp,
		"back up on small disk": childBacksUpOnSmallDisk,
	})
}

// childAppends acknowledges events, by printing their ids, until it is killed.
func childAppends(dir string) error {
	s, err := Open(context.Background(), Options{Dir: dir, CheckpointBytes: 1 << 20})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				batch := benchBatch(1, 5)
				if _, err := s.Append(context.Background(), batch); err != nil {
					return
				}
				mu.Lock()
				fmt.Println(batch[0].Event.ID)
				mu.Unlock()
				if _, err := s.Claim(context.Background(), store.ClaimParams{Node: "n", Max: 4, Lanes: []store.LaneRoom{{Lane: 1, Max: 4}}}); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return s.Close()
}
