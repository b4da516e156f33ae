package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// schema2 adds the authorities. Their certificates are apart from those of
// people, so that nothing that is done to these makes or unmakes trust.
const schema2 = `
CREATE TABLE authorities (
	fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
	der         BLOB NOT NULL,
	added       INTEGER NOT NULL
) WITHOUT ROWID;
`

// An Authority is a certificate that the user trusts to vouch for others.
type Authority struct {
	Fingerprint Fingerprint
	Certificate *pki.Certificate
	Added       time.Time
}

// AddAuthority stores a certificate that is trusted to vouch for others; one
// that is there already stays as it is. That it is the certificate of a CA is
// not asked for here: paths through it are judged when they are used.
func (s *Store) AddAuthority(ctx context.Context, c *pki.Certificate) (Fingerprint, error) {
	const op = "adding an authority to"
	switch {
	case c == nil:
		return Fingerprint{}, s.fail(op, keystore.ErrNoCertificate)
	case len(c.Raw) > maxCertificate:
		return Fingerprint{}, s.fail(op, &keystore.LimitError{Limit: "octets of a certificate"})
	}
	id := FingerprintOf(c)
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, txErr := tx.ExecContext(ctx, "INSERT INTO authorities (fingerprint, der, added) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
			id[:], c.Raw, s.opts.Now().Unix())
		return txErr
	})
	return id, s.fail(op, err)
}

// Authorities lists the authorities, the newest first. It needs no passphrase.
func (s *Store) Authorities(ctx context.Context) ([]Authority, error) {
	out, err := remember(ctx, s, askAuthorities, "", func() ([]Authority, int, error) {
		list, err := s.authorities(ctx)
		size := 0
		for i := range list {
			size += len(list[i].Certificate.Raw)
		}
		return list, size, err
	})
	return slices.Clone(out), err // the list is the caller's
}

func (s *Store) authorities(ctx context.Context) ([]Authority, error) {
	var out []Authority
	err := s.read(ctx, func(tx *sql.Tx) error {
		return each(ctx, tx, func(rows *sql.Rows) error {
			var print, der []byte
			var added int64
			if err := rows.Scan(&print, &der, &added); err != nil {
				return err
			}
			c, err := parseStored(print, der)
			if err != nil {
				return err
			}
			out = append(out, Authority{Fingerprint: Fingerprint(print), Certificate: c, Added: time.Unix(added, 0).UTC()})
			return nil
		}, "SELECT fingerprint, der, added FROM authorities")
	})
	if err != nil {
		return nil, s.fail("listing the authorities in", err)
	}
	slices.SortFunc(out, func(a, b Authority) int { return keystore.CompareAge(a.Certificate, b.Certificate) })
	return out, nil
}

// RemoveAuthority ends the trust in an authority. The error wraps ErrNotFound
// when it is not there.
func (s *Store) RemoveAuthority(ctx context.Context, id Fingerprint) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		return foundOne(tx.ExecContext(ctx, "DELETE FROM authorities WHERE fingerprint = ?", id[:]))
	})
	return s.fail("removing an authority from", err)
}
