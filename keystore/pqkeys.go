package keystore

import (
	"bytes"
	"crypto"
	"crypto/subtle"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// parseNewer reads the field privateKey of kinds of keys that came after RSA,
// DSA and the curves of Go's library: of ML-DSA, ML-KEM, SLH-DSA, Ed448 and X448.
// Others are an UnsupportedError.
func parseNewer(id oid.OID, content cryptobyte.String) (crypto.PrivateKey, error) {
	if m, ok := alg.MLDSAByOID(id); ok {
		return parseMLDSA(m, content)
	}
	if k, ok := alg.KEMByOID(id); ok {
		return parseMLKEM(k, content)
	}
	if s, ok := alg.SLHDSAByOID(id); ok {
		// RFC 9909, Section 6: the octets themselves. QUIRK: they are also found in
		// an OCTET STRING of their own.
		octets := []byte(content)
		if inner := content; len(octets) != s.ID.Scheme().PrivateKeySize() && (!der.ReadOctets(&inner, &octets, -1) || !inner.Empty()) {
			return nil, malformed("SLH-DSA private key")
		}
		key, err := s.NewPrivateKey(octets)
		if err != nil {
			return nil, malformed("SLH-DSA private key")
		}
		return key, nil
	}
	switch id {
	case oid.Ed448:
		seed, err := parseCurveKey(content, ed448.SeedSize)
		if err != nil {
			return nil, err
		}
		return ed448.NewKeyFromSeed(seed), nil
	case oid.X448:
		secret, err := parseCurveKey(content, 56)
		if err != nil {
			return nil, err
		}
		return alg.NewX448PrivateKey(secret)
	}
	return nil, &UnsupportedError{"private key", id}
}

// readSeedOrExpanded reads the private keys of RFC 9881, Section 6 and RFC 9935,
// Section 6. One of the results may be nil.
//
//	CHOICE {
//	  seed [0] OCTET STRING,
//	  expandedKey OCTET STRING,
//	  both SEQUENCE { seed OCTET STRING, expandedKey OCTET STRING } }
func readSeedOrExpanded(content cryptobyte.String, seedSize, expandedSize int) (seed, expanded []byte, ok bool) {
	switch {
	case content.PeekASN1Tag(asn1.SEQUENCE):
		var both cryptobyte.String
		ok = content.ReadASN1(&both, asn1.SEQUENCE) && both.ReadASN1Bytes(&seed, asn1.OCTET_STRING) &&
			both.ReadASN1Bytes(&expanded, asn1.OCTET_STRING) && both.Empty()
	case content.PeekASN1Tag(asn1.OCTET_STRING):
		ok = content.ReadASN1Bytes(&expanded, asn1.OCTET_STRING)
	default:
		ok = content.ReadASN1Bytes(&seed, der.Context(0, false))
	}
	ok = ok && content.Empty() && (seed == nil || len(seed) == seedSize) && (expanded == nil || len(expanded) == expandedSize)
	return seed, expanded, ok
}

func parseMLDSA(m alg.MLDSA, content cryptobyte.String) (crypto.PrivateKey, error) {
	seed, expanded, ok := readSeedOrExpanded(content, alg.MLDSASeedSize, m.PrivateKeySize)
	if !ok {
		return nil, malformed("ML-DSA private key")
	}
	if seed == nil {
		key, err := m.NewExpandedKey(expanded)
		if err != nil {
			return nil, malformed("ML-DSA private key")
		}
		return key, nil
	}
	// RFC 9881, Section 8.2: when both are there, they have to be the same key.
	if want, err := m.Expand(seed); err != nil || expanded != nil && subtle.ConstantTimeCompare(want, expanded) != 1 {
		return nil, malformed("ML-DSA private key")
	}
	key, err := mldsa.NewPrivateKey(m.Parameters, seed)
	if err != nil {
		return nil, malformed("ML-DSA private key")
	}
	return key, nil
}

func parseMLKEM(k alg.KEM, content cryptobyte.String) (crypto.PrivateKey, error) {
	seed, expanded, ok := readSeedOrExpanded(content, alg.KEMSeedSize, k.PrivateKeySize)
	if !ok {
		return nil, malformed("ML-KEM private key")
	}
	if seed == nil {
		key, err := k.NewExpandedKey(expanded)
		if err != nil {
			return nil, malformed("ML-KEM private key")
		}
		return key, nil
	}
	// RFC 9935, Section 8: when both are there, they have to be the same key.
	if want, err := k.Expand(seed); err != nil || expanded != nil && subtle.ConstantTimeCompare(want, expanded) != 1 {
		return nil, malformed("ML-KEM private key")
	}
	key, err := k.NewPrivateKey(seed)
	if err != nil {
		return nil, malformed("ML-KEM private key")
	}
	return key, nil
}

// encapsulates reports whether a public key is that of a decapsulator.
func encapsulates(key crypto.Decapsulator, public crypto.PublicKey) bool {
	_, cert, ok := alg.KEMOf(public)
	return ok && bytes.Equal(key.Encapsulator().Bytes(), cert.Bytes())
}
