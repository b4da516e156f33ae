package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/postseal/postseal/keystore"
)

func TestSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openStore(t, path, Options{Key: quick("one")})
	if _, err := s.Secret(t.Context(), "a"); !errors.Is(err, keystore.ErrNoKey) {
		t.Errorf("without a data key: %v", err)
	}
	if err := s.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := must(s.Secret(t.Context(), "a"))(t)
	b := must(s.Secret(t.Context(), "b"))(t)
	if len(a) != 32 || bytes.Equal(a, b) || bytes.Equal(a, make([]byte, 32)) {
		t.Errorf("%x %x", a, b)
	}
	if err := s.ChangeKey(t.Context(), quick("two")); err != nil {
		t.Fatal(err)
	}
	if again := must(openStore(t, path, Options{Key: quick("two")}).Secret(t.Context(), "a"))(t); !bytes.Equal(a, again) {
		t.Error("it changes with the passphrase")
	}
	if other := must(newStoreUnlocked(t).Secret(t.Context(), "a"))(t); bytes.Equal(a, other) {
		t.Error("two stores have the same")
	}
	if _, err := openStore(t, path, Options{Key: quick("one")}).Secret(t.Context(), "a"); !errors.Is(err, keystore.ErrPassphrase) {
		t.Errorf("with a wrong passphrase: %v", err)
	}
}

func newStoreUnlocked(t *testing.T) *Store {
	t.Helper()
	s := newStore(t, Options{Key: quick("x")})
	if err := s.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
