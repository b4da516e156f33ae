package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
)

// byOCSP finds out the status of chain[0] by the OCSP responses at hand (RFC
// 6960, Section 3.2). The newest that can be relied upon counts, and of several
// as new the one that says "revoked".
func (s *session) byOCSP(chain []*Certificate, depth int) (CertificateStatus, []error) {
	var st CertificateStatus
	if len(chain) < 2 {
		return st, nil
	}
	var errs []error
	for _, resp := range s.ocsp {
		single, found := resp.Find(chain[0], chain[1])
		if !found || st.Status != RevocationUnknown && single.ThisUpdate.Before(st.ThisUpdate) {
			continue
		}
		next, err := s.applyOCSP(chain, resp, single, depth)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if next.Status == RevocationRevoked || st.Status == RevocationUnknown || next.ThisUpdate.After(st.ThisUpdate) {
			st = next
		}
	}
	return st, errs
}

// source names r for people.
func (r *OCSPResponse) source() string {
	who := "a responder"
	if r.ResponderName != nil {
		who = quoted(NameText(r.ResponderName))
	}
	return "the OCSP response of " + who + " of " + r.ProducedAt.Format(time.DateOnly)
}

// applyOCSP checks a response about chain[0]. The error is a [*SourceError].
func (s *session) applyOCSP(chain []*Certificate, r *OCSPResponse, single *OCSPSingle, depth int) (CertificateStatus, error) {
	var st CertificateStatus
	fail := func(fault SourceFault, err error) (CertificateStatus, error) {
		return st, &SourceError{Source: r.source(), Fault: fault, Err: err}
	}
	if unhandled := slices.Concat(r.UnhandledCritical, single.UnhandledCritical); len(unhandled) > 0 {
		return fail(SourceCritical, errors.New(unhandled[0].String()))
	}
	later, fault := s.window(chain[0], single.ThisUpdate, single.NextUpdate)
	if fault != 0 && (fault != SourceExpired || single.Status != RevocationRevoked) {
		return fail(fault, nil)
	}
	if fault, err := s.checkResponder(chain, r, depth); err != nil {
		return fail(fault, err)
	}
	if single.Status == RevocationUnknown {
		return fail(SourceNoAnswer, nil)
	}
	st = CertificateStatus{
		Status: single.Status, OCSP: r, Source: r.source(),
		ThisUpdate: single.ThisUpdate, NextUpdate: single.NextUpdate,
	}
	if single.Status == RevocationRevoked {
		if s.stillGood(later, single.Reason, single.RevokedAt, time.Time{}) {
			st.Status = RevocationGood
			return st, nil
		}
		st.Reason, st.RevokedAt = single.Reason, single.RevokedAt
	}
	return st, nil
}

// checkResponder checks who signed a response (RFC 6960, Section 4.2.2.2).
func (s *session) checkResponder(chain []*Certificate, r *OCSPResponse, depth int) (SourceFault, error) {
	fault, err := SourceUntrusted, errors.New("the certificate of the responder is not there")
	others := slices.Concat(s.opts.Responders, r.Certificates)
	for _, signer := range s.candidates(chain, others, r.isBy) {
		if bad := s.verify(signer, r.SignatureAlgorithm, r.RawTBS, r.Signature); bad != nil {
			fault, err = signatureFault(bad), bad
			continue
		}
		bad := s.authorized(chain, signer, r, depth)
		if bad == nil {
			return 0, nil
		}
		fault, err = SourceUntrusted, bad
	}
	return fault, err
}

// isBy reports whether c has the name or the key of the responder.
func (r *OCSPResponse) isBy(c *Certificate) bool {
	if r.ResponderName != nil {
		return NamesEqual(c.RawSubject, r.ResponderName)
	}
	key, ok := keyBits(c)
	sha1, known := alg.DigestByOID(oid.SHA1) // RFC 6960, Section 4.2.1: KeyHash
	return ok && known && bytes.Equal(sum(sha1, key), r.ResponderKeyHash)
}

// authorized checks that signer may speak for the issuer of chain[0]: it is
// trusted to, or is that issuer, or has its delegation.
func (s *session) authorized(chain []*Certificate, signer *Certificate, r *OCSPResponse, depth int) error {
	same := func(c *Certificate) bool { return c != nil && bytes.Equal(c.Raw, signer.Raw) }
	if slices.ContainsFunc(s.opts.Responders, same) || same(chain[1]) {
		return nil
	}
	// RFC 6960, Section 4.2.2.2: issued directly by the same CA, with
	// id-kp-OCSPSigning.
	ca := chain[1]
	if !NamesEqual(ca.RawSubject, signer.RawIssuer) {
		return &ChainError{Reason: UnknownIssuer, Certificate: signer}
	}
	if err := s.issuedBy(signer, ca); err != nil {
		return err
	}
	if !slices.Contains(signer.ExtKeyUsage, ekuOCSPSigning) {
		return &ChainError{Reason: Constraint, Certificate: signer, Err: errors.New("it may not sign OCSP responses")}
	}
	if signer.HasKeyUsage && signer.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return &ChainError{Reason: Constraint, Certificate: signer, Err: errors.New("its key may not sign")}
	}
	for _, id := range signer.UnhandledCritical {
		if id != ocspNoCheck {
			return &ChainError{Reason: Unsupported, Certificate: signer, Err: errors.New("critical extension " + id.String())}
		}
	}
	at := s.time
	if r.ProducedAt.After(at) {
		at = r.ProducedAt
	}
	if at.After(signer.NotAfter) {
		return &ChainError{Reason: Expired, Certificate: signer}
	}
	if at.Before(signer.NotBefore) {
		return &ChainError{Reason: NotYetValid, Certificate: signer}
	}
	return s.responderGood(chain, signer, depth)
}

// responderGood checks the status of a delegated responder.
func (s *session) responderGood(chain []*Certificate, signer *Certificate, depth int) error {
	// RFC 6960, Section 4.2.2.2.1: id-pkix-ocsp-nocheck.
	if _, trusted := extensionOf(signer, ocspNoCheck); trusted || s.pending[string(signer.Raw)] {
		return nil
	}
	if depth+1 >= maxDepth {
		return errBudget
	}
	path := append([]*Certificate{signer}, chain[1:]...)
	st := s.status(path, depth+1)
	// RFC 6960, Section 4.2.2.2.1: where the CA names no way to check it, that is
	// up to the client.
	points, err := CRLDistributionPoints(signer)
	noWay := err == nil && len(points) == 0 && len(OCSPServers(signer)) == 0
	if st.Status == RevocationRevoked || st.Status == RevocationUnknown && !s.opts.SoftFail && !noWay {
		return signerError{st.Err}
	}
	return nil
}
