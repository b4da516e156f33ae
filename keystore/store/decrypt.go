package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/postseal/postseal/cms"
)

// Decrypter returns the identities of the store, old and expired ones
// included, as one that opens messages: it looks up by the names in a message
// which private keys there are for it, and reads those alone. The context is
// that of all it does. An error of the store, such as a wrong passphrase, is
// the error of Unwrap.
func (s *Store) Decrypter(ctx context.Context) cms.Identity { return &decrypter{s, ctx} }

type decrypter struct {
	store *Store
	ctx   context.Context // a cms.Identity is given none
}

// Unwrap implements cms.Identity.
func (d *decrypter) Unwrap(infos []cms.RecipientInfo, cekLen int) ([]byte, error) {
	prints, err := d.store.recipients(d.ctx, infos)
	if err != nil {
		return nil, d.store.fail("looking for a recipient in", err)
	}
	for _, print := range prints {
		id, err := d.store.privateIdentity(d.ctx, print)
		if err != nil {
			return nil, err
		}
		// The identifiers are compared in full here.
		cek, err := (&cms.CertificateIdentity{Certificate: id.Certificate, Key: id.Key}).Unwrap(infos, cekLen)
		if err != cms.ErrNoMatch {
			return cek, err
		}
	}
	return nil, cms.ErrNoMatch
}

// recipients returns the identities whose serial number or key identifier is
// in a message.
func (s *Store) recipients(ctx context.Context, infos []cms.RecipientInfo) ([]Fingerprint, error) {
	var names []any
	every := false
	for _, info := range infos {
		switch info := info.(type) {
		case *cms.KeyTransRecipientInfo:
			names = append(names, shortName(info.ID))
		case *cms.KEMRecipientInfo:
			names = append(names, shortName(info.ID))
		case *cms.KeyAgreeRecipientInfo:
			for _, k := range info.Keys {
				names = append(names, shortName(k.ID))
			}
		case *cms.KEKRecipientInfo, *cms.PasswordRecipientInfo, *cms.OtherRecipientInfo:
		default:
			every = true // a kind whose names are not known here
		}
	}
	var out []Fingerprint
	err := s.read(ctx, func(tx *sql.Tx) error {
		collect := func(rows *sql.Rows) error {
			var print []byte
			scanErr := rows.Scan(&print)
			if scanErr == nil {
				out = append(out, Fingerprint(print))
			}
			return scanErr
		}
		if every {
			return each(ctx, tx, collect, "SELECT fingerprint FROM identities")
		}
		const chunk = 500
		for len(names) > 0 {
			some := names[:min(chunk, len(names))]
			names = names[len(some):]
			marks := strings.TrimSuffix(strings.Repeat("?,", len(some)), ",")
			err := each(ctx, tx, collect, "SELECT fingerprint FROM identities WHERE serial IN ("+marks+") UNION SELECT fingerprint FROM identities WHERE ski IN ("+marks+")",
				append(some[:len(some):len(some)], some...)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// shortName is what an identity is looked up by.
func shortName(id cms.CertificateID) []byte {
	if id.Issuer == nil {
		return append([]byte{}, id.SubjectKeyID...)
	}
	return trimSerial(id.Serial)
}
