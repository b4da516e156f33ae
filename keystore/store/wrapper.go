package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"golang.org/x/crypto/argon2"

	"github.com/postseal/postseal/keystore"
)

// A Wrapper keeps the data key of a store: under a passphrase, in the keyring
// of the operating system, in a hardware token. Implementations are safe for
// concurrent use.
type Wrapper interface {
	// Name tells kinds of Wrappers apart. It is stored, and never changed.
	Name() string

	// Wrap returns what is to be stored so that Unwrap can restore key, which
	// has 32 octets and is not kept. The store is named by its path.
	Wrap(ctx context.Context, store string, key []byte) ([]byte, error)

	// Unwrap returns the key that was given to Wrap, as a slice that is the
	// caller's. It is [keystore.ErrPassphrase] when a secret is wrong.
	Unwrap(ctx context.Context, store string, data []byte) ([]byte, error)
}

// A Passphrase keeps the data key under a passphrase, by Argon2id (RFC 9106)
// and AES-256-GCM. It implements Wrapper. The parameters are stored with the
// key; those of the fields are for a new passphrase.
type Passphrase struct {
	// Ask is asked for the passphrase. What it is for is the path of the store.
	// An empty passphrase is refused, with keystore.ErrPassphraseNeeded.
	Ask keystore.Passphrase
	// AskNew is asked for the passphrase of a new store, and for a new
	// passphrase. Nil: Ask is.
	AskNew keystore.Passphrase

	Time    uint32 // passes over the memory; 0: 3
	Memory  uint32 // in KiB; 0: 65,536
	Threads uint8  // 0: 4
}

// Limits for what a file may ask for.
const (
	maxMemory  = 1 << 20 // KiB, which is 1 GiB
	maxTime    = 64
	maxThreads = 64
	maxWork    = 8 << 20 // KiB times passes
	saltSize   = 16
)

// RFC 9106, Section 4: the second recommended option, for where memory is
// scarce. Mail programs run on telephones, too.
var argonDefaults = argonParams{KDF: "argon2id", Version: argon2.Version, Time: 3, Memory: 64 << 10, Threads: 4}

// argonParams are what a passphrase becomes a key with, and the data key under
// it.
type argonParams struct {
	KDF     string `json:"kdf"`
	Version int    `json:"v"`
	Time    uint32 `json:"t"`
	Memory  uint32 `json:"m"`
	Threads uint8  `json:"p"`
	Salt    []byte `json:"salt"`
	Key     []byte `json:"key"`
}

func (p *argonParams) check() error {
	switch {
	case p.KDF != argonDefaults.KDF || p.Version != argonDefaults.Version:
		return &keystore.UnsupportedError{What: "the way in which the passphrase of the store is used"}
	case p.Time == 0 || p.Threads == 0 || p.Memory < 8*uint32(p.Threads) || len(p.Salt) < 8 || len(p.Salt) > 64: // RFC 9106, Section 3.1
		return &keystore.SyntaxError{Field: "parameters of Argon2"}
	case p.Memory > maxMemory:
		return &keystore.LimitError{Limit: "memory for a passphrase"}
	case p.Time > maxTime || p.Threads > maxThreads || uint64(p.Time)*uint64(p.Memory) > maxWork:
		return &keystore.LimitError{Limit: "work for a passphrase"}
	}
	return nil
}

// label keeps what is encrypted for one purpose from being used for another.
const slotLabel = "postseal store: data key"

func (p *argonParams) derive(passphrase []byte) []byte {
	return argon2.IDKey(passphrase, p.Salt, p.Time, p.Memory, p.Threads, keySize)
}

// Name implements Wrapper.
func (*Passphrase) Name() string { return "passphrase" }

// Wrap implements Wrapper. It asks for a new passphrase.
func (w *Passphrase) Wrap(ctx context.Context, store string, key []byte) ([]byte, error) {
	p := argonDefaults
	if w.Time != 0 {
		p.Time = w.Time
	}
	if w.Memory != 0 {
		p.Memory = w.Memory
	}
	if w.Threads != 0 {
		p.Threads = w.Threads
	}
	p.Salt = make([]byte, saltSize)
	rand.Read(p.Salt) // never fails
	if err := p.check(); err != nil {
		return nil, err
	}
	question := w.AskNew
	if question == nil {
		question = w.Ask
	}
	passphrase, err := ask(ctx, question, store)
	if err != nil {
		return nil, err
	}
	kek := p.derive(passphrase)
	defer clear(kek)
	if p.Key, err = seal(kek, slotLabel, nil, key); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// Unwrap implements Wrapper.
func (w *Passphrase) Unwrap(ctx context.Context, store string, data []byte) ([]byte, error) {
	var p argonParams
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, &keystore.SyntaxError{Field: "parameters of the passphrase"}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	passphrase, err := ask(ctx, w.Ask, store)
	if err != nil {
		return nil, err
	}
	kek := p.derive(passphrase)
	defer clear(kek)
	key, err := unseal(kek, slotLabel, nil, p.Key)
	if errors.Is(err, errUnseal) {
		return nil, keystore.ErrPassphrase
	}
	return key, err
}

func ask(ctx context.Context, question keystore.Passphrase, store string) ([]byte, error) {
	if question == nil {
		return nil, keystore.ErrPassphraseNeeded
	}
	passphrase, err := question(store)
	switch {
	case err != nil:
		return nil, err
	case len(passphrase) == 0:
		return nil, keystore.ErrPassphraseNeeded
	}
	return passphrase, ctx.Err()
}
