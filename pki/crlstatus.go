package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// byCRL finds out the status of chain[0] by the CRLs at hand (RFC 5280, Section
// 6.3.3).
func (s *session) byCRL(chain []*Certificate, depth int) (CertificateStatus, []error) {
	c := chain[0]
	points, err := CRLDistributionPoints(c)
	var errs []error
	if err != nil {
		errs = append(errs, &SourceError{Source: "the certificate", Fault: SourceMalformed, Err: err})
	}
	// RFC 5280, Section 6.3.3: at last, CRLs of the certificate's issuer that no
	// distribution point names.
	points = append(points, DistributionPoint{
		name:    pointName{full: []altName{{tagDirectoryName, c.RawIssuer}}},
		reasons: allReasons,
	})
	var st CertificateStatus
	var covered reasonSet
	failed := make(map[*CRL]bool)
	for i := range points {
		for _, crl := range s.crls {
			if crl.BaseNumber != nil || failed[crl] || !points[i].mayHave(crl, c) {
				continue
			}
			reasons, inScope := points[i].covers(crl, c)
			if !inScope {
				errs = append(errs, &SourceError{Source: crl.source(), Fault: SourceOutOfScope})
				continue
			}
			// RFC 5280, Section 6.3.3 (e): something new.
			if reasons&^covered == 0 {
				continue
			}
			next, fault := s.apply(chain, crl, depth)
			if fault != nil {
				failed[crl] = true
				errs = append(errs, fault)
				continue
			}
			st = next
			if covered |= reasons; st.Status == RevocationRevoked || covered == allReasons {
				return st, nil
			}
		}
	}
	if covered != 0 { // RFC 5280, Section 6.3.3: some reasons are left: UNDETERMINED
		errs = append(errs, &SourceError{Source: st.Source, Fault: SourceOutOfScope})
	}
	if len(errs) == 0 {
		errs = append(errs, &SourceError{Source: "a CRL of " + quoted(c.Issuer()), Fault: SourceUnavailable})
	}
	return CertificateStatus{}, errs
}

// source names c for people.
func (c *CRL) source() string {
	kind := "the CRL of "
	if c.BaseNumber != nil {
		kind = "the delta CRL of "
	}
	return kind + quoted(NameText(c.RawIssuer)) + " of " + c.ThisUpdate.Format(time.DateOnly)
}

// mayHave reports whether crl is by the one whom the point names.
//
// RFC 5280, Section 6.3.3 (b)(1): by the cRLIssuer, and then an indirect CRL;
// or else by the certificate's issuer.
func (p *DistributionPoint) mayHave(crl *CRL, c *Certificate) bool {
	if len(p.CRLIssuers) == 0 {
		return NamesEqual(crl.RawIssuer, c.RawIssuer)
	}
	return slices.ContainsFunc(p.CRLIssuers, func(name []byte) bool { return NamesEqual(name, crl.RawIssuer) })
}

// covers reports whether crl is about c at this point, and for which reasons
// (RFC 5280, Section 6.3.3 (b) and (d)).
func (p *DistributionPoint) covers(crl *CRL, c *Certificate) (reasonSet, bool) {
	scope := crl.Scope
	if scope == nil {
		return p.reasons, len(p.CRLIssuers) == 0 // (b)(1): the list would have to be indirect
	}
	if len(p.CRLIssuers) > 0 && !scope.Indirect || // (b)(1)
		scope.OnlyUser && c.IsCA || // (b)(2)(ii)
		scope.OnlyCA && !c.IsCA || // (b)(2)(iii)
		scope.OnlyAttribute || // (b)(2)(iv)
		!p.namesMatch(crl, c) {
		return 0, false
	}
	return p.reasons & scope.reasons, true
}

// namesMatch compares the names of a point with those of a list (RFC 5280,
// Section 6.3.3 (b)(2)(i)).
func (p *DistributionPoint) namesMatch(crl *CRL, c *Certificate) bool {
	if crl.Scope.name.absent() {
		return true
	}
	theirs := crl.Scope.name.names([][]byte{crl.RawIssuer})
	issuers := p.CRLIssuers
	if len(issuers) == 0 {
		issuers = [][]byte{c.RawIssuer}
	}
	ours := p.name.names(issuers)
	if p.name.absent() {
		for _, name := range p.CRLIssuers {
			ours = append(ours, altName{tagDirectoryName, name})
		}
	}
	return slices.ContainsFunc(ours, func(n altName) bool { return slices.ContainsFunc(theirs, n.equal) })
}

// apply finds out what a complete CRL, with a delta CRL if there is one, says of
// chain[0]. The error is a [*SourceError].
func (s *session) apply(chain []*Certificate, crl *CRL, depth int) (CertificateStatus, error) {
	c := chain[0]
	var st CertificateStatus
	fail := func(fault SourceFault, err error) (CertificateStatus, error) {
		return st, &SourceError{Source: crl.source(), Fault: fault, Err: err}
	}
	// RFC 5280, Sections 5.2 and 5.3: such a list must not be used.
	if len(crl.UnhandledCritical) > 0 {
		return fail(SourceCritical, errors.New(crl.UnhandledCritical[0].String()))
	}
	signer, fault, err := s.crlSigner(chain, crl, depth)
	if err != nil {
		return fail(fault, err)
	}
	newest := crl
	delta := s.delta(c, crl, signer)
	if delta != nil {
		newest = delta
	}
	later, fault := s.window(c, newest.ThisUpdate, newest.NextUpdate)
	if fault != 0 && fault != SourceExpired {
		return fail(fault, nil)
	}
	st = CertificateStatus{
		Status: RevocationGood, CRL: newest, Source: newest.source(),
		ThisUpdate: newest.ThisUpdate, NextUpdate: newest.NextUpdate,
	}
	entry, found := newest.Lookup(c.Serial, c.RawIssuer) // (i)
	if !found && delta != nil {
		entry, found = crl.Lookup(c.Serial, c.RawIssuer) // (j)
	}
	// RFC 5280, Section 6.3.3 (k): removeFromCRL means that it is not revoked.
	if !found || entry.Reason == RevokedRemoveFromCRL || s.stillGood(later, entry.Reason, entry.RevokedAt, entry.Invalid) {
		if !found && fault != 0 {
			return fail(fault, nil)
		}
		return st, nil
	}
	st.Status, st.Reason, st.RevokedAt, st.Invalid = RevocationRevoked, entry.Reason, entry.RevokedAt, entry.Invalid
	return st, nil
}

// delta returns the newest delta CRL that goes with a complete one (RFC 5280,
// Section 6.3.3 (c) and (h)), or nil.
func (s *session) delta(c *Certificate, crl *CRL, signer *Certificate) *CRL {
	if crl.Number == nil {
		return nil
	}
	for _, d := range s.crls {
		if d.BaseNumber == nil || d.Number == nil || len(d.UnhandledCritical) > 0 {
			continue
		}
		// (c): the same issuer, the same scope, the same key.
		if !NamesEqual(d.RawIssuer, crl.RawIssuer) || !bytes.Equal(d.rawScope, crl.rawScope) || !bytes.Equal(d.rawAKI, crl.rawAKI) {
			continue
		}
		// RFC 5280, Section 5.2.4: the base is not newer than the complete CRL,
		// and the delta is.
		if d.BaseNumber.Cmp(crl.Number) > 0 || d.Number.Cmp(crl.Number) <= 0 {
			continue
		}
		if _, fault := s.window(c, d.ThisUpdate, d.NextUpdate); fault != 0 {
			continue
		}
		if s.verify(signer, d.SignatureAlgorithm, d.RawTBS, d.Signature) == nil {
			return d
		}
	}
	return nil
}

// crlSigner finds the certificate whose key signed a CRL and that may do so
// (RFC 5280, Section 6.3.3 (f) and (g)).
func (s *session) crlSigner(chain []*Certificate, crl *CRL, depth int) (*Certificate, SourceFault, error) {
	candidates := s.candidates(chain, nil, func(c *Certificate) bool { return NamesEqual(c.RawSubject, crl.RawIssuer) })
	// A key identifier is a hint: the right one first.
	slices.SortStableFunc(candidates, func(a, b *Certificate) int {
		rank := func(c *Certificate) int {
			if crl.AuthorityKeyID != nil && bytes.Equal(c.SubjectKeyID, crl.AuthorityKeyID) {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	at := s.time
	if crl.ThisUpdate.After(at) {
		at = crl.ThisUpdate
	}
	fault, err := SourceUntrusted, errors.New("the certificate of its issuer is not there")
	signed := false // by a certificate of that name
	for _, signer := range candidates {
		bad := s.verify(signer, crl.SignatureAlgorithm, crl.RawTBS, crl.Signature)
		if bad != nil {
			if !signed {
				fault, err = signatureFault(bad), bad
			}
			continue
		}
		signed = true
		// RFC 5280, Section 6.3.3 (f): the cRLSign bit.
		if signer.HasKeyUsage && signer.KeyUsage&x509.KeyUsageCRLSign == 0 {
			bad = &ChainError{Reason: Constraint, Certificate: signer, Err: errors.New("its key may not sign CRLs")}
		} else if bad = s.trusted(chain, signer, at, depth); bad == nil {
			return signer, 0, nil
		}
		fault, err = SourceUntrusted, bad
	}
	return nil, fault, err
}
