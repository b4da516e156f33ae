package ca

import (
	"crypto"
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
)

// marshalKey returns the SubjectPublicKeyInfo of a key and the bits within.
func marshalKey(key crypto.PublicKey) (spki, bits []byte, err error) {
	if spki, err = alg.MarshalPublicKey(key); err != nil {
		return nil, nil, &RequestError{Field: "key", Msg: "cannot be encoded", Err: err}
	}
	s := cryptobyte.String(spki)
	var info, bitString cryptobyte.String
	if !s.ReadASN1(&info, asn1.SEQUENCE) || !info.SkipASN1(asn1.SEQUENCE) ||
		!info.ReadASN1(&bitString, asn1.BIT_STRING) || len(bitString) < 1 {
		return nil, nil, refuse("key", "cannot be encoded")
	}
	return spki, bitString[1:], nil
}

// keyID returns the identifier of a key from its bits.
//
// RFC 7093, Section 2, method 1: the leftmost 160 bits of the SHA-256 digest.
func keyID(bits []byte) []byte {
	sum := sha256.Sum256(bits)
	return sum[:20]
}

// MarshalKey returns a private key as PKCS#8 in DER (RFC 5958): a PrivateKeyInfo
// when passphrase is empty, and otherwise an EncryptedPrivateKeyInfo with PBES2,
// PBKDF2 with HMAC-SHA-256 and AES-256-CBC (RFC 8018, Section 6.2). Keys of
// ML-DSA and ML-KEM are written as their seed (RFC 9881, Section 6; RFC 9935,
// Section 6).
func MarshalKey(key crypto.PrivateKey, passphrase []byte) ([]byte, error) {
	plain, err := alg.MarshalPrivateKey(key)
	if err != nil {
		return nil, &RequestError{Field: "key", Msg: "cannot be encoded", Err: err}
	}
	if len(passphrase) == 0 {
		return plain, nil
	}
	algorithm, encrypted, err := alg.EncryptPBES2(plain, passphrase, alg.PBKDF2Iterations)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddAlgorithm(b, algorithm)
			b.AddASN1OctetString(encrypted)
		})
	})
}

func sequence(b *der.Builder, f func(b *der.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }
