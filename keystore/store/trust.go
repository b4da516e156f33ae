package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// ErrRejected says that a signer's certificate was rejected by hand.
var ErrRejected = errors.New("the signer's certificate was rejected by hand")

// Trust returns who is trusted by what the user said by hand:
//
//   - a certificate that was rejected for an address that it has is refused,
//     with ErrRejected;
//   - one that was trusted for an address that it has, or is the user's own, is
//     accepted whoever issued it, as long as it is valid and for signing mail;
//   - all others are for paths to judge, which is asked about the authorities
//     of the store.
//
// The store is asked as of now, the authorities when Trust is called. The
// context is that of all the lookups.
func (s *Store) Trust(ctx context.Context, paths func(roots *pki.Roots) cms.Trust) (cms.Trust, error) {
	return s.TrustAuthorities(ctx, func(authorities []Authority) cms.Trust {
		certs := make([]*pki.Certificate, len(authorities))
		for i, a := range authorities {
			certs[i] = a.Certificate
		}
		return paths(pki.NewRoots(certs))
	})
}

// TrustAuthorities is Trust for paths that begin at other roots besides.
func (s *Store) TrustAuthorities(ctx context.Context, paths func(authorities []Authority) cms.Trust) (cms.Trust, error) {
	authorities, err := s.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	rest := paths(authorities)
	return cms.TrustFunc(func(req *cms.TrustRequest) error {
		decision, lookupErr := s.decision(ctx, req.Certificate)
		if lookupErr != nil {
			return lookupErr
		}
		switch decision {
		case Rejected:
			return ErrRejected
		case Trusted:
			at := req.Time
			if at.IsZero() {
				at = time.Now()
			}
			return keystore.CheckSigning(req.Certificate, "", at)
		}
		return rest.TrustSigner(req)
	}), nil
}

// decision returns what the user said about a certificate and one of the
// addresses that it has. One rejection is enough.
func (s *Store) decision(ctx context.Context, c *pki.Certificate) (Decision, error) {
	var addresses []string
	for _, a := range c.Emails {
		if normal, err := keystore.NormalizeAddress(a); err == nil {
			addresses = append(addresses, normal)
		}
	}
	id := FingerprintOf(c)
	out, err := remember(ctx, s, askDecision, string(id[:]), func() (Decision, int, error) {
		out, err := s.decided(ctx, id, addresses)
		return out, 0, err
	})
	return out, s.fail("looking up a certificate in", err)
}

// decided returns what the user said about a certificate and one of addresses,
// which are normalised.
func (s *Store) decided(ctx context.Context, id Fingerprint, addresses []string) (Decision, error) {
	out := Undecided
	err := s.read(ctx, func(tx *sql.Tx) error {
		err := each(ctx, tx, func(rows *sql.Rows) error {
			var address string
			var d Decision
			if err := rows.Scan(&address, &d); err != nil {
				return err
			}
			if slices.Contains(addresses, address) {
				out = max(out, d)
			}
			return nil
		}, "SELECT address, decision FROM entries WHERE fingerprint = ?", id[:])
		if err != nil || out != Undecided {
			return err
		}
		var own bool
		err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM identities WHERE fingerprint = ?)", id[:]).Scan(&own)
		if own {
			out = Trusted
		}
		return err
	})
	return out, err
}
