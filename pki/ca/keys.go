package ca

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A KeyType names a type and size of key.
type KeyType string

// The types of keys. X25519 is for encryption alone, Ed25519 for signatures.
const (
	RSA3072 KeyType = "rsa3072"
	P256    KeyType = "p256"
	P384    KeyType = "p384"
	Ed25519 KeyType = "ed25519"
	X25519  KeyType = "x25519"
)

// KeyTypes returns the types that [GenerateKey] knows.
func KeyTypes() []KeyType { return []KeyType{RSA3072, P256, P384, Ed25519, X25519} }

// GenerateKey makes a private key: an *rsa.PrivateKey, *ecdsa.PrivateKey,
// ed25519.PrivateKey or *ecdh.PrivateKey. For another type the error is a
// [*RequestError].
func GenerateKey(kind KeyType) (crypto.PrivateKey, error) {
	switch kind {
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case X25519:
		return ecdh.X25519().GenerateKey(rand.Reader)
	}
	return nil, refuse("key", "there is no type "+string(kind))
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
	}
	return refuse("key", "of a type or on a curve that is not supported: RSA, P-256, P-384, P-521, Ed25519 and X25519 are")
}

// marshalKey returns the SubjectPublicKeyInfo of a key and the bits within.
func marshalKey(key crypto.PublicKey) (spki, bits []byte, err error) {
	if spki, err = x509.MarshalPKIXPublicKey(key); err != nil {
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

// The cost and sizes of encrypted private keys; sizes are in octets.
const (
	iterations = 600_000
	saltSize   = 16
	keySize    = 32
)

// MarshalKey returns a private key as PKCS#8 in DER (RFC 5958): a PrivateKeyInfo
// when passphrase is empty, and otherwise an EncryptedPrivateKeyInfo with PBES2,
// PBKDF2 with HMAC-SHA-256 and AES-256-CBC (RFC 8018, Section 6.2).
func MarshalKey(key crypto.PrivateKey, passphrase []byte) ([]byte, error) {
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, &RequestError{Field: "key", Msg: "cannot be encoded", Err: err}
	}
	if len(passphrase) == 0 {
		return plain, nil
	}
	salt, iv := make([]byte, saltSize), make([]byte, aes.BlockSize)
	_, _ = rand.Read(salt) // never returns an error
	_, _ = rand.Read(iv)
	secret, err := pbkdf2.Key(sha256.New, string(passphrase), salt, iterations, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	for range pad {
		plain = append(plain, byte(pad))
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(plain, plain)
	return der.Marshal(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addPBES2(b, salt, iv)
			b.AddASN1OctetString(plain)
		})
	})
}

// addPBES2 appends the AlgorithmIdentifier of MarshalKey (RFC 8018, Appendices
// A.2 and A.4).
func addPBES2(b *cryptobyte.Builder, salt, iv []byte) {
	sequence(b, func(b *cryptobyte.Builder) {
		der.AddOID(b, oid.PBES2)
		sequence(b, func(b *cryptobyte.Builder) {
			sequence(b, func(b *cryptobyte.Builder) {
				der.AddOID(b, oid.PBKDF2)
				sequence(b, func(b *cryptobyte.Builder) {
					b.AddASN1OctetString(salt)
					b.AddASN1Int64(iterations)
					der.AddAlgorithm(b, der.WithNull(oid.HMACSHA256))
				})
			})
			sequence(b, func(b *cryptobyte.Builder) {
				der.AddOID(b, oid.AES256CBC)
				b.AddASN1OctetString(iv)
			})
		})
	})
}

func sequence(b *cryptobyte.Builder, f func(b *cryptobyte.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }
