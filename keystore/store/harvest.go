package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// Signed is a signed message, as it was verified.
type Signed struct {
	// Address is the sender's, which the signature was found to be of.
	Address string
	// Result is the verdict on the signer.
	Result *cms.SignerResult
	// Certificates are those that came with the message.
	Certificates []*pki.Certificate
	// Received is when the message was received, which counts where the signer
	// gives no time, or one in the future. Zero: now.
	Received time.Time
	// Trust judges an encryption certificate that is not the signer's: the
	// signature does not cover the certificates of a message. It is required,
	// and usually that of VerifyOptions.
	Trust cms.Trust
}

// maxHarvested bounds what strangers' messages can make the store keep: per
// address, the certificates that were harvested and nothing else is known of.
const maxHarvested = 50

// maxCandidates bounds the paths that one message can ask for.
const maxCandidates = 10

// maxSkew is how far clocks may be apart.
const maxSkew = 5 * time.Minute

// Harvest learns from a signed message whose signature is valid and whose
// signer is trusted: it stores the signer's certificate, the one to encrypt
// to, and the ciphers that the signer can read (RFC 8551, Sections 2.5.2 and
// 2.5.3), and returns what has changed. The encryption certificate is the one
// that the signer names, or else, of those with the signer's subject (RFC 8551,
// Section 2.5.3.1), the newest; it has to be usable now, for the address, and
// trusted. A message older than what is known changes nothing but the times at
// which its certificates were seen. A decision made by hand stays.
//
// The error wraps ErrNotTrusted when the signature is not good, the signer not
// trusted or its certificate rejected by hand, and ErrNotSender when it is for
// another address; nothing is stored then. A missing Trust, and
// cms.InsecureTrustAnySigner, is a *cms.UsageError.
func Harvest(ctx context.Context, s *Store, msg *Signed) ([]Change, error) {
	const op = "harvesting into"
	if msg.Trust == nil || msg.Trust == cms.InsecureTrustAnySigner {
		return nil, s.fail(op, &cms.UsageError{Msg: "Signed.Trust has to be one that asks something"})
	}
	h := &harvest{msg: msg, now: s.opts.Now()}
	if err := h.check(); err != nil {
		return nil, s.fail(op, err)
	}
	var known *Correspondent
	known, err := s.Correspondent(ctx, h.address)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	// Paths are built before the transaction begins.
	h.chooseEncryption(known)
	var changes []Change
	err = s.write(ctx, func(tx *sql.Tx) error {
		var txErr error
		changes, txErr = h.store(ctx, tx)
		return txErr
	})
	if err != nil {
		return nil, s.fail(op, err)
	}
	return changes, nil
}

// A harvest is one message at work.
type harvest struct {
	msg        *Signed
	address    string
	at         time.Time // of the message
	now        time.Time
	encryption *pki.Certificate // nil when there is none to be used
}

// check tells whether there is anything to learn from a message.
func (h *harvest) check() error {
	r := h.msg.Result
	if r == nil || !r.Valid || !r.Trusted || r.Err != nil || r.Certificate == nil {
		return ErrNotTrusted
	}
	var err error
	if h.address, err = keystore.NormalizeAddress(h.msg.Address); err != nil {
		return err
	}
	var unusable *keystore.UnusableError
	if errors.As(keystore.CheckSigning(r.Certificate, h.address, h.now), &unusable) && unusable.Reason == keystore.UnusableAddress {
		return ErrNotSender
	}
	h.at = h.msg.Received
	if h.at.IsZero() || h.at.After(h.now) {
		h.at = h.now
	}
	if t := r.SigningTime; !t.IsZero() && !t.After(h.at.Add(maxSkew)) {
		h.at = t
	}
	h.at = h.at.Truncate(time.Second) // as it is stored
	return nil
}

// chooseEncryption finds the certificate to encrypt to.
func (h *harvest) chooseEncryption(known *Correspondent) {
	signer := h.msg.Result.Certificate
	id, named, ok := keystore.ParsePreference(h.msg.Result.Signed)
	if !ok {
		return
	}
	pool := append([]*pki.Certificate{signer}, h.msg.Certificates...)
	issuers := slices.Clone(h.msg.Certificates)
	if known != nil && named {
		for _, e := range known.Entries {
			pool = append(pool, e.Certificate)
			issuers = append(issuers, e.Chain...)
		}
	}
	var candidates []*pki.Certificate
	for _, c := range pool {
		fits := c != nil && (named && id.Matches(c) || !named && pki.NamesEqual(c.RawSubject, signer.RawSubject))
		if fits && keystore.CheckEncryption(c, h.address, h.now) == nil && !rejected(known, c) &&
			!slices.ContainsFunc(candidates, func(o *pki.Certificate) bool { return bytes.Equal(o.Raw, c.Raw) }) {
			candidates = append(candidates, c)
		}
	}
	slices.SortFunc(candidates, keystore.CompareAge)
	for _, c := range candidates[:min(len(candidates), maxCandidates)] {
		// RFC 8551, Section 2.5.3: the attribute names a certificate; whether it
		// is believed is for the path to say.
		if bytes.Equal(c.Raw, signer.Raw) || h.msg.Trust.TrustSigner(&cms.TrustRequest{
			Certificate: c, Intermediates: issuers, Time: h.now, SigningTime: h.msg.Result.SigningTime}) == nil {
			h.encryption = c
			return
		}
	}
}

func rejected(known *Correspondent, c *pki.Certificate) bool {
	return known != nil && slices.ContainsFunc(known.Entries, func(e Entry) bool {
		return e.Decision == Rejected && bytes.Equal(e.Certificate.Raw, c.Raw)
	})
}

// store compares what is known with the message and stores what is new.
func (h *harvest) store(ctx context.Context, tx *sql.Tx) ([]Change, error) {
	// Read once more: another message may have come meanwhile.
	known := &Correspondent{Address: h.address}
	if err := readCorrespondent(ctx, tx, known); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	signer := h.msg.Result.Certificate
	if rejected(known, signer) {
		return nil, ErrNotTrusted
	}
	if h.encryption != nil && rejected(known, h.encryption) {
		h.encryption = nil
	}
	changes, err := h.roles(ctx, tx, known)
	if err != nil {
		return nil, err
	}
	if ciphers := keystore.ParseCapabilities(h.msg.Result.Signed); ciphers != nil {
		if err = putCapabilities(ctx, tx, h.address, ciphers, h.at); err != nil {
			return nil, err
		}
	}
	return changes, h.prune(ctx, tx)
}

// roles stores the certificates, and notes which is now used for what unless
// something newer is known.
func (h *harvest) roles(ctx context.Context, tx *sql.Tx, known *Correspondent) ([]Change, error) {
	signer := h.msg.Result.Certificate
	oldSigner, oldEncryption := known.last(known.Signer, (*pki.Certificate).CanSign), known.last(known.Encryption, (*pki.Certificate).CanEncrypt)
	opts := AddOptions{Source: Harvested, Chain: h.issuers()}
	var changes []Change
	for _, role := range []struct {
		role     Role
		column   string
		old, new *pki.Certificate
	}{{Signing, "signer", oldSigner, signer}, {Encryption, "encryption", oldEncryption, h.encryption}} {
		if role.new == nil {
			continue
		}
		print, err := putEntry(ctx, tx, h.address, role.new, opts, h.at)
		if err != nil {
			return nil, err
		}
		err = changesOne(tx.ExecContext(ctx, "UPDATE correspondents SET "+role.column+" = ?, "+role.column+"_at = ?2 WHERE address = ?3 AND ifnull("+role.column+"_at, ?2) <= ?2",
			print[:], h.at.Unix(), h.address))
		if errors.Is(err, ErrChanged) {
			continue // something newer is known
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, known.changes(role.role, role.old, role.new)...)
	}
	return merge(changes), nil
}

// issuers returns the certificates of the message without the two that are
// stored themselves.
func (h *harvest) issuers() []*pki.Certificate {
	return slices.DeleteFunc(slices.Clone(h.msg.Certificates), func(c *pki.Certificate) bool { return c == nil || !c.IsCA })
}

// last returns the certificate that a message used last in a role, or else the
// newest that can be used in it.
func (c *Correspondent) last(id *Fingerprint, can func(*pki.Certificate) bool) *pki.Certificate {
	for _, e := range c.Entries {
		if id != nil && e.Fingerprint == *id {
			return e.Certificate
		}
	}
	for _, e := range c.Entries { // the newest first
		if id == nil && e.Decision != Rejected && can(e.Certificate) {
			return e.Certificate
		}
	}
	return nil
}

// changes tells what is new about a certificate that is now used in a role.
func (c *Correspondent) changes(role Role, from, to *pki.Certificate) []Change {
	if len(c.Entries) == 0 {
		return []Change{{Kind: NewCorrespondent, Address: c.Address, Role: role, New: to}}
	}
	known := slices.ContainsFunc(c.Entries, func(e Entry) bool { return e.Fingerprint == FingerprintOf(to) })
	out := compare(c.Address, role, from, to, known)
	if len(out) == 0 {
		return nil
	}
	can := (*pki.Certificate).CanSign
	if role == Encryption {
		can = (*pki.Certificate).CanEncrypt
	}
	trusted := slices.DeleteFunc(slices.Clone(c.Entries), func(e Entry) bool { return e.Decision != Trusted || !can(e.Certificate) })
	if len(trusted) > 0 && !slices.ContainsFunc(trusted, func(e Entry) bool { return e.Fingerprint == FingerprintOf(to) }) {
		out = append(out, Change{Kind: NotTheTrusted, Address: c.Address, Role: role, Old: trusted[0].Certificate, New: to, Known: known})
	}
	return out
}

// merge makes one change of two that say the same of both roles.
func merge(changes []Change) []Change {
	var out []Change
	for _, c := range changes {
		i := slices.IndexFunc(out, func(o Change) bool {
			return o.Kind == c.Kind && o.Role != c.Role && same(o.Old, c.Old) && same(o.New, c.New)
		})
		if i < 0 {
			out = append(out, c)
			continue
		}
		out[i].Role |= c.Role
	}
	return out
}

func same(a, b *pki.Certificate) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Raw, b.Raw)
}

// prune removes what has been harvested beyond the bound, that which was not
// seen for longest first.
func (h *harvest) prune(ctx context.Context, tx *sql.Tx) error {
	var prints [][]byte
	err := each(ctx, tx, func(rows *sql.Rows) error {
		var print []byte
		scanErr := rows.Scan(&print)
		prints = append(prints, print)
		return scanErr
	}, `SELECT fingerprint FROM entries e JOIN correspondents c USING (address) WHERE address = ? AND source = ? AND decision = 0
		AND fingerprint IS NOT c.encryption AND fingerprint IS NOT c.signer ORDER BY last_seen DESC, fingerprint LIMIT -1 OFFSET ?`, h.address, Harvested, maxHarvested)
	for _, print := range prints {
		if err == nil {
			err = removeEntry(ctx, tx, h.address, print)
		}
	}
	return err
}
