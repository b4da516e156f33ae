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
