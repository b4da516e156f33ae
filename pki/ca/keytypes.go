package ca

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
)

// A KeyType names a type and size of key.
type KeyType string

// The types of keys. Those of Ed25519, Ed448 and ML-DSA are for signatures
// alone, those of X25519, X448 and ML-KEM for encryption alone.
const (
	RSA3072   KeyType = "rsa3072"
	P256      KeyType = "p256"
	P384      KeyType = "p384"
	Ed25519   KeyType = "ed25519"
	X25519    KeyType = "x25519"
	Ed448     KeyType = "ed448"
	X448      KeyType = "x448"
	MLDSA44   KeyType = "ml-dsa-44"
	MLDSA65   KeyType = "ml-dsa-65"
	MLDSA87   KeyType = "ml-dsa-87"
	MLKEM512  KeyType = "ml-kem-512"
	MLKEM768  KeyType = "ml-kem-768"
	MLKEM1024 KeyType = "ml-kem-1024"
)

// keyKinds are the types, and for each that only signs the one that encrypts
// beside it.
var keyKinds = []struct {
	kind     KeyType
	signs    bool
	encrypts bool
	partner  KeyType
	generate func() (crypto.PrivateKey, error)
}{
	{RSA3072, true, true, RSA3072, func() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 3072) }},
	{P256, true, true, P256, func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{P384, true, true, P384, func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) }},
	{Ed25519, true, false, X25519, func() (crypto.PrivateKey, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}},
	{X25519, false, true, X25519, func() (crypto.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }},
	{Ed448, true, false, X448, func() (crypto.PrivateKey, error) {
		_, key, err := ed448.GenerateKey(rand.Reader)
		return key, err
	}},
	{X448, false, true, X448, func() (crypto.PrivateKey, error) { return alg.GenerateX448Key(), nil }},
	{MLDSA44, true, false, MLKEM512, func() (crypto.PrivateKey, error) { return mldsa.GenerateKey(mldsa.MLDSA44()) }},
	{MLDSA65, true, false, MLKEM768, func() (crypto.PrivateKey, error) { return mldsa.GenerateKey(mldsa.MLDSA65()) }},
	{MLDSA87, true, false, MLKEM1024, func() (crypto.PrivateKey, error) { return mldsa.GenerateKey(mldsa.MLDSA87()) }},
	{MLKEM512, false, true, MLKEM512, generateMLKEM512},
	{MLKEM768, false, true, MLKEM768, func() (crypto.PrivateKey, error) { return mlkem.GenerateKey768() }},
	{MLKEM1024, false, true, MLKEM1024, func() (crypto.PrivateKey, error) { return mlkem.GenerateKey1024() }},
}

func generateMLKEM512() (crypto.PrivateKey, error) {
	seed := make([]byte, alg.KEMSeedSize)
	_, _ = rand.Read(seed) // never returns an error
	kem, _ := alg.KEMByOID(oid.MLKEM512)
	return kem.NewPrivateKey(seed)
}

// KeyTypes returns the types that [GenerateKey] knows.
func KeyTypes() []KeyType {
	var out []KeyType
	for _, k := range keyKinds {
		out = append(out, k.kind)
	}
	return out
}

// Signs reports whether keys of the type sign.
func (t KeyType) Signs() bool {
	for _, k := range keyKinds {
		if k.kind == t {
			return k.signs
		}
	}
	return false
}

// Encrypts reports whether keys of the type can be encrypted to.
func (t KeyType) Encrypts() bool {
	for _, k := range keyKinds {
		if k.kind == t {
			return k.encrypts
		}
	}
	return false
}

// Encryption returns the type of the encryption key that goes with a signing
// key of the type: X25519 with Ed25519, ML-KEM-768 with ML-DSA-65, the type
// itself when it does both. It is "" for a type that is not known.
func (t KeyType) Encryption() KeyType {
	for _, k := range keyKinds {
		if k.kind == t {
			return k.partner
		}
	}
	return ""
}

// GenerateKey makes a private key: an *rsa.PrivateKey, *ecdsa.PrivateKey,
// ed25519.PrivateKey, *ecdh.PrivateKey, *mldsa.PrivateKey,
// *mlkem.DecapsulationKey768 or *mlkem.DecapsulationKey1024, or one of the types
// that package keystore reads Ed448, X448 and ML-KEM-512 keys as. For another
// type the error is a [*RequestError].
func GenerateKey(kind KeyType) (crypto.PrivateKey, error) {
	for _, k := range keyKinds {
		if k.kind == kind {
			return k.generate()
		}
	}
	return nil, refuse("key", "there is no type "+string(kind))
}

// Public returns the public key of a private key, for a [Request]: that of its
// method Public, or of Encapsulator for ML-KEM. The error is a [*RequestError]
// for what has neither.
func Public(key crypto.PrivateKey) (crypto.PublicKey, error) {
	switch k := key.(type) {
	case crypto.Decapsulator:
		return k.Encapsulator(), nil
	case interface{ Public() crypto.PublicKey }:
		return k.Public(), nil
	}
	return nil, refuse("key", "has no public key")
}

// checkKey refuses public keys that are weak, or that certificates cannot have.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		if bits < 2048 || bits > 16384 || bits%8 != 0 || k.E < 65537 || k.E&1 == 0 {
			return refuse("key", "RSA keys have 2048 to 16384 bits, a multiple of 8, and an odd exponent of 65537 or more")
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return nil
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return nil
		}
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return nil
		}
	case ed448.PublicKey:
		if len(k) == ed448.PublicKeySize {
			return nil
		}
	case *mldsa.PublicKey, slhdsa.PublicKey, *alg.X448PublicKey:
		return nil
	}
	if _, _, ok := alg.KEMOf(key); ok {
		return nil
	}
	return refuse("key", "of a type or on a curve that is not supported: RSA, P-256, P-384, P-521, Ed25519, Ed448, X25519, X448, ML-DSA, SLH-DSA and ML-KEM are")
}

// usages returns what a key that checkKey lets pass can be used for: bits of
// the keyUsage, or 0.
//
// RFC 8410, Section 5; RFC 9881, Section 5; RFC 9909, Section 5; RFC 9935,
// Section 5: keyEncipherment alone for ML-KEM.
func usages(key crypto.PublicKey) (sign, encrypt byte) {
	switch key.(type) {
	case *rsa.PublicKey:
		return usageDigitalSignature, usageKeyEncipherment
	case *ecdsa.PublicKey:
		return usageDigitalSignature, usageKeyAgreement
	case *ecdh.PublicKey, *alg.X448PublicKey:
		return 0, usageKeyAgreement
	}
	if _, _, ok := alg.KEMOf(key); ok {
		return 0, usageKeyEncipherment
	}
	return usageDigitalSignature, 0
}
