// Package keyring keeps the key of a store in the keyring of the operating
// system: the Secret Service of the desktop (GNOME Keyring, KWallet), the
// keychain of macOS, or the credential manager of Windows. Whoever is logged in
// is not asked for a passphrase.
//
//	s, err := store.Open(ctx, path, store.Options{Key: &keyring.Keyring{}})
//
// # Security
//
// The keyring holds a random key, and the store its data key encrypted under
// that: neither is enough without the other. Any program of the user can ask
// the keyring while it is unlocked; a [store.Passphrase] protects from that as
// long as the passphrase is not entered. Errors have no keys in them.
//
// # Compatibility
//
// The entries have the service "Postseal". They stay in the keyring when a store
// is removed or is given another key; they are of no use then. A store can be
// moved, together with the keyring.
package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/zalando/go-keyring"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
)

var (
	// ErrUnavailable says that there is no keyring, or that it does not answer:
	// nobody is logged in at the desktop, for example.
	ErrUnavailable = errors.New("the keyring of the operating system cannot be used")
	// ErrNotFound says that the keyring does not have the key of the store, or
	// another one.
	ErrNotFound = errors.New("the keyring of the operating system does not have the key of the store")
)

// service is under which the keyring has the entries.
const service = "Postseal"

// keySize is that of the key in the keyring, in octets.
const keySize = 32

// label is authenticated with what is encrypted.
const label = "postseal keyring: data key"

// A Keyring keeps the data key of a store in the keyring. It implements
// [store.Wrapper]. It may be used by several goroutines.
type Keyring struct{}

var _ store.Wrapper = (*Keyring)(nil)

// An entry is what the store holds.
type entry struct {
	User string `json:"user"` // names the entry of the keyring
	Key  []byte `json:"key"`
}

// Name implements store.Wrapper.
func (*Keyring) Name() string { return "keyring" }

// Wrap implements store.Wrapper. Every call makes another entry. The error
// wraps ErrUnavailable.
func (*Keyring) Wrap(ctx context.Context, store string, key []byte) ([]byte, error) {
	kek, id := make([]byte, keySize), make([]byte, 8)
	defer clear(kek)
	_, _ = rand.Read(kek) // never returns an error
	_, _ = rand.Read(id)
	aead, err := newAEAD(kek)
	if err != nil {
		return nil, err
	}
	e := entry{User: store + " " + hex.EncodeToString(id), Key: aead.Seal(nil, nil, key, []byte(label))}
	_, err = ask(ctx, func() (string, error) {
		return "", keyring.Set(service, e.User, base64.StdEncoding.EncodeToString(kek))
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// Unwrap implements store.Wrapper. The error wraps ErrUnavailable or
// ErrNotFound.
func (*Keyring) Unwrap(ctx context.Context, _ string, data []byte) ([]byte, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil || e.User == "" {
		return nil, &keystore.SyntaxError{Field: "entry of the keyring"}
	}
	secret, err := ask(ctx, func() (string, error) { return keyring.Get(service, e.User) })
	if err != nil {
		return nil, err
	}
	kek, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(kek) != keySize {
		return nil, ErrNotFound
	}
	defer clear(kek)
	aead, err := newAEAD(kek)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nil, e.Key, []byte(label))
	if err != nil {
		return nil, ErrNotFound
	}
	return key, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// ask asks the keyring, which may in turn ask the user, for as long as it likes.
// When the context ends, nobody waits for the answer any more.
func ask(ctx context.Context, question func() (string, error)) (string, error) {
	type answer struct {
		secret string
		err    error
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	answers := make(chan answer, 1)
	go func() {
		secret, err := question()
		answers <- answer{secret, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-answers:
		switch {
		case errors.Is(a.err, keyring.ErrNotFound):
			return "", ErrNotFound
		case a.err != nil:
			return "", fmt.Errorf("%w: %w", ErrUnavailable, a.err)
		}
		return a.secret, nil
	}
}
