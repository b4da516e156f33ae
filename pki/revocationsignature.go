package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"slices"

	//lint:ignore SA1019 old lists are signed with it
	"crypto/dsa"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
)

// errWeak says that an algorithm is off by default.
type errWeak string

func (e errWeak) Error() string { return string(e) }

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
	sig, err := alg.ParseSignature(a, alg.Digest{})
	if err != nil {
		return err
	}
	key := signer.PublicKey
	if inherits, ok := key.(*dsa.PublicKey); ok && inherits.P == nil {
		key = inheritedKey(signer, slices.Concat(s.chain, s.opts.Certificates))
	}
	if key == nil {
		return errors.Join(alg.ErrKeyType, signer.KeyErr)
	}
	for _, weak := range append(sig.Weak(), alg.WeakKey(key)) {
		if weak != "" && !slices.Contains(s.opts.Allow, weak) {
			return errWeak(weak)
		}
	}
	var digest []byte
	switch {
	case sig.Digest.Hash != 0:
		digest = sum(sig.Digest, tbs)
	case sig.Scheme == alg.PKCS1v15 || sig.Scheme == alg.ECDSA || sig.Scheme == alg.DSA || sig.Scheme == alg.PSS:
		return alg.ErrUnknown // an identifier that names no digest
	}
	return sig.Verify(key, tbs, digest, signature)
}

func inheritedKey(c *Certificate, candidates []*Certificate) crypto.PublicKey {
	if key := InheritDSA(c, candidates); key != nil {
		return key
	}
	return nil
}

// signatureFault sorts an error of verify.
func signatureFault(err error) SourceFault {
	var weak errWeak
	switch {
	case errors.As(err, &weak), errors.Is(err, alg.ErrUnknown), errors.Is(err, alg.ErrKeyType), errors.Is(err, alg.ErrParameters):
		return SourceWeak
	case errors.Is(err, errBudget):
		return SourceUnavailable
	}
	return SourceBadSignature
}

// issuedBy checks that ca, which has the right name, issued c.
func (s *session) issuedBy(c, ca *Certificate) error {
	if !ca.IsCA || ca.HasKeyUsage && ca.KeyUsage&x509.KeyUsageCertSign == 0 {
		return &ChainError{Reason: Constraint, Certificate: ca}
	}
	return s.verify(ca, c.SignatureAlgorithm, c.RawTBS, c.Signature)
}
