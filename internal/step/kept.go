package step

import "sync"

// Keeper is an opened connection that keeps something open between attempts, such as sockets.
type Keeper interface {
	// Retire tells that another configuration is in force. What runs under the old one ends as it began; then
	// what is kept is closed.
	Retire()
}

// Kept is what the attempts of one connection share. It is made for the first that uses it, so that a
// connection that is only checked opens nothing, and closed after the last, once the connection is retired.
type Kept[T any] struct {
	Make  func() (T, error)
	Close func(T)

	mu      sync.Mutex
	made    bool
	shared  T
	users   int
	retired bool
}

// Use returns what is shared, and what to call when it isn't used any more. An attempt that goes on under a
// retired connection may use it again: it is then made again, for as long.
func (k *Kept[T]) Use() (shared T, done func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.made {
		if k.shared, err = k.Make(); err != nil {
			return k.shared, nil, err
		}
		k.made = true
	}
	k.users++
	return k.shared, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.users--
		k.closeUnused()
	}, nil
}

// Retire makes it a Keeper.
func (k *Kept[T]) Retire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = true
	k.closeUnused()
}

func (k *Kept[T]) closeUnused() {
	if k.retired && k.users == 0 && k.made {
		var none T
		k.Close(k.shared)
		k.shared, k.made = none, false
	}
}
