package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/keystore"
)

// Source implements [keystore.Finder].
func (s *Store) Source() string { return "store" }

// Find implements [keystore.Finder]: it returns the certificates of a
// correspondent, and those of the user's own identities. Certificates that
// cannot be used to encrypt now are among them, with the reason. A certificate
// that was trusted by hand, or is the user's own, is vouched for, and may be
// one for another address.
func (s *Store) Find(ctx context.Context, address string) ([]keystore.Found, error) {
	const op = "looking up an address in"
	normal, err := keystore.NormalizeAddress(address)
	if err != nil {
		return nil, s.fail(op, err)
	}
	k, err := remember(ctx, s, askFound, normal, func() (*knowledge, int, error) { return s.look(ctx, normal) })
	if err != nil {
		return nil, s.fail(op, err)
	}
	c, own, now := &k.correspondent, k.own, s.opts.Now()
	var found []keystore.Found
	for _, e := range c.Entries {
		f := c.found(e, now)
		if slices.ContainsFunc(own, func(id Identity) bool { return id.Fingerprint == e.Fingerprint }) && e.Decision != Rejected {
			f.Vouched, f.Detail, f.Err = true, Own, keystore.CheckEncryption(e.Certificate, "", now)
		}
		found = append(found, f)
	}
	for _, id := range own {
		if !slices.ContainsFunc(c.Entries, func(e Entry) bool { return e.Fingerprint == id.Fingerprint }) {
			found = append(found, keystore.Found{Certificate: id.Certificate, Chain: id.Chain, Source: s.Source(), Detail: Own, Vouched: true,
				Capabilities: c.Capabilities, FirstSeen: id.Added, LastSeen: id.Added, Err: keystore.CheckEncryption(id.Certificate, "", now)})
		}
	}
	keystore.SortFound(found)
	return found, nil
}

// knowledge is what the store has for an address.
type knowledge struct {
	correspondent Correspondent // without entries when there is none
	own           []Identity
}

// look reads what there is, and returns how many octets of certificates it has.
func (s *Store) look(ctx context.Context, address string) (*knowledge, int, error) {
	k := &knowledge{correspondent: Correspondent{Address: address}}
	err := s.read(ctx, func(tx *sql.Tx) error {
		txErr := readCorrespondent(ctx, tx, &k.correspondent)
		if txErr == nil || errors.Is(txErr, ErrNotFound) {
			k.own, txErr = readIdentities(ctx, tx, `SELECT i.fingerprint, c.der, i.added FROM identities i JOIN certificates c USING (fingerprint)
				JOIN identity_addresses a USING (fingerprint) WHERE a.address = ?`, address)
		}
		return txErr
	})
	size := sizeOf(k.own)
	for _, e := range k.correspondent.Entries {
		size += sizeOfChain(e.Certificate, e.Chain)
	}
	return k, size, err
}

// found judges an entry.
func (c *Correspondent) found(e Entry, now time.Time) keystore.Found {
	f := keystore.Found{Certificate: e.Certificate, Chain: e.Chain, Source: (*Store)(nil).Source(), Detail: e.Source, Vouched: e.Decision == Trusted,
		Preferred: c.Encryption != nil && *c.Encryption == e.Fingerprint, Capabilities: c.Capabilities, FirstSeen: e.FirstSeen, LastSeen: e.LastSeen}
	switch e.Decision {
	case Rejected:
		f.Err = &keystore.UnusableError{Reason: keystore.UnusableRejected}
	case Trusted:
		f.Err = keystore.CheckEncryption(e.Certificate, "", now)
	default:
		f.Err = keystore.CheckEncryption(e.Certificate, c.Address, now)
	}
	return f
}
