package store

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"

	"github.com/postseal/postseal/keystore"
)

// keySize is the size of the data key, and of a key that a Passphrase makes,
// in octets.
const keySize = 32

// errUnseal says that octets were not encrypted under a key, or were changed.
var errUnseal = errors.New("wrong key, or changed")

// seal encrypts with AES-256-GCM and a random nonce, which comes first. label
// and about are authenticated: what is sealed for one purpose or thing cannot
// be taken for another's.
func seal(key []byte, label string, about, plain []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, additional(label, about)), nil
}

func unseal(key []byte, label string, about, sealed []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, additional(label, about))
	if err != nil {
		return nil, errUnseal
	}
	return plain, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func additional(label string, about []byte) []byte {
	return append(append([]byte(label), 0), about...)
}

// Unlock makes the data key known, so that private keys can be used without a
// question. Where the store has none it is made. The Wrapper is asked again
// after an error, and not after success.
//
// The error for a wrong passphrase is a [*keystore.FileError] with
// [keystore.ErrPassphrase]; without a Wrapper it has
// [keystore.ErrPassphraseNeeded].
func (s *Store) Unlock(ctx context.Context) error {
	_, err := s.dataKey(ctx, true)
	return err
}

// Locked reports whether private keys cannot be used before a question is
// answered.
func (s *Store) Locked() bool {
	s.keyMu.Lock()
	defer s.keyMu.Unlock()
	return s.key == nil
}

// dataKey returns a copy of the data key. When the store has none, it is made
// or, unless create is set, the error is keystore.ErrNoKey.
func (s *Store) dataKey(ctx context.Context, create bool) ([]byte, error) {
	s.askMu.Lock() // one question at a time
	defer s.askMu.Unlock()
	s.keyMu.Lock()
	key, w, closed := bytes.Clone(s.key), s.wrapper, s.closed
	s.keyMu.Unlock()
	switch {
	case closed:
		return nil, s.fail("unlocking", ErrClosed)
	case key != nil:
		return key, nil
	}
	w, err := s.keeper(ctx, w)
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, &keystore.FileError{Name: s.path, Err: keystore.ErrPassphraseNeeded}
	}
	key, err = s.unwrap(ctx, w)
	if errors.Is(err, keystore.ErrNoKey) && create {
		key, err = s.makeKey(ctx, w)
		if errors.Is(err, ErrChanged) {
			key, err = s.unwrap(ctx, w) // another process was faster
		}
	}
	if err != nil {
		return nil, s.keyError("unlocking", err)
	}
	s.keyMu.Lock()
	defer s.keyMu.Unlock()
	if !s.closed {
		s.key = bytes.Clone(key)
	}
	return key, nil
}

// keyError wraps an error of a Wrapper.
func (s *Store) keyError(op string, err error) error {
	if errors.Is(err, keystore.ErrPassphrase) || errors.Is(err, keystore.ErrPassphraseNeeded) {
		return &keystore.FileError{Name: s.path, Err: err}
	}
	return s.fail(op, err)
}

// unwrap returns the data key, or keystore.ErrNoKey when there is none.
func (s *Store) unwrap(ctx context.Context, w Wrapper) ([]byte, error) {
	data, err := s.slot(ctx, w.Name())
	if err != nil {
		return nil, err
	}
	key, err := w.Unwrap(ctx, s.path, data)
	if err == nil && len(key) != keySize {
		return nil, ErrDamaged
	}
	return key, err
}

// slot returns what a Wrapper stored. The sum tells damage from a passphrase
// that is wrong.
func (s *Store) slot(ctx context.Context, name string) ([]byte, error) {
	var data, sum []byte
	others := 0
	err := s.read(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM slots").Scan(&others); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT data, sum FROM slots WHERE wrapper = ?", name).Scan(&data, &sum)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows) && others > 0:
		return nil, ErrWrapper
	case errors.Is(err, sql.ErrNoRows):
		return nil, keystore.ErrNoKey
	case err != nil:
		return nil, err
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum, want[:]) {
		return nil, ErrDamaged
	}
	return data, nil
}

// makeKey stores a new data key, unless there is one, which is ErrChanged. The
// question is asked before the transaction begins.
func (s *Store) makeKey(ctx context.Context, w Wrapper) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	data, err := w.Wrap(ctx, s.path, bytes.Clone(key))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	err = s.write(ctx, func(tx *sql.Tx) error {
		return changesOne(tx.ExecContext(ctx, "INSERT INTO slots (wrapper, data, sum) SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM slots)",
			w.Name(), data, sum[:]))
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// changesOne turns the result of a statement that changed no row into
// ErrChanged.
func changesOne(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return ErrChanged
	}
	return err
}

// ChangeKey gives the data key to another Wrapper, from the one that keeps it:
// another kind, or a [Passphrase] for a new passphrase. The old one does not
// open the store any more, and this Store uses w from now on. A store without a
// data key is keystore.ErrNoKey. The private
// keys stay encrypted under the same data key: who has the old passphrase and
// an old copy of the file can still read them.
//
// ErrChanged says that another process did the same meanwhile.
func (s *Store) ChangeKey(ctx context.Context, w Wrapper) error {
	const op = "changing the passphrase of"
	s.keyMu.Lock()
	from := s.wrapper
	s.keyMu.Unlock()
	from, err := s.keeper(ctx, from)
	if err != nil {
		return err
	}
	if from == nil || w == nil {
		return &keystore.FileError{Name: s.path, Err: keystore.ErrPassphraseNeeded}
	}
	old, err := s.slot(ctx, from.Name())
	if err != nil {
		return s.keyError(op, err)
	}
	key, err := from.Unwrap(ctx, s.path, old)
	if err != nil {
		return s.keyError(op, err)
	}
	defer clear(key)
	data, err := w.Wrap(ctx, s.path, bytes.Clone(key))
	if err != nil {
		return s.keyError(op, err)
	}
	sum := sha256.Sum256(data)
	err = s.write(ctx, func(tx *sql.Tx) error {
		gone := changesOne(tx.ExecContext(ctx, "DELETE FROM slots WHERE wrapper = ? AND data = ?", from.Name(), old))
		if gone != nil {
			return gone
		}
		return changesOne(tx.ExecContext(ctx, "INSERT INTO slots (wrapper, data, sum) VALUES (?, ?, ?)", w.Name(), data, sum[:]))
	})
	if err != nil {
		return s.fail(op, err)
	}
	s.keyMu.Lock()
	s.wrapper = w
	s.keyMu.Unlock()
	return s.fail(op, s.scrub(ctx))
}
