package account

import (
	"context"
	"crypto"
	"errors"
	"fmt"
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

var (
	// ErrNoSigningKey says that the key of an identity cannot sign.
	ErrNoSigningKey = errors.New("the key of the identity cannot sign")
	// ErrLocked says that the keys of an account are unlocked by the password of a
	// login, and that there was none, or another one than that of the keys.
	ErrLocked = errors.New("the keys of the account are locked")
)

// An Error says which account cannot be used, and why.
type Error struct {
	Login string
	Err   error
}

// Error returns a sentence for people.
func (e *Error) Error() string { return fmt.Sprintf("account %q: %v", e.Login, e.Err) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// An account is one person's. It is safe for concurrent use.
type account struct {
	conf   config.Account
	shared *shared
	store  *store.Store // correspondents, and whom the person trusts; may be nil
	source keystore.Finder
	keys   *keys // nil when they are unlocked by logins
	vault  vault // then

	verdicts verdicts // on recipients
}

func open(ctx context.Context, conf config.Account, s *shared) (_ *account, err error) {
	a := &account{conf: conf, shared: s, verdicts: newVerdicts()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if conf.Unlock != config.UnlockLogin {
		a.keys, err = unlock(ctx, &conf, s.conf.PKCS11.Module, func() ([]byte, error) { return a.passphrase() })
		if err != nil {
			return nil, err
		}
		a.store = a.keys.store
	}
	if a.store == nil && conf.Store != "" {
		if a.store, err = openStore(ctx, conf.Store, nil); err != nil {
			return nil, err
		}
	}
	a.source, err = s.finder(a.store)
	return a, err
}

// passphrase reads that of the keys.
func (a *account) passphrase() ([]byte, error) {
	if a.conf.Passphrase == "" {
		return nil, keystore.ErrPassphraseNeeded
	}
	return config.FirstLine(a.conf.Passphrase)
}

func (a *account) close() error {
	var errs []error
	if a.store != nil && (a.keys == nil || a.store != a.keys.store) {
		errs = append(errs, a.store.Close())
	}
	if a.keys != nil {
		errs = append(errs, a.keys.close())
	}
	return errors.Join(append(errs, a.vault.close())...)
}

// An access is an account with its keys, or without them while they are locked. It
// implements smtpproxy.Keys.
type access struct {
	*account
	keys *keys
}

// Signer implements smtpproxy.Keys.
func (a *access) Signer(ctx context.Context, address string) (*cms.Signer, error) {
	normal, err := keystore.NormalizeAddress(address)
	if err != nil || !slices.Contains(a.conf.Addresses, normal) {
		return nil, fmt.Errorf("%w: it is not one of the account", smtpproxy.ErrNoIdentity)
	}
	if a.keys == nil {
		return nil, ErrLocked // it may pass: there is an identity
	}
	id, err := a.keys.signing(store.Moment(ctx), normal)
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
func (a *access) Recipient(ctx context.Context, address string) (*recipients.Candidate, error) {
	ctx = store.Moment(ctx)
	trust, err := a.judge(ctx)
	if err != nil {
		return nil, err
	}
	found, err := (&recipients.Judge{Trust: trust}).Find(ctx, a, address)
	if best := recipients.Choose(found); best != nil {
		return best, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, recipients.None(address, found)
}

// Source implements keystore.Finder.
func (a *access) Source() string { return a.source.Source() }

// Find implements keystore.Finder: one's own certificates come first.
func (a *access) Find(ctx context.Context, address string) ([]keystore.Found, error) {
	if a.keys != nil {
		if normal, err := keystore.NormalizeAddress(address); err == nil && slices.Contains(a.conf.Addresses, normal) {
			if own := a.keys.certificates(normal); len(own) > 0 && own[0].Err == nil {
				return own, nil
			}
		}
	}
	return a.source.Find(ctx, address)
}

// options returns how the account's messages are opened, until ctx is done.
func (a *access) options(ctx context.Context) (*render.Options, error) {
	if a.keys == nil {
		return nil, ErrLocked
	}
	trust, err := a.trust(ctx)
	if err != nil {
		return nil, err
	}
	c := a.shared.conf
	return &render.Options{
		Read:    smime.ReadOptions{Trust: trust, Identities: a.keys.opening(ctx), MaxContent: 4 * c.Limits.Message, SpoolDir: c.Server.Spool},
		Service: c.IMAP.Service, TagSubject: c.IMAP.TagSubject, Dir: c.Server.Spool,
	}, nil
}

// timeout is that of asking a store when nobody else bounds it.
const timeout = time.Minute
