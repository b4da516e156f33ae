package store

import (
	"context"
	"database/sql"
	"errors"
)

// KeptBy returns the Name of the Wrapper that keeps the data key, or "" when
// the store has no data key yet.
func (s *Store) KeptBy(ctx context.Context) (string, error) {
	var name string
	err := s.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT wrapper FROM slots").Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return name, s.fail("looking at the key of", err)
}

// keeper returns the Wrapper that keeps the data key: w, unless it is one of
// Options.Others.
func (s *Store) keeper(ctx context.Context, w Wrapper) (Wrapper, error) {
	if len(s.opts.Others) == 0 {
		return w, nil
	}
	name, err := s.KeptBy(ctx)
	if err != nil || w != nil && name == w.Name() {
		return w, err
	}
	for _, other := range s.opts.Others {
		if other.Name() == name {
			return other, nil
		}
	}
	return w, nil
}
