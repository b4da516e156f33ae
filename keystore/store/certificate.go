package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// A Fingerprint names a certificate: the SHA-256 of its DER.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of a certificate.
func FingerprintOf(c *pki.Certificate) Fingerprint { return sha256.Sum256(c.Raw) }

// String returns 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Limits for what is stored of one certificate.
const (
	maxCertificate = 256 << 10 // octets
	maxChain       = 20
)

// putCertificate stores a certificate and, when there are any, those that
// came with it, in place of others that did.
func putCertificate(ctx context.Context, tx *sql.Tx, c *pki.Certificate, chain []*pki.Certificate) (Fingerprint, error) {
	id := FingerprintOf(c)
	if len(c.Raw) > maxCertificate {
		return id, &keystore.LimitError{Limit: "octets of a certificate"}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO certificates (fingerprint, der) VALUES (?, ?) ON CONFLICT DO NOTHING", id[:], c.Raw)
	if err != nil || len(chain) == 0 {
		return id, err
	}
	if _, err = tx.ExecContext(ctx, "DELETE FROM chains WHERE leaf = ?", id[:]); err != nil {
		return id, err
	}
	position := 0
	for _, issuer := range chain {
		if position == maxChain {
			break
		}
		if issuer == nil || len(issuer.Raw) > maxCertificate || FingerprintOf(issuer) == id {
			continue
		}
		if _, err = tx.ExecContext(ctx, "INSERT INTO chains (leaf, position, der) VALUES (?, ?, ?)", id[:], position, issuer.Raw); err != nil {
			return id, err
		}
		position++
	}
	return id, nil
}

// dropCertificate removes a certificate that nothing refers to any more.
func dropCertificate(ctx context.Context, tx *sql.Tx, id []byte) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM certificates WHERE fingerprint = ?1
		AND NOT EXISTS (SELECT 1 FROM identities WHERE fingerprint = ?1)
		AND NOT EXISTS (SELECT 1 FROM entries WHERE fingerprint = ?1)
		AND NOT EXISTS (SELECT 1 FROM correspondents WHERE encryption = ?1 OR signer = ?1)`, id)
	return err
}

// parseStored reads a certificate that the store holds under a fingerprint.
func parseStored(id, der []byte) (*pki.Certificate, error) {
	if sum := sha256.Sum256(der); string(sum[:]) != string(id) {
		return nil, ErrDamaged
	}
	c, err := pki.ParseCertificate(der)
	if err != nil {
		return nil, errors.Join(ErrDamaged, err)
	}
	return c, nil
}

// certificate returns a stored certificate, or ErrNotFound.
func certificate(ctx context.Context, q querier, id []byte) (*pki.Certificate, error) {
	var der []byte
	err := q.QueryRowContext(ctx, "SELECT der FROM certificates WHERE fingerprint = ?", id).Scan(&der)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return parseStored(id, der)
}

// chainOf returns the certificates that came with one, in their order. Those
// that cannot be read are left out: nothing depends on one of them.
func chainOf(ctx context.Context, q querier, leaf []byte) ([]*pki.Certificate, error) {
	var chain []*pki.Certificate
	err := each(ctx, q, func(rows *sql.Rows) error {
		var der []byte
		if err := rows.Scan(&der); err != nil {
			return err
		}
		if c, err := pki.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
		return nil
	}, "SELECT der FROM chains WHERE leaf = ? ORDER BY position", leaf)
	return chain, err
}
