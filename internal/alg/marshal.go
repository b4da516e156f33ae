package alg

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/mlkem"
	"crypto/x509"
	"errors"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/slhdsa"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// MarshalPublicKey returns the SubjectPublicKeyInfo of a key (RFC 5280, Section
// 4.1.2.7): of those that crypto/x509 writes, and of ML-DSA, SLH-DSA, ML-KEM,
// Ed448, X448 and brainpool keys. The error wraps ErrUnknown for others.
func MarshalPublicKey(pub crypto.PublicKey) ([]byte, error) {
	a := der.Algorithm{}
	var bits []byte
	switch k := pub.(type) {
	case *mldsa.PublicKey: // RFC 9881, Section 4
		a.OID, _ = pureID(k)
		bits = k.Bytes()
	case slhdsa.PublicKey: // RFC 9909, Section 4
		a.OID, _ = pureID(k)
		bits, _ = k.MarshalBinary()
	case ed448.PublicKey: // RFC 8410, Section 4
		a.OID, bits = oid.Ed448, k
	case *X448PublicKey:
		a.OID, bits = oid.X448, k.Bytes()
	case *ecdsa.PublicKey:
		if curve, ok := BrainpoolName(k.Curve); ok { // RFC 5480, Section 2.1
			a = ecAlgorithm(curve)
			bits = BrainpoolBytes(k)
		}
	}
	if kem, e, ok := KEMOf(pub); ok { // RFC 9935, Section 4
		a.OID, bits = kem.OID, e.Bytes()
	}
	if a.OID == "" {
		spki, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return nil, errors.Join(ErrUnknown, err)
		}
		return spki, nil
	}
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddAlgorithm(b, a)
			b.AddASN1BitString(bits)
		})
	})
}

func ecAlgorithm(curve oid.OID) der.Algorithm {
	params, err := der.Marshal(func(b *der.Builder) { der.AddOID(b, curve) })
	if err != nil {
		params = nil // the name is one of ours
	}
	return der.Algorithm{OID: oid.EC, Parameters: params}
}

// MarshalPrivateKey returns the PrivateKeyInfo of a key (RFC 5958, Section 2),
// not encrypted: of those that crypto/x509 writes, and of the private keys that
// belong to those of MarshalPublicKey. Keys of ML-DSA and ML-KEM are written as
// seeds, when they are known. The error wraps ErrUnknown for others.
func MarshalPrivateKey(key crypto.PrivateKey) ([]byte, error) {
	a, content, err := privateContent(key)
	if err != nil {
		return nil, err
	}
	if content == nil {
		plain, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, ErrUnknown // err might show the key
		}
		return plain, nil
	}
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1Int64(0)
			der.AddAlgorithm(b, a)
			b.AddASN1OctetString(content)
		})
	})
}

// privateContent returns the content of the field privateKey, or nil for keys
// that crypto/x509 writes.
func privateContent(key crypto.PrivateKey) (a der.Algorithm, content []byte, err error) {
	var seed, expanded []byte
	switch k := key.(type) {
	case *mldsa.PrivateKey: // RFC 9881, Section 6
		a.OID, _ = pureID(k.PublicKey())
		seed = k.Bytes()
	case *MLDSAExpandedKey:
		a.OID, _ = pureID(k.public)
		expanded = k.Expanded()
	case *mlkem.DecapsulationKey768: // RFC 9935, Section 6
		a.OID, seed = oid.MLKEM768, k.Bytes()
	case *mlkem.DecapsulationKey1024:
		a.OID, seed = oid.MLKEM1024, k.Bytes()
	case *MLKEMPrivateKey:
		kem, _, _ := KEMOf(k.Encapsulator())
		a.OID, seed = kem.OID, k.Seed()
		if seed == nil {
			expanded, err = k.Expanded()
		}
	case slhdsa.PrivateKey: // RFC 9909, Section 6: the octets themselves
		a.OID, _ = pureID(k.PublicKey())
		content, err = k.MarshalBinary()
		return a, content, err
	case ed448.PrivateKey: // RFC 8410, Section 7
		a.OID, expanded = oid.Ed448, k.Seed()
	case *X448PrivateKey:
		a.OID, expanded = oid.X448, k.Bytes()
	case *ecdsa.PrivateKey:
		curve, ok := BrainpoolName(k.Curve)
		if !ok {
			return a, nil, nil
		}
		a = ecAlgorithm(curve)
		content, err = brainpoolContent(k)
		return a, content, err
	default:
		return a, nil, nil
	}
	if err != nil {
		return a, nil, err
	}
	content, err = der.Marshal(func(b *der.Builder) {
		if seed != nil {
			b.AddASN1(der.Context(0, false), func(b *der.Builder) { b.AddBytes(seed) })
			return
		}
		b.AddASN1OctetString(expanded)
	})
	return a, content, err
}

// brainpoolContent returns an ECPrivateKey (RFC 5915, Section 3).
func brainpoolContent(k *ecdsa.PrivateKey) ([]byte, error) {
	size := (k.Curve.Params().N.BitLen() + 7) / 8
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1Int64(1)
			//lint:ignore SA1019 no other package has these curves
			b.AddASN1OctetString(k.D.FillBytes(make([]byte, size)))
			b.AddASN1(der.Context(1, true), func(b *der.Builder) { b.AddASN1BitString(BrainpoolBytes(&k.PublicKey)) })
		})
	})
}
