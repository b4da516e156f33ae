package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/keyring"
	"github.com/postseal/postseal/keystore/store"
)

// Environment variables.
const (
	passphraseEnv      = "SMIMETOOL_PASSPHRASE"
	storePassphraseEnv = "SMIMETOOL_STORE_PASSPHRASE"
	storeEnv           = "SMIMETOOL_STORE"
	sourcesEnv         = "SMIMETOOL_SOURCES"
)

// A home is what is the user's: the configuration, and the store, which is opened
// when it is needed.
type home struct {
	a       *app
	path    string // --store
	config  *config
	own     []keystore.Identity // that the configuration names
	ownRead bool
	secret  secret // that of the store
	store   *store.Store
}

func newHome(a *app) *home {
	return &home{a: a, secret: secret{a: a, env: storePassphraseEnv}}
}

// storeFlags are for commands that may use the store.
func storeFlags(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&a.home.path, "store", "", "the store of identities and certificates is `FILE` (default: $"+storeEnv+", or your own in your data folder)")
	flags.StringVar(&a.home.secret.file, "store-passphrase-file", "", "the passphrase of the store is the first line of `FILE`")
	markFiles(cmd, "store", "store-passphrase-file")
}

// place returns the path of the store.
func (h *home) place() (string, error) {
	if h.path != "" {
		return h.path, nil
	}
	if path := os.Getenv(storeEnv); path != "" {
		return path, nil
	}
	c, err := h.settings()
	if err != nil {
		return "", err
	}
	if c.Store != "" {
		return c.Store, nil
	}
	return store.DefaultPath()
}

// A noStoreError says that there is no store yet.
type noStoreError struct{ path string }

func (e *noStoreError) Error() string { return e.path + ": there is no store yet" }

// there returns the store, or nil when there is none and nobody named one.
func (h *home) there(ctx context.Context) (*store.Store, error) {
	s, err := h.open(ctx)
	if errors.As(err, new(*noStoreError)) && h.path == "" && os.Getenv(storeEnv) == "" {
		return nil, nil
	}
	return s, err
}

// open returns the store, which has to be there: the error is a *noStoreError
// otherwise.
func (h *home) open(ctx context.Context) (*store.Store, error) {
	path, err := h.place()
	if err != nil {
		return nil, err
	}
	if h.store == nil {
		if _, err = os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, &noStoreError{path}
		}
	}
	return h.openOrMake(ctx)
}

// openOrMake returns the store and makes it when there is none.
func (h *home) openOrMake(ctx context.Context) (*store.Store, error) {
	if h.store != nil {
		return h.store, nil
	}
	path, err := h.place()
	if err != nil {
		return nil, err
	}
	// Argon2 takes 64 MiB, and the collector is not to run all the while.
	debug.SetMemoryLimit(memoryLimit + 128<<20)
	h.store, err = store.Open(ctx, path, store.Options{Key: h.passphrase(), Others: []store.Wrapper{&keyring.Keyring{}}})
	return h.store, err
}

// passphrase keeps the key of the store under a passphrase.
func (h *home) passphrase() *store.Passphrase {
	return &store.Passphrase{
		Ask:    h.secret.ask,
		AskNew: func(what string) ([]byte, error) { return h.secret.askNew("your store of private keys, " + what) },
	}
}

func (h *home) close() {
	if h.store != nil {
		_ = h.store.Close() // what was written is written
		h.store = nil
	}
}

// isStore reports whether an error about a key file is about the store.
func (h *home) isStore(fe *keystore.FileError) bool {
	path, err := h.place()
	return err == nil && fe.Name == path
}
