package account

import (
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/pkcs11"
	"github.com/postseal/postseal/keystore/store"
)

// maxIdentities bounds a file with identities, in octets.
const maxIdentities = 16 << 20

// keys are the private keys of an account, unlocked. They are safe for concurrent
// use.
type keys struct {
	store  *store.Store // nil when the account has none, or its keys are not used
	more   []keystore.Identity
	tokens []*pkcs11.Token
}

// unlock opens the keys of an account. The passphrase is that of all of them.
func unlock(ctx context.Context, conf *config.Account, module string, passphrase func() ([]byte, error)) (_ *keys, err error) {
	k := &keys{}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	ask := func(string) ([]byte, error) { return passphrase() }
	if conf.Store != "" && (conf.Passphrase != "" || conf.Unlock == config.UnlockLogin) {
		if k.store, err = openStore(ctx, conf.Store, ask); err != nil {
			return nil, err
		}
		kept, keptErr := k.store.KeptBy(ctx)
		if keptErr != nil {
			return nil, keptErr
		}
		if kept != "" || len(conf.Identities) == 0 { // one with correspondents alone has no key
			if err = k.store.Unlock(ctx); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range conf.Identities {
		if err = k.load(name, module, ask); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// openStore opens a store that is there: else an empty one would be made.
func openStore(ctx context.Context, name string, ask keystore.Passphrase) (*store.Store, error) {
	if _, err := os.Stat(name); err != nil {
		return nil, err
	}
	opts := store.Options{Remember: remember}
	if ask != nil {
		opts.Key = &store.Passphrase{Ask: ask}
	}
	return store.Open(ctx, name, opts)
}

// load reads the identities of a file or a token.
func (k *keys) load(name, module string, ask keystore.Passphrase) error {
	if pkcs11.Is(name) {
		token, err := pkcs11.Open(name, &pkcs11.Options{Module: module, PIN: ask})
		if err != nil {
			return err
		}
		k.tokens = append(k.tokens, token)
		ids, err := token.Identities()
		k.more = append(k.more, ids...)
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Size() > maxIdentities {
		return &keystore.FileError{Name: name, Err: &keystore.LimitError{Limit: "size of a file with identities"}}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	ids, err := keystore.Load(name, data, ask)
	k.more = append(k.more, ids...)
	return err
}

func (k *keys) close() error {
	var errs []error
	if k.store != nil {
		errs = append(errs, k.store.Close())
	}
	for _, t := range k.tokens {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// signing returns the identity to sign with in the name of an address: the
// store's, or else the newest that can. The error wraps smtpproxy.ErrNoIdentity
// when there is none.
func (k *keys) signing(ctx context.Context, address string) (*keystore.Identity, error) {
	reason := error(keystore.ErrNoKey)
	if k.store != nil {
		id, err := k.store.SigningIdentity(ctx, address)
		if err == nil {
			return &id, nil
		}
		if !errors.As(err, new(*store.NoIdentityError)) {
			return nil, err
		}
		reason = err
	}
	var best *keystore.Identity
	for i := range k.more {
		id := &k.more[i]
		if err := keystore.CheckSigning(id.Certificate, address, time.Now()); err != nil {
			if errors.Is(reason, keystore.ErrNoKey) {
				reason = err
			}
			continue
		}
		if _, ok := id.Key.(crypto.Signer); ok && (best == nil || keystore.CompareAge(id.Certificate, best.Certificate) < 0) {
			best = id
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: %w", smtpproxy.ErrNoIdentity, reason)
	}
	return best, nil
}

// opening returns all identities, for decryption.
func (k *keys) opening(ctx context.Context) []cms.Identity {
	var out []cms.Identity
	if k.store != nil {
		out = append(out, k.store.Decrypter(ctx))
	}
	for _, id := range k.more {
		out = append(out, &cms.CertificateIdentity{Certificate: id.Certificate, Key: id.Key})
	}
	return out
}

// secretPurpose is that of the secrets of accounts.
const secretPurpose = "mailproxy: what was decided of messages"

// secret returns octets that follow from the private keys: from those of the store
// or, without one, from the first that is in a file; nil when there are none.
func (k *keys) secret(ctx context.Context) ([]byte, error) {
	if k.store != nil {
		out, err := k.store.Secret(ctx, secretPurpose)
		if !errors.Is(err, keystore.ErrNoKey) {
			return out, err
		}
	}
	for _, id := range k.more {
		if der, err := x509.MarshalPKCS8PrivateKey(id.Key); err == nil { // those on tokens have no form
			defer clear(der)
			return hkdf.Key(sha256.New, der, nil, secretPurpose, sha256.Size)
		}
	}
	return nil, nil
}

// certificates returns those of the identities that are not in the store, so that
// the account can be encrypted to itself.
func (k *keys) certificates(address string) []keystore.Found {
	var out []keystore.Found
	for _, id := range k.more {
		if id.Certificate.HasEmail(address) {
			out = append(out, keystore.Found{Certificate: id.Certificate, Chain: id.Chain, Source: "identities", Detail: store.Own, Vouched: true,
				Err: keystore.CheckEncryption(id.Certificate, address, time.Now())})
		}
	}
	keystore.SortFound(out)
	return out
}
