package lane

import (
	"sync"

	"relais/internal/core"
)

// inbox gathers wake-ups. It is apart from the board so that a caller on the ingest path waits for
// nothing but a map's insert.
type inbox struct {
	mu    sync.Mutex
	woken map[core.Destination]struct{}
	all   bool
}

func (i *inbox) put(destinations []core.Destination) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(destinations) == 0 {
		i.all = true
		return
	}
	if i.woken == nil {
		i.woken = make(map[core.Destination]struct{}, len(destinations))
	}
	for _, d := range destinations {
		i.woken[d] = struct{}{}
	}
}

func (i *inbox) take() (woken map[core.Destination]struct{}, all bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	woken, all = i.woken, i.all
	i.woken, i.all = nil, false
	return woken, all
}
