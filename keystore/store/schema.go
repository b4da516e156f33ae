package store

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks the file as a store: "PSst".
const applicationID = 0x50537374

// migrations lead from one version of the schema to the next; version 0 is an
// empty file. A migration that was released is never changed.
var migrations = []string{schema1, schema2}

// Certificates are named by the SHA-256 of their DER. Times are seconds since
// 1970.
const schema1 = `
CREATE TABLE certificates (
	fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
	der         BLOB NOT NULL
) WITHOUT ROWID;

-- The certificates that came with another one, in their order.
CREATE TABLE chains (
	leaf     BLOB NOT NULL REFERENCES certificates ON DELETE CASCADE,
	position INTEGER NOT NULL,
	der      BLOB NOT NULL,
	PRIMARY KEY (leaf, position)
) WITHOUT ROWID;

-- The data key, under each of its wrappers; sum is the SHA-256 of data.
CREATE TABLE slots (
	wrapper TEXT PRIMARY KEY,
	data    BLOB NOT NULL,
	sum     BLOB NOT NULL
) WITHOUT ROWID;

-- Private keys under the data key, by the SHA-256 of the public key.
CREATE TABLE keys (
	public BLOB PRIMARY KEY,
	sealed BLOB NOT NULL
) WITHOUT ROWID;

-- serial (without leading zeros) and ski are how messages name recipients.
CREATE TABLE identities (
	fingerprint BLOB PRIMARY KEY REFERENCES certificates,
	public      BLOB NOT NULL REFERENCES keys,
	serial      BLOB NOT NULL,
	ski         BLOB,
	added       INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX identities_public ON identities (public);
CREATE INDEX identities_serial ON identities (serial);
CREATE INDEX identities_ski ON identities (ski);

CREATE TABLE identity_addresses (
	address     TEXT NOT NULL,
	fingerprint BLOB NOT NULL REFERENCES identities ON DELETE CASCADE,
	PRIMARY KEY (address, fingerprint)
) WITHOUT ROWID;
CREATE INDEX identity_addresses_fingerprint ON identity_addresses (fingerprint);

-- What a correspondent's messages said; the times are those of the messages.
-- capabilities are names of ciphers with commas between, NULL when not known.
CREATE TABLE correspondents (
	address         TEXT PRIMARY KEY,
	capabilities    TEXT,
	capabilities_at INTEGER,
	encryption      BLOB REFERENCES certificates,
	encryption_at   INTEGER,
	signer          BLOB REFERENCES certificates,
	signer_at       INTEGER
) WITHOUT ROWID;
CREATE INDEX correspondents_encryption ON correspondents (encryption);
CREATE INDEX correspondents_signer ON correspondents (signer);

-- decision: 0 none, 1 trusted by hand, 2 rejected by hand.
CREATE TABLE entries (
	address     TEXT NOT NULL REFERENCES correspondents ON DELETE CASCADE,
	fingerprint BLOB NOT NULL REFERENCES certificates,
	source      TEXT NOT NULL,
	decision    INTEGER NOT NULL DEFAULT 0 CHECK (decision BETWEEN 0 AND 2),
	first_seen  INTEGER NOT NULL,
	last_seen   INTEGER NOT NULL,
	PRIMARY KEY (address, fingerprint)
) WITHOUT ROWID;
CREATE INDEX entries_fingerprint ON entries (fingerprint);
`

// migrate brings the schema up to date. Every step is a transaction, so that a
// process that dies leaves one version or the other. Several processes may do
// this at once.
func (s *Store) migrate(ctx context.Context, steps []string) error {
	for {
		version, err := s.version(ctx, s.db)
		if err != nil || version == len(steps) {
			return err
		}
		err = s.write(ctx, func(tx *sql.Tx) error {
			// Another process may have been faster.
			current, txErr := s.version(ctx, tx)
			if txErr != nil || current >= len(steps) {
				return txErr
			}
			_, txErr = tx.ExecContext(ctx, fmt.Sprintf("%s;PRAGMA application_id=%d;PRAGMA user_version=%d", steps[current], applicationID, current+1))
			return txErr
		})
		if err != nil {
			return err
		}
	}
}

// version returns the version of the schema. It fails when the file is
// another database than a store, or a newer store.
func (s *Store) version(ctx context.Context, q querier) (int, error) {
	var id, version, tables int
	err := q.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema)`).Scan(&id, &version, &tables)
	switch {
	case err != nil:
		return 0, err
	case id == 0 && version == 0 && tables == 0:
		return 0, nil // a new file
	case id != applicationID || version < 1:
		return 0, ErrNotStore
	case version > s.known:
		return 0, &NewerError{Version: version, Known: s.known}
	}
	return version, nil
}
