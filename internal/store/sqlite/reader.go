package sqlite

import "context"

// read runs a read on a connection of its own, in one snapshot, and interrupts it at the bound.
func (s *Store) read(ctx context.Context, run func(*conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.readTime)
	defer cancel()
	var c *conn
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.closing.Done():
		return errClosed
	}
	err := s.readOn(ctx, &c, run)
	if err != nil && c != nil {
		// An interrupted connection, or one whose disk failed, is not used again.
		c.close()
		c = nil
	}
	s.readers <- c
	return public(err)
}

func (s *Store) readOn(ctx context.Context, c **conn, run func(*conn) error) (err error) {
	if *c == nil {
		if *c, err = connect(s.path, readOnly, "PRAGMA busy_timeout = 200", "PRAGMA query_only = 1",
			"PRAGMA cache_size = -2048", "PRAGMA temp_store = MEMORY"); err != nil {
			*c = nil
			return err
		}
	}
	conn := *c
	stopped := context.AfterFunc(ctx, conn.interrupt)
	defer stopped()
	if err := conn.q("BEGIN").exec(); err != nil {
		return err
	}
	if err := run(conn); err != nil {
		return err
	}
	return conn.q("COMMIT").exec()
}

// pageOf is how many rows a page has when nobody says.
func pageOf(limit int) int64 {
	if limit <= 0 || limit > 1000 {
		return 100
	}
	return int64(limit)
}
