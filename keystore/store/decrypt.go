package store

import (
	"context"
	"database/sql"
	"slices"
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
	ctx := Moment(d.ctx)
	prints, err := d.store.recipients(ctx, infos)
	if err != nil {
		return nil, d.store.fail("looking for a recipient in", err)
	}
	for _, print := range prints {
		own, err := d.store.holder(ctx, print)
		if err != nil {
			return nil, err
		}
		// The identifiers are compared in full here.
		cek, err := own.opens.Unwrap(infos, cekLen)
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
	if s.memo.keep > 0 && !every {
		index, err := remember(ctx, s, askNames, "", func() (nameIndex, int, error) { return s.names(ctx) })
		if index != nil || err != nil {
			return index.find(names), err
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

// maxIndex bounds the identities whose names are remembered; of more of them the
// database is asked each time.
const maxIndex = 1000

// A nameIndex has identities by their short names.
type nameIndex map[string][]Fingerprint

// find returns the identities of names, each of them once.
func (x nameIndex) find(names []any) []Fingerprint {
	var out []Fingerprint
	for _, name := range names {
		for _, print := range x[string(name.([]byte))] {
			if !slices.Contains(out, print) {
				out = append(out, print)
			}
		}
	}
	return out
}

// names reads the short names of all identities, and tells how many octets they
// are; nil when there are too many.
func (s *Store) names(ctx context.Context) (nameIndex, int, error) {
	out, count, size := make(nameIndex), 0, 0
	err := s.read(ctx, func(tx *sql.Tx) error {
		return each(ctx, tx, func(rows *sql.Rows) error {
			var print, serial, ski []byte
			if err := rows.Scan(&print, &serial, &ski); err != nil {
				return err
			}
			count++
			out[string(serial)] = append(out[string(serial)], Fingerprint(print))
			if len(ski) > 0 { // else it has none, which names nobody
				out[string(ski)] = append(out[string(ski)], Fingerprint(print))
			}
			size += len(serial) + len(ski) + memoOverhead
			return nil
		}, "SELECT fingerprint, serial, ski FROM identities LIMIT ?", maxIndex+1)
	})
	if err != nil || count > maxIndex {
		return nil, 0, err
	}
	return out, size, nil
}

// shortName is what an identity is looked up by.
func shortName(id cms.CertificateID) []byte {
	if id.Issuer == nil {
		return append([]byte{}, id.SubjectKeyID...)
	}
	return trimSerial(id.Serial)
}
