package alg

import (
	"crypto"
	"crypto/rand"
	"crypto/subtle"

	"github.com/cloudflare/circl/dh/x448"
)

// An X448PublicKey is a public key of X448 (RFC 7748; RFC 8410).
type X448PublicKey struct{ point x448.Key }

// NewX448PublicKey returns the key with the given 56 octets; others are
// ErrParameters. Points of low order are refused when they are used.
func NewX448PublicKey(point []byte) (*X448PublicKey, error) {
	k := &X448PublicKey{}
	if len(point) != x448.Size {
		return nil, ErrParameters
	}
	copy(k.point[:], point)
	return k, nil
}

// Bytes returns the 56 octets of the key.
func (k *X448PublicKey) Bytes() []byte { return append([]byte(nil), k.point[:]...) }

// Equal reports whether x is the same key.
func (k *X448PublicKey) Equal(x crypto.PublicKey) bool {
	other, ok := x.(*X448PublicKey)
	return ok && k.point == other.point
}

// An X448PrivateKey is a private key of X448.
type X448PrivateKey struct{ secret, public x448.Key }

// NewX448PrivateKey returns the key with the given 56 octets; others are
// ErrParameters.
func NewX448PrivateKey(secret []byte) (*X448PrivateKey, error) {
	k := &X448PrivateKey{}
	if len(secret) != x448.Size {
		return nil, ErrParameters
	}
	copy(k.secret[:], secret)
	x448.KeyGen(&k.public, &k.secret)
	return k, nil
}

// GenerateX448Key returns a new key.
func GenerateX448Key() *X448PrivateKey {
	k := &X448PrivateKey{}
	_, _ = rand.Read(k.secret[:]) // never returns an error
	x448.KeyGen(&k.public, &k.secret)
	return k
}

// Bytes returns the 56 octets of the key.
func (k *X448PrivateKey) Bytes() []byte { return append([]byte(nil), k.secret[:]...) }

// Public returns the *X448PublicKey that belongs to k.
func (k *X448PrivateKey) Public() crypto.PublicKey { return &X448PublicKey{point: k.public} }

// Equal reports whether x is the same key.
func (k *X448PrivateKey) Equal(x crypto.PrivateKey) bool {
	other, ok := x.(*X448PrivateKey)
	return ok && subtle.ConstantTimeCompare(k.secret[:], other.secret[:]) == 1
}

// ECDH agrees on a secret of 56 octets. Points of low order are ErrParameters:
// RFC 7748, Section 6.2, the all-zero value is checked for.
func (k *X448PrivateKey) ECDH(peer *X448PublicKey) ([]byte, error) {
	var shared x448.Key
	secret, point := k.secret, peer.point
	if !x448.Shared(&shared, &secret, &point) {
		return nil, ErrParameters
	}
	return shared[:], nil
}
