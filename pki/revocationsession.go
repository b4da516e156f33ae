package pki

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/big"
	"slices"
	"time"
)

// Limits of one check.
const (
	maxFetches    = 40  // requests over the network
	maxChecks     = 500 // verifications of signatures
	maxCandidates = 8   // certificates that are tried for one name
	maxDepth      = 3   // issuers of CRLs for issuers of CRLs …
	maxErrs       = 20  // causes in one error
)

// defaultSkew is how far clocks may differ.
const defaultSkew = 5 * time.Minute

// A session is one check. It is used by one goroutine.
type session struct {
	ctx   context.Context
	opts  *Revocation
	chain []*Certificate
	now   time.Time // of the clock
	time  time.Time // for which the status is wanted
	skew  time.Duration

	crls []*CRL          // newest first
	ocsp []*OCSPResponse // as given

	signatures int
	fetches    int
	verified   map[sigKey]error
	fetched    map[string]error // by URL and request
	pending    map[string]bool  // certificates whose status is being looked for, by Raw
}

type sigKey struct {
	signed *byte // the first octet of what is signed
	signer *Certificate
}

func newSession(ctx context.Context, r *Revocation, chain []*Certificate) *session {
	s := &session{
		ctx: ctx, opts: r, chain: chain, now: time.Now(), time: r.Time, skew: r.Skew,
		verified: make(map[sigKey]error), fetched: make(map[string]error), pending: make(map[string]bool),
	}
	if s.time.IsZero() {
		s.time = s.now
	}
	switch {
	case s.skew == 0:
		s.skew = defaultSkew
	case s.skew < 0:
		s.skew = 0
	}
	for _, c := range r.CRLs {
		if c != nil {
			s.crls = append(s.crls, c)
		}
	}
	for _, o := range r.OCSP {
		if o != nil {
			s.ocsp = append(s.ocsp, o)
		}
	}
	s.sortCRLs()
	return s
}

// sortCRLs works on a copy: the list may be in use further up.
func (s *session) sortCRLs() {
	s.crls = slices.Clone(s.crls)
	slices.SortStableFunc(s.crls, func(a, b *CRL) int {
		return cmp.Or(b.ThisUpdate.Compare(a.ThisUpdate), compareNumbers(b.Number, a.Number))
	})
}

// compareNumbers puts what has no number first.
func compareNumbers(a, b *big.Int) int {
	switch {
	case a != nil && b != nil:
		return a.Cmp(b)
	case a != nil:
		return 1
	case b != nil:
		return -1
	}
	return 0
}

// status finds out the status of chain[0], of which chain is a valid path.
func (s *session) status(chain []*Certificate, depth int) CertificateStatus {
	c := chain[0]
	if !s.pending[string(c.Raw)] {
		s.pending[string(c.Raw)] = true
		defer delete(s.pending, string(c.Raw))
	}
	st, errs := s.evaluate(chain, depth)
	var failed []error
	for _, fetch := range []func([]*Certificate) []error{s.fetchOCSP, s.fetchCRLs} {
		if st.Status != RevocationUnknown || s.opts.Fetcher == nil {
			break
		}
		failed = append(failed, fetch(chain)...)
		st, errs = s.evaluate(chain, depth)
	}
	errs = append(failed, errs...)
	st.Certificate = c
	switch st.Status {
	case RevocationRevoked:
		st.Err = &RevokedError{Certificate: c, Reason: st.Reason, RevokedAt: st.RevokedAt, Invalid: st.Invalid, Source: st.Source}
	case RevocationUnknown:
		if len(errs) == 0 {
			errs = []error{&SourceError{Source: "revocation information", Fault: SourceUnavailable, Err: s.ctx.Err()}}
		}
		st.Err = &RevocationUnknownError{Certificate: c, Errs: errs[:min(len(errs), maxErrs)]}
	}
	return st
}

// evaluate asks all that is at hand. One source that says "revoked" counts more
// than another one that says "good".
func (s *session) evaluate(chain []*Certificate, depth int) (CertificateStatus, []error) {
	byOCSP, errs := s.byOCSP(chain, depth)
	if byOCSP.Status == RevocationRevoked {
		return byOCSP, nil
	}
	byCRL, more := s.byCRL(chain, depth)
	if byCRL.Status != RevocationRevoked && byOCSP.Status == RevocationGood {
		return byOCSP, nil
	}
	return byCRL, append(errs, more...)
}

// noNextUpdate is how long information counts that does not say so itself. RFC
// 6960, Section 4.2.2.1: newer information is always available then.
const noNextUpdate = 24 * time.Hour

// window judges the times of information about c. later tells that it was made
// after the time for which the status is wanted. With SourceExpired, it still
// counts when it says that c is revoked.
func (s *session) window(c *Certificate, this, next time.Time) (later bool, fault SourceFault) {
	latest := s.time
	if !s.opts.Time.IsZero() && s.now.After(latest) {
		latest = s.now
	}
	if this.After(latest.Add(s.skew)) {
		return false, SourceEarly
	}
	if this.After(s.time.Add(s.skew)) {
		return true, afterExpiry(c, this)
	}
	if next.IsZero() && s.opts.MaxAge == 0 {
		next = this.Add(noNextUpdate)
	}
	if !next.IsZero() && s.time.After(next.Add(s.skew+s.opts.Grace)) {
		return false, SourceStale
	}
	if s.opts.MaxAge > 0 && s.time.After(this.Add(s.opts.MaxAge+s.skew)) {
		return false, SourceStale
	}
	return false, afterExpiry(c, this)
}

// afterExpiry tells information from after the end of c.
//
// RFC 5280, Section 3.3: an entry need not be there once the certificate has
// expired and one list more has had it.
func afterExpiry(c *Certificate, this time.Time) SourceFault {
	if this.After(c.NotAfter) {
		return SourceExpired
	}
	return 0
}

// stillGood reports whether a certificate that was revoked later is good at the
// time for which its status is wanted.
func (s *session) stillGood(later bool, reason RevocationReason, at, invalid time.Time) bool {
	if !later || at.IsZero() || !at.After(s.time) || !invalid.IsZero() && !invalid.After(s.time) {
		return false
	}
	return s.opts.TimeProven || !reason.reachesBack() || !invalid.IsZero()
}

// candidates returns the certificates that may have signed something: those of
// the chain, then the others, as far as match says so.
func (s *session) candidates(chain, others []*Certificate, match func(*Certificate) bool) []*Certificate {
	var out []*Certificate
	for _, c := range slices.Concat(chain[1:], chain[:1], others, s.opts.Certificates) {
		double := c == nil || slices.ContainsFunc(out, func(o *Certificate) bool { return bytes.Equal(o.Raw, c.Raw) })
		if !double && match(c) && len(out) < maxCandidates {
			out = append(out, c)
		}
	}
	return out
}

// trusted checks that signer may vouch for certificates of chain's anchor: it is
// an issuer of the chain, or has a path of its own to the same anchor. Its
// status must be good, too; where that depends on something that it signed
// itself, it counts as long as that does not say otherwise.
func (s *session) trusted(chain []*Certificate, signer *Certificate, at time.Time, depth int) error {
	same := func(c *Certificate) bool { return bytes.Equal(c.Raw, signer.Raw) }
	if slices.ContainsFunc(chain[1:], same) {
		return nil
	}
	path := chain
	if !same(chain[0]) {
		var err error
		if path, err = s.path(chain, signer, at); err != nil {
			return err
		}
	}
	if at.Before(signer.NotBefore) || at.After(signer.NotAfter) {
		return &ChainError{Reason: Expired, Certificate: signer}
	}
	return s.pathGood(chain, path, depth)
}

// pathGood checks the status of the certificates of a path that are not in the
// chain.
func (s *session) pathGood(chain, path []*Certificate, depth int) error {
	for i, c := range path[:len(path)-1] {
		known := slices.ContainsFunc(chain[1:], func(o *Certificate) bool { return bytes.Equal(o.Raw, c.Raw) })
		if known || s.pending[string(c.Raw)] {
			continue
		}
		if depth+1 >= maxDepth {
			return errBudget
		}
		st := s.status(path[i:], depth+1)
		if st.Status == RevocationRevoked || st.Status == RevocationUnknown && !s.opts.SoftFail {
			return signerError{st.Err}
		}
	}
	return nil
}

// A signerError says that the status of a signer is not good. It does not
// unwrap: that the signer of a list is revoked must not be taken for the
// status of the certificate in question.
type signerError struct{ err error }

func (e signerError) Error() string { return e.err.Error() }

// errAnchor says that a path ends at another trust anchor than the chain.
var errAnchor = errors.New("its path ends at another trust anchor")

// path finds a path for the certificate of a CRL issuer.
func (s *session) path(chain []*Certificate, signer *Certificate, at time.Time) ([]*Certificate, error) {
	anchor := chain[len(chain)-1]
	if s.opts.Chain != nil {
		path, err := s.opts.Chain(signer, slices.Concat(chain[1:], s.opts.Certificates), at)
		if err != nil {
			return nil, err
		}
		// RFC 5280, Section 6.3.3 (f): the same trust anchor.
		if len(path) == 0 || !bytes.Equal(path[len(path)-1].Raw, anchor.Raw) {
			return nil, errAnchor
		}
		return path, nil
	}
	for i, ca := range chain {
		if i == 0 || !NamesEqual(ca.RawSubject, signer.RawIssuer) || s.issuedBy(signer, ca) != nil {
			continue
		}
		if len(signer.UnhandledCritical) > 0 {
			return nil, &ChainError{Reason: Unsupported, Certificate: signer}
		}
		return append([]*Certificate{signer}, chain[i:]...), nil
	}
	return nil, &ChainError{Reason: UnknownIssuer, Certificate: signer}
}
