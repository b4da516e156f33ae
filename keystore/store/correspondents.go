package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// Sources of certificates that this package names itself.
const (
	Imported  = "imported"  // by the user
	Harvested = "harvested" // from a signed message
	Own       = "identity"  // the user has the private key
)

// A Decision is what the user said by hand about a certificate for an address.
// No source of certificates changes it.
type Decision int

// The decisions.
const (
	Undecided Decision = iota
	Trusted            // it is used before all others, whatever addresses it has
	Rejected           // it is not used
)

// String returns the decision in words, "" for Undecided.
func (d Decision) String() string {
	switch d {
	case Trusted:
		return "trusted by hand"
	case Rejected:
		return "rejected by hand"
	}
	return ""
}

// An Entry is a certificate of a correspondent.
type Entry struct {
	Fingerprint Fingerprint
	Certificate *pki.Certificate
	Chain       []*pki.Certificate // as it was given; nobody vouches for it
	Source      string
	Decision    Decision
	// FirstSeen and LastSeen are the times of the first and the last message,
	// or other occasion, with which the certificate came.
	FirstSeen, LastSeen time.Time
}

// A Correspondent is a mail address and what is known of it.
type Correspondent struct {
	Address string
	// Capabilities are the ciphers that the correspondent can read, as of
	// CapabilitiesAt, the best liked first. Nil: not known. Empty: none of them
	// is written here.
	Capabilities   []cms.Cipher
	CapabilitiesAt time.Time
	// Encryption is the certificate that messages named or brought for
	// encryption, and Signer that of the last signature; nil when there is none.
	Encryption, Signer *Fingerprint
	Entries            []Entry // the newest certificate first
}

// AddOptions says how a certificate came. The zero value is Imported, without
// a decision.
type AddOptions struct {
	Source       string             // "": Imported
	Chain        []*pki.Certificate // what came with it
	Decision     Decision           // Undecided leaves a decision as it is
	Capabilities []cms.Cipher       // nil leaves what is known; an empty slice says that there are none
}

// AddCertificate stores a certificate for an address, or updates what is
// stored: the time it was last seen, and the source, except that Harvested
// replaces no other. That the certificate has the address is not asked for.
func (s *Store) AddCertificate(ctx context.Context, address string, c *pki.Certificate, opts AddOptions) (Fingerprint, error) {
	const op = "adding a certificate to"
	if c == nil {
		return Fingerprint{}, s.fail(op, keystore.ErrNoCertificate)
	}
	address, err := keystore.NormalizeAddress(address)
	if err != nil {
		return Fingerprint{}, s.fail(op, err)
	}
	if opts.Source == "" {
		opts.Source = Imported
	}
	var print Fingerprint
	err = s.write(ctx, func(tx *sql.Tx) error {
		now := s.opts.Now()
		var txErr error
		print, txErr = putEntry(ctx, tx, address, c, opts, now)
		if txErr == nil && opts.Capabilities != nil {
			txErr = putCapabilities(ctx, tx, address, opts.Capabilities, now)
		}
		return txErr
	})
	return print, s.fail(op, err)
}

func putEntry(ctx context.Context, tx *sql.Tx, address string, c *pki.Certificate, opts AddOptions, seen time.Time) (Fingerprint, error) {
	print, err := putCertificate(ctx, tx, c, opts.Chain)
	if err != nil {
		return print, err
	}
	if _, err = tx.ExecContext(ctx, "INSERT INTO correspondents (address) VALUES (?) ON CONFLICT DO NOTHING", address); err != nil {
		return print, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO entries (address, fingerprint, source, decision, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
		ON CONFLICT DO UPDATE SET
			source = CASE WHEN excluded.source = ?6 THEN source ELSE excluded.source END,
			decision = CASE WHEN excluded.decision = 0 THEN decision ELSE excluded.decision END,
			first_seen = min(first_seen, excluded.first_seen),
			last_seen = max(last_seen, excluded.last_seen)`,
		address, print[:], opts.Source, int(opts.Decision), seen.Unix(), Harvested)
	return print, err
}

// putCapabilities stores what a correspondent can read, unless something newer
// is known.
func putCapabilities(ctx context.Context, tx *sql.Tx, address string, ciphers []cms.Cipher, at time.Time) error {
	names := make([]string, len(ciphers))
	for i, c := range ciphers {
		names[i] = string(c)
	}
	_, err := tx.ExecContext(ctx, `UPDATE correspondents SET capabilities = ?, capabilities_at = ? WHERE address = ? AND ifnull(capabilities_at, ?2) <= ?2`,
		strings.Join(names, ","), at.Unix(), address)
	return err
}

// Decide stores what the user said by hand about a certificate for an address.
// ErrNotFound says that the certificate is not there for this address.
func (s *Store) Decide(ctx context.Context, address string, id Fingerprint, d Decision) error {
	return s.onEntry(ctx, "changing", address, func(tx *sql.Tx, address string) error {
		return foundOne(tx.ExecContext(ctx, "UPDATE entries SET decision = ? WHERE address = ? AND fingerprint = ?", int(d), address, id[:]))
	})
}

// RemoveCertificate removes a certificate of a correspondent. It can come back
// with the next message; what shall not be used is Rejected.
func (s *Store) RemoveCertificate(ctx context.Context, address string, id Fingerprint) error {
	return s.onEntry(ctx, "removing a certificate from", address, func(tx *sql.Tx, address string) error {
		return removeEntry(ctx, tx, address, id[:])
	})
}

// RemoveCorrespondent removes an address and all its certificates.
func (s *Store) RemoveCorrespondent(ctx context.Context, address string) error {
	return s.onEntry(ctx, "removing a correspondent from", address, func(tx *sql.Tx, address string) error {
		prints, err := entriesOf(ctx, tx, address)
		if err == nil {
			err = foundOne(tx.ExecContext(ctx, "DELETE FROM correspondents WHERE address = ?", address))
		}
		for _, print := range prints {
			if err == nil {
				err = dropCertificate(ctx, tx, print)
			}
		}
		return err
	})
}

func (s *Store) onEntry(ctx context.Context, op, address string, f func(tx *sql.Tx, address string) error) error {
	normal, err := keystore.NormalizeAddress(address)
	if err == nil {
		err = s.write(ctx, func(tx *sql.Tx) error { return f(tx, normal) })
	}
	return s.fail(op, err)
}

func foundOne(result sql.Result, err error) error {
	if err = changesOne(result, err); errors.Is(err, ErrChanged) {
		return ErrNotFound
	}
	return err
}

// removeEntry removes a certificate from an address, and the address with its
// last certificate.
func removeEntry(ctx context.Context, tx *sql.Tx, address string, id []byte) error {
	if err := foundOne(tx.ExecContext(ctx, "DELETE FROM entries WHERE address = ? AND fingerprint = ?", address, id)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE correspondents SET encryption = nullif(encryption, ?2), signer = nullif(signer, ?2),
		encryption_at = CASE WHEN encryption = ?2 THEN NULL ELSE encryption_at END, signer_at = CASE WHEN signer = ?2 THEN NULL ELSE signer_at END
		WHERE address = ?1`, address, id)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM correspondents WHERE address = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE address = ?1)", address)
	if err != nil {
		return err
	}
	return dropCertificate(ctx, tx, id)
}

func entriesOf(ctx context.Context, q querier, address string) ([][]byte, error) {
	var prints [][]byte
	err := each(ctx, q, func(rows *sql.Rows) error {
		var print []byte
		scanErr := rows.Scan(&print)
		prints = append(prints, print)
		return scanErr
	}, "SELECT fingerprint FROM entries WHERE address = ?", address)
	return prints, err
}

// A Filter chooses correspondents. The zero value chooses all.
type Filter struct {
	Contains string // text that the address has in it; case does not matter in ASCII
	Source   string // of one of the certificates
	After    string // addresses that come after this one in order
	Limit    int    // 0: no limit
}

// Correspondents lists correspondents by address. It needs no passphrase.
func (s *Store) Correspondents(ctx context.Context, f Filter) ([]Correspondent, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = -1
	}
	pattern := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(f.Contains) + "%"
	var out []Correspondent
	err := s.read(ctx, func(tx *sql.Tx) error {
		err := each(ctx, tx, func(rows *sql.Rows) error {
			var address string
			scanErr := rows.Scan(&address)
			out = append(out, Correspondent{Address: address})
			return scanErr
		}, `SELECT address FROM correspondents c WHERE address LIKE ? ESCAPE '\' AND address > ?
			AND (?3 = '' OR EXISTS (SELECT 1 FROM entries e WHERE e.address = c.address AND e.source = ?3)) ORDER BY address LIMIT ?`,
			pattern, f.After, f.Source, limit)
		for i := range out {
			if err == nil {
				err = readCorrespondent(ctx, tx, &out[i])
			}
		}
		return err
	})
	if err != nil {
		return nil, s.fail("listing the correspondents in", err)
	}
	return out, nil
}

// Correspondent returns one correspondent. The error wraps ErrNotFound when
// the address is not known.
func (s *Store) Correspondent(ctx context.Context, address string) (*Correspondent, error) {
	const op = "looking up an address in"
	normal, err := keystore.NormalizeAddress(address)
	if err != nil {
		return nil, s.fail(op, err)
	}
	c := &Correspondent{Address: normal}
	if err = s.read(ctx, func(tx *sql.Tx) error { return readCorrespondent(ctx, tx, c) }); err != nil {
		return nil, s.fail(op, err)
	}
	return c, nil
}

// readCorrespondent fills in what is known of c.Address.
func readCorrespondent(ctx context.Context, q querier, c *Correspondent) error {
	var names sql.NullString
	var capabilitiesAt sql.NullInt64
	var encryption, signer []byte
	err := q.QueryRowContext(ctx, "SELECT capabilities, capabilities_at, encryption, signer FROM correspondents WHERE address = ?", c.Address).
		Scan(&names, &capabilitiesAt, &encryption, &signer)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if names.Valid {
		c.Capabilities = []cms.Cipher{}
		for _, name := range strings.FieldsFunc(names.String, func(r rune) bool { return r == ',' }) {
			c.Capabilities = append(c.Capabilities, cms.Cipher(name))
		}
		c.CapabilitiesAt = time.Unix(capabilitiesAt.Int64, 0).UTC()
	}
	c.Encryption, c.Signer = toFingerprint(encryption), toFingerprint(signer)
	err = each(ctx, q, func(rows *sql.Rows) error {
		var e Entry
		var print, der []byte
		var first, last int64
		if scanErr := rows.Scan(&print, &der, &e.Source, &e.Decision, &first, &last); scanErr != nil {
			return scanErr
		}
		cert, parseErr := parseStored(print, der)
		if parseErr != nil {
			return parseErr
		}
		e.Certificate, e.Fingerprint = cert, Fingerprint(print)
		e.FirstSeen, e.LastSeen = time.Unix(first, 0).UTC(), time.Unix(last, 0).UTC()
		c.Entries = append(c.Entries, e)
		return nil
	}, "SELECT fingerprint, der, source, decision, first_seen, last_seen FROM entries JOIN certificates USING (fingerprint) WHERE address = ?", c.Address)
	for i := range c.Entries {
		if err == nil {
			c.Entries[i].Chain, err = chainOf(ctx, q, c.Entries[i].Fingerprint[:])
		}
	}
	slices.SortFunc(c.Entries, func(a, b Entry) int { return keystore.CompareAge(a.Certificate, b.Certificate) })
	return err
}

func toFingerprint(b []byte) *Fingerprint {
	if len(b) != len(Fingerprint{}) {
		return nil
	}
	f := Fingerprint(b)
	return &f
}
