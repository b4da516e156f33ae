package account

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/smime"
)

// ErrNoSigningKey says that the key of an identity cannot sign.
var ErrNoSigningKey = errors.New("the key of the identity cannot sign")

// An Error says which account cannot be used, and why.
type Error struct {
	Login string
	Err   error
}

// Error returns a sentence for people.
func (e *Error) Error() string { return fmt.Sprintf("account %q: %v", e.Login, e.Err) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// An Account is one person's. It is safe for concurrent use.
type Account struct {
	conf   config.Account
	shared *shared
	store  *store.Store
	source keystore.Finder
}

// Store returns the store of the account, which belongs to it.
func (a *Account) Store() *store.Store { return a.store }

// Addresses returns the account's mail addresses.
func (a *Account) Addresses() []string { return slices.Clone(a.conf.Addresses) }

func open(ctx context.Context, conf config.Account, s *shared) (*Account, error) {
	if _, err := os.Stat(conf.Store); err != nil {
		return nil, err // else an empty one would be made
	}
	st, err := store.Open(ctx, conf.Store, store.Options{Key: &store.Passphrase{
		Ask: func(string) ([]byte, error) { return firstLine(conf.Passphrase) },
	}})
	if err != nil {
		return nil, err
	}
	if err = st.Unlock(ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	a := &Account{conf: conf, shared: s, store: st}
	if a.source, err = s.finder(st); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return a, nil
}

// maxPassphrase bounds the file of a passphrase, in octets.
const maxPassphrase = 64 << 10

func firstLine(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxPassphrase))
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// Signer implements smtpproxy.Keys.
func (a *Account) Signer(ctx context.Context, address string) (*cms.Signer, error) {
	normal, err := keystore.NormalizeAddress(address)
	if err != nil || !slices.Contains(a.conf.Addresses, normal) {
		return nil, fmt.Errorf("%w: it is not one of the account", smtpproxy.ErrNoIdentity)
	}
	id, err := a.store.SigningIdentity(ctx, normal)
	if errors.As(err, new(*store.NoIdentityError)) {
		return nil, fmt.Errorf("%w: %w", smtpproxy.ErrNoIdentity, err)
	}
	if err != nil {
		return nil, err
	}
	key, ok := id.Key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %w", smtpproxy.ErrNoIdentity, ErrNoSigningKey)
	}
	return &cms.Signer{Certificate: id.Certificate, Key: key, Chain: id.Chain}, nil
}

// Recipient implements smtpproxy.Keys.
func (a *Account) Recipient(ctx context.Context, address string) (*recipients.Candidate, error) {
	trust, err := a.trust(ctx)
	if err != nil {
		return nil, err
	}
	judge := &recipients.Judge{Trust: trust}
	found, err := judge.Find(ctx, a.source, address)
	if best := recipients.Choose(found); best != nil {
		return best, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, recipients.None(address, found)
}

// Options returns how the account's messages are opened, until ctx is done.
func (a *Account) Options(ctx context.Context) (*render.Options, error) {
	trust, err := a.trust(ctx)
	if err != nil {
		return nil, err
	}
	c := a.shared.conf
	return &render.Options{
		Read: smime.ReadOptions{Trust: trust, Identities: []cms.Identity{a.store.Decrypter(ctx)}, MaxContent: 4 * c.Limits.Message,
			SpoolDir: c.Server.Spool},
		Service: c.IMAP.Service, TagSubject: c.IMAP.TagSubject, Dir: c.Server.Spool,
	}, nil
}

// timeout is that of asking a store when nobody else bounds it.
const timeout = time.Minute
