package store

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
)

// Secret returns 32 octets that follow from the data key, for a purpose of the
// caller's: the same for the same store and purpose, whatever its passphrase, and
// nothing that another purpose, or who sees it, could learn the data key or a
// private key from (HKDF). A store without a data key is keystore.ErrNoKey.
func (s *Store) Secret(ctx context.Context, purpose string) ([]byte, error) {
	const op = "deriving a secret of"
	key, err := s.dataKey(ctx, false)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	out, err := hkdf.Key(sha256.New, key, nil, "postseal store: secret for "+purpose, keySize)
	return out, s.fail(op, err)
}
