package main

import (
	"crypto"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// own returns the user's identities that the configuration names, but for those
// that are not there, such as a token that was not put in. Files are read, and
// passphrases asked for, once.
func (a *app) own() ([]keystore.Identity, error) {
	if a.home.ownRead {
		return a.home.own, nil
	}
	c, err := a.home.settings()
	if err != nil {
		return nil, err
	}
	for _, name := range c.Identities {
		ids, loadErr := a.loadIdentity(identityFile{cert: name}, a.secret.ask)
		if loadErr != nil && errors.Is(loadErr, keystore.ErrPassphrase) {
			return nil, loadErr
		}
		if loadErr != nil {
			a.warn("%s", printable(loadErr.Error()))
		}
		a.home.own = append(a.home.own, ids...)
	}
	a.home.ownRead = true
	return a.home.own, nil
}

// ownIdentity returns the identity with which to sign as somebody: one in the
// store, or else the newest that the configuration names.
func (a *app) ownIdentity(address string) (keystore.Identity, crypto.Signer, error) {
	none := keystore.Identity{}
	c, err := a.home.settings()
	if err != nil {
		return none, nil, err
	}
	s, err := a.home.there(a.context())
	if err != nil {
		return none, nil, err
	}
	if s == nil && len(c.Identities) == 0 {
		s, err = a.home.open(a.context()) // to say that it is not there
		if err != nil {
			return none, nil, err
		}
	}
	missing := error(&store.NoIdentityError{Address: address})
	if s != nil {
		id, storeErr := s.SigningIdentity(a.context(), address)
		if storeErr == nil {
			return asSigner(id, address)
		}
		if !errors.As(storeErr, new(*store.NoIdentityError)) {
			return none, nil, storeErr
		}
		missing = storeErr
	}
	id, err := a.ownFor(address, keystore.CheckSigning)
	if err != nil {
		return none, nil, err
	}
	if id == nil {
		return none, nil, missing
	}
	return asSigner(*id, address)
}

func asSigner(id keystore.Identity, address string) (keystore.Identity, crypto.Signer, error) {
	key, ok := id.Key.(crypto.Signer)
	if !ok {
		return id, nil, usagef("the key of %s cannot sign", address)
	}
	return id, key, nil
}

// ownFor returns the newest identity of the configuration that fits, or nil.
func (a *app) ownFor(address string, check func(*pki.Certificate, string, time.Time) error) (*keystore.Identity, error) {
	ids, err := a.own()
	if err != nil {
		return nil, err
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id keystore.Identity) bool { return check(id.Certificate, address, time.Now()) != nil })
	slices.SortStableFunc(ids, func(x, y keystore.Identity) int { return keystore.CompareAge(x.Certificate, y.Certificate) })
	if len(ids) == 0 {
		return nil, nil
	}
	return &ids[0], nil
}

// ownRecipients returns the certificates of the user with which what is sent as
// somebody can be read again.
func (a *app) ownRecipients(f *recipientFlags, address string) ([]recipient, error) {
	sources := sourceFlags{names: []string{storeSource}}
	out, err := a.addressRecipient(&recipientFlags{sources: sources, allow: f.allow}, address)
	if err == nil || !errors.As(err, new(*recipients.NoneError)) {
		return out, err
	}
	id, ownErr := a.ownFor(address, keystore.CheckEncryption)
	if ownErr != nil {
		return nil, ownErr
	}
	if id == nil {
		return nil, &usageError{"you have no certificate for " + address + " to encrypt to, with which you could read what you send", []string{
			"--no-self encrypts to the others alone"}}
	}
	return []recipient{{certificate: id.Certificate}}, checkStrength(id.Certificate, address, f.allow)
}
