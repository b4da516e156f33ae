package store

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// An Identity is what the store tells of an identity without its private key.
type Identity struct {
	Fingerprint Fingerprint
	Certificate *pki.Certificate
	Chain       []*pki.Certificate // as it was given; nobody vouches for it
	Addresses   []string           // sorted
	Added       time.Time
}

// keyLabel is for private keys; what they are sealed with besides is the
// SHA-256 of the public key.
const keyLabel = "postseal store: private key"

// AddIdentity stores a certificate with its chain and private key, for the
// addresses in the certificate or, when there are any, those that are given. An
// identity that is there already is updated: addresses are added, and the chain
// and the private key replaced.
//
// The data key is made when the store has none. A key that is not the
// certificate's is [keystore.ErrNoMatch], one that cannot leave where it is, or
// has no form in PKCS #8 here, a [*keystore.UnsupportedError].
func (s *Store) AddIdentity(ctx context.Context, id keystore.Identity, addresses ...string) (Fingerprint, error) {
	const op = "adding an identity to"
	switch {
	case id.Certificate == nil:
		return Fingerprint{}, s.fail(op, keystore.ErrNoCertificate)
	case id.Key == nil:
		return Fingerprint{}, s.fail(op, keystore.ErrNoKey)
	case !keystore.Belongs(id.Key, id.Certificate):
		return Fingerprint{}, s.fail(op, keystore.ErrNoMatch)
	}
	normal, err := identityAddresses(id.Certificate, addresses)
	if err != nil {
		return Fingerprint{}, s.fail(op, err)
	}
	plain, err := alg.MarshalPrivateKey(id.Key)
	if err != nil {
		return Fingerprint{}, s.fail(op, &keystore.UnsupportedError{What: "storing a private key of this kind"})
	}
	defer clear(plain)
	key, err := s.dataKey(ctx, true)
	if err != nil {
		return Fingerprint{}, err
	}
	defer clear(key)
	public := sha256.Sum256(id.Certificate.RawSPKI)
	sealed, err := seal(key, keyLabel, public[:], plain)
	if err != nil {
		return Fingerprint{}, s.fail(op, err)
	}
	var print Fingerprint
	err = s.write(ctx, func(tx *sql.Tx) error {
		var txErr error
		print, txErr = s.putIdentity(ctx, tx, id, normal, public[:], sealed)
		return txErr
	})
	return print, s.fail(op, err)
}

func (s *Store) putIdentity(ctx context.Context, tx *sql.Tx, id keystore.Identity, addresses []string, public, sealed []byte) (Fingerprint, error) {
	print, err := putCertificate(ctx, tx, id.Certificate, id.Chain)
	if err != nil {
		return print, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO keys (public, sealed) VALUES (?, ?) ON CONFLICT DO UPDATE SET sealed = excluded.sealed", public, sealed)
	if err != nil {
		return print, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO identities (fingerprint, public, serial, ski, added) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		print[:], public, trimSerial(id.Certificate.Serial), id.Certificate.SubjectKeyID, s.opts.Now().Unix())
	for _, a := range addresses {
		if err != nil {
			break
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO identity_addresses (address, fingerprint) VALUES (?, ?) ON CONFLICT DO NOTHING", a, print[:])
	}
	return print, err
}

// trimSerial returns a number in the form in which numbers are compared: some
// encoders lose the zero octet that keeps a number positive, some add one. It
// is never nil.
func trimSerial(serial []byte) []byte {
	return append([]byte{}, bytes.TrimLeft(serial, "\x00")...)
}

// Identities lists the identities for an address, or all when it is empty, the
// newest first. It needs no passphrase.
func (s *Store) Identities(ctx context.Context, address string) ([]Identity, error) {
	const op = "listing the identities in"
	query, args := "SELECT i.fingerprint, c.der, i.added FROM identities i JOIN certificates c USING (fingerprint)", []any(nil)
	if address != "" {
		normal, err := keystore.NormalizeAddress(address)
		if err != nil {
			return nil, s.fail(op, err)
		}
		query += " JOIN identity_addresses a USING (fingerprint) WHERE a.address = ?"
		args = []any{normal}
	}
	var out []Identity
	err := s.read(ctx, func(tx *sql.Tx) error {
		var txErr error
		out, txErr = readIdentities(ctx, tx, query, args...)
		return txErr
	})
	return out, s.fail(op, err)
}

// sizeOf returns how many octets of certificates identities have.
func sizeOf(list []Identity) int {
	n := 0
	for i := range list {
		n += sizeOfChain(list[i].Certificate, list[i].Chain)
	}
	return n
}

func sizeOfChain(c *pki.Certificate, chain []*pki.Certificate) int {
	n := len(c.Raw)
	for _, issuer := range chain {
		n += len(issuer.Raw)
	}
	return n
}

func readIdentities(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]Identity, error) {
	var out []Identity
	err := each(ctx, tx, func(rows *sql.Rows) error {
		var print, der []byte
		var added int64
		if err := rows.Scan(&print, &der, &added); err != nil {
			return err
		}
		c, err := parseStored(print, der)
		if err != nil {
			return err
		}
		out = append(out, Identity{Fingerprint: Fingerprint(print), Certificate: c, Added: time.Unix(added, 0).UTC()})
		return nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		id := out[i].Fingerprint[:]
		if out[i].Chain, err = chainOf(ctx, tx, id); err != nil {
			return nil, err
		}
		err = each(ctx, tx, func(rows *sql.Rows) error {
			var address string
			scanErr := rows.Scan(&address)
			out[i].Addresses = append(out[i].Addresses, address)
			return scanErr
		}, "SELECT address FROM identity_addresses WHERE fingerprint = ? ORDER BY address", id)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Identity) int { return keystore.CompareAge(a.Certificate, b.Certificate) })
	return out, nil
}

// PrivateIdentity returns an identity with its private key, for export, say.
// The error wraps ErrNotFound when there is none, ErrDamaged when the key is
// not what was stored, and is as that of Unlock when the passphrase is wrong.
func (s *Store) PrivateIdentity(ctx context.Context, id Fingerprint) (keystore.Identity, error) {
	const op = "reading a private key from"
	var cert *pki.Certificate
	var chain []*pki.Certificate
	var public, sealed []byte
	err := s.read(ctx, func(tx *sql.Tx) error {
		txErr := tx.QueryRowContext(ctx, "SELECT public, sealed FROM identities JOIN keys USING (public) WHERE fingerprint = ?", id[:]).Scan(&public, &sealed)
		if errors.Is(txErr, sql.ErrNoRows) {
			return ErrNotFound
		}
		if txErr == nil {
			cert, txErr = certificate(ctx, tx, id[:])
		}
		if txErr == nil {
			chain, txErr = chainOf(ctx, tx, id[:])
		}
		return txErr
	})
	if err != nil {
		return keystore.Identity{}, s.fail(op, err)
	}
	key, err := s.dataKey(ctx, false)
	if errors.Is(err, keystore.ErrNoKey) {
		err = s.fail(op, ErrDamaged) // a key, and nothing to decrypt it with
	}
	if err != nil {
		return keystore.Identity{}, err
	}
	defer clear(key)
	private, err := s.openKey(key, public, sealed, cert)
	if err != nil {
		return keystore.Identity{}, s.fail(op, err)
	}
	return keystore.Identity{Certificate: cert, Chain: chain, Key: private}, nil
}

// A holder is an identity for use, again and again. Nothing of it may be changed.
type holder struct {
	keystore.Identity
	opens *cms.CertificateIdentity // which remembers what it has made of the key
}

// holder returns an identity with its private key, as PrivateIdentity does.
func (s *Store) holder(ctx context.Context, id Fingerprint) (holder, error) {
	return remember(ctx, s, askPrivate, string(id[:]), func() (holder, int, error) {
		own, err := s.PrivateIdentity(ctx, id)
		if err != nil {
			return holder{}, 0, err
		}
		return holder{own, &cms.CertificateIdentity{Certificate: own.Certificate, Key: own.Key}}, sizeOfChain(own.Certificate, own.Chain), nil
	})
}

// openKey decrypts a private key. The data key is known to be right, so that
// what fails here is damage.
func (s *Store) openKey(key, public, sealed []byte, cert *pki.Certificate) (crypto.PrivateKey, error) {
	if sum := sha256.Sum256(cert.RawSPKI); !bytes.Equal(sum[:], public) {
		return nil, ErrDamaged
	}
	plain, err := unseal(key, keyLabel, public, sealed)
	if err != nil {
		return nil, ErrDamaged
	}
	defer clear(plain)
	private, err := keystore.ParsePrivateKey(s.path, plain, nil)
	if err != nil || !keystore.Belongs(private, cert) {
		return nil, ErrDamaged
	}
	return private, nil
}

// SigningIdentity returns the identity with which to sign in the name of an
// address: of those that are valid now and for signing mail the newest, but one
// that another has issued before one that is signed by itself. When there is
// none the error is a [*NoIdentityError] with the reasons.
func (s *Store) SigningIdentity(ctx context.Context, address string) (keystore.Identity, error) {
	ids, err := remember(ctx, s, askIdentities, address, func() ([]Identity, int, error) {
		list, err := s.Identities(ctx, address)
		return list, sizeOf(list), err
	})
	if err != nil {
		return keystore.Identity{}, err
	}
	ids = slices.Clone(ids) // they are others', too
	slices.SortStableFunc(ids, func(a, b Identity) int { return selfIssued(a) - selfIssued(b) })
	none := &NoIdentityError{Address: address}
	for _, id := range ids {
		// That the identity is for the address is the user's word.
		err = keystore.CheckSigning(id.Certificate, "", s.opts.Now())
		if err == nil {
			own, holderErr := s.holder(ctx, id.Fingerprint)
			return own.Identity, holderErr
		}
		rejection := Rejection{Certificate: id.Certificate}
		if errors.As(err, &rejection.Err) {
			none.Rejected = append(none.Rejected, rejection)
		}
	}
	return keystore.Identity{}, none
}

// selfIssued is 1 for a certificate that only its holder vouches for, and 0 for
// others.
func selfIssued(id Identity) int {
	if pki.NamesEqual(id.Certificate.RawIssuer, id.Certificate.RawSubject) {
		return 1
	}
	return 0
}

// RemoveIdentity removes an identity, and its private key when no other
// certificate has it. Mail that was encrypted to the key can then no more be
// read.
func (s *Store) RemoveIdentity(ctx context.Context, id Fingerprint) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		var public []byte
		err := tx.QueryRowContext(ctx, "DELETE FROM identities WHERE fingerprint = ? RETURNING public", id[:]).Scan(&public)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM keys WHERE public = ?1 AND NOT EXISTS (SELECT 1 FROM identities WHERE public = ?1)", public)
		if err != nil {
			return err
		}
		return dropCertificate(ctx, tx, id[:])
	})
	if err == nil {
		err = s.scrub(ctx)
	}
	return s.fail("removing an identity from", err)
}

// RenewIdentity stores another certificate for a private key that is in the
// store: the one that an authority issued, say, in place of one that was signed
// with the key itself, which stays. It needs no passphrase. The error wraps
// ErrNotFound when no identity has the key.
func (s *Store) RenewIdentity(ctx context.Context, c *pki.Certificate, chain []*pki.Certificate, addresses ...string) (Fingerprint, error) {
	const op = "adding an identity to"
	if c == nil {
		return Fingerprint{}, s.fail(op, keystore.ErrNoCertificate)
	}
	normal, err := identityAddresses(c, addresses)
	if err != nil {
		return Fingerprint{}, s.fail(op, err)
	}
	public := sha256.Sum256(c.RawSPKI)
	var print Fingerprint
	err = s.write(ctx, func(tx *sql.Tx) error {
		var sealed []byte
		txErr := tx.QueryRowContext(ctx, "SELECT sealed FROM keys WHERE public = ?", public[:]).Scan(&sealed)
		if errors.Is(txErr, sql.ErrNoRows) {
			return ErrNotFound
		}
		if txErr == nil {
			print, txErr = s.putIdentity(ctx, tx, keystore.Identity{Certificate: c, Chain: chain}, normal, public[:], sealed)
		}
		return txErr
	})
	return print, s.fail(op, err)
}

// identityAddresses returns the addresses of an identity: those that are given,
// or else those in its certificate.
func identityAddresses(c *pki.Certificate, given []string) ([]string, error) {
	if len(given) == 0 {
		given = c.Emails
	}
	normal := make([]string, len(given))
	for i, a := range given {
		var err error
		if normal[i], err = keystore.NormalizeAddress(a); err != nil {
			return nil, err
		}
	}
	return normal, nil
}
