package sqlstep

import "sync"

// pool is what the steps of a connection share: made for the first that uses it, and closed after the last,
// once the connection is retired. A connection that is only checked makes nothing.
type pool[T any] struct {
	create func() (T, error)
	end    func(T)

	mu      sync.Mutex
	made    bool
	shared  T
	users   int
	retired bool
}

// use returns what is shared, and what to call when it isn't used any more.
func (p *pool[T]) use() (shared T, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.made {
		if p.shared, err = p.create(); err != nil {
			return p.shared, nil, err
		}
		p.made = true
	}
	p.users++
	return p.shared, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.users--
		p.endUnused()
	}, nil
}

// Retire closes what is shared as soon as nobody uses it. An attempt that began before may use it again.
func (p *pool[T]) Retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	p.endUnused()
}

func (p *pool[T]) endUnused() {
	if p.retired && p.users == 0 && p.made {
		p.end(p.shared)
		p.made = false
	}
}
