package pki

import (
	"crypto/x509"
	"errors"
	"slices"

	//lint:ignore SA1019 old lists are signed with it
	"crypto/dsa"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
)

// verify checks a signature by the key of signer over tbs.
func (s *session) verify(signer *Certificate, a der.Algorithm, tbs, signature []byte) error {
	if len(tbs) == 0 {
		return alg.ErrSignature
	}
	id := sigKey{&tbs[0], signer}
	if err, done := s.verified[id]; done {
		return err
	}
	if s.signatures++; s.signatures > maxChecks {
		return errBudget
	}
	err := s.verifyNow(signer, a, tbs, signature)
	s.verified[id] = err
	return err
}

func (s *session) verifyNow(signer *Certificate, a der.Algorithm, tbs, signature []byte) error {
	key := signer.PublicKey
	if own, isDSA := key.(*dsa.PublicKey); isDSA && own.P == nil {
		if inherited := InheritDSA(signer, slices.Concat(s.chain, s.opts.Certificates)); inherited != nil {
			key = inherited
		}
	}
	needs, err := verifySignature(signer, key, a, tbs, signature)
	if err != nil {
		return err
	}
	return weak(needs, s.opts.Allow)
}

// signatureFault sorts an error of verify.
func signatureFault(err error) SourceFault {
	switch {
	case errors.Is(err, alg.ErrSignature), errors.Is(err, alg.ErrKeyType):
		return SourceBadSignature
	case errors.Is(err, errBudget):
		return SourceUnavailable
	}
	return SourceWeak
}

// issuedBy checks that ca, which has the right name, issued c.
func (s *session) issuedBy(c, ca *Certificate) error {
	if !ca.IsCA || ca.HasKeyUsage && ca.KeyUsage&x509.KeyUsageCertSign == 0 {
		return &ChainError{Reason: Constraint, Certificate: ca}
	}
	return s.verify(ca, c.SignatureAlgorithm, c.RawTBS, c.Signature)
}
