package alg

import (
	"crypto"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"golang.org/x/crypto/cryptobyte"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// ParsePublicKey reads the key of a SubjectPublicKeyInfo of a kind that came
// after RSA, DSA and the curves of Go's library: an *mldsa.PublicKey,
// slhdsa.PublicKey, ed448.PublicKey, *X448PublicKey, a crypto.Encapsulator for
// ML-KEM, or an *ecdsa.PublicKey on a brainpool curve. known tells whether the
// algorithm, and the curve, is one of these; the error is then nil or
// ErrParameters. The key may keep bits.
func ParsePublicKey(a der.Algorithm, bits []byte) (key crypto.PublicKey, known bool, err error) {
	switch a.OID {
	case oid.EC, oid.ECDH: // RFC 5480, Section 2.1
		curve, ok := BrainpoolCurve(curveName(a))
		if !ok {
			return nil, false, nil
		}
		point, pointErr := BrainpoolPoint(curve, bits)
		if pointErr != nil {
			return nil, true, pointErr
		}
		return point, true, nil
	case oid.Ed448:
		if len(bits) != ed448.PublicKeySize || len(a.Parameters) > 0 {
			return nil, true, ErrParameters
		}
		return ed448.PublicKey(bits), true, nil
	case oid.X448:
		point, pointErr := NewX448PublicKey(bits)
		if pointErr != nil || len(a.Parameters) > 0 {
			return nil, true, ErrParameters
		}
		return point, true, nil
	}
	// RFC 9881, Section 2; RFC 9909, Section 3; RFC 9935, Section 3: the
	// parameters MUST be absent.
	m, isMLDSA := MLDSAByOID(a.OID)
	s, isSLHDSA := SLHDSAByOID(a.OID)
	k, isKEM := KEMByOID(a.OID)
	switch {
	case !isMLDSA && !isSLHDSA && !isKEM:
		return nil, false, nil
	case len(a.Parameters) > 0:
		err = ErrParameters
	case isMLDSA:
		key, err = mldsa.NewPublicKey(m.Parameters, bits)
	case isSLHDSA:
		key, err = s.NewPublicKey(bits)
	case isKEM:
		key, err = k.NewPublicKey(bits)
	}
	if err != nil {
		return nil, true, ErrParameters
	}
	return key, true, nil
}

// curveName returns the name of a curve in the parameters, or "".
func curveName(a der.Algorithm) oid.OID {
	var name oid.OID
	if s := cryptobyte.String(a.Parameters); !der.ReadOID(&s, &name) || !s.Empty() {
		return ""
	}
	return name
}
