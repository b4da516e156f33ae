package alg

import (
	"bytes"
	"crypto"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/subtle"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"

	"github.com/postseal/postseal/internal/oid"
)

// A KEM is a parameter set of ML-KEM (FIPS 203). Sizes are in octets.
type KEM struct {
	Name           string
	OID            oid.OID
	PublicKeySize  int
	PrivateKeySize int // of the expanded form
	CiphertextSize int
	MinWrap        oid.OID // the least key wrap that is as strong: RFC 9936, Section 2.3
	scheme         kem.Scheme
}

// KEMSeedSize is the size of a private key as seed, in octets.
const KEMSeedSize = mlkem.SeedSize

var kems = []KEM{
	{"ML-KEM-768", oid.MLKEM768, 1184, 2400, 1088, oid.AES256Wrap, mlkem768.Scheme()},
	{"ML-KEM-1024", oid.MLKEM1024, 1568, 3168, 1568, oid.AES256Wrap, mlkem1024.Scheme()},
	{"ML-KEM-512", oid.MLKEM512, 800, 1632, 768, oid.AES128Wrap, mlkem512.Scheme()},
}

// KEMByOID finds a KEM by its identifier.
func KEMByOID(o oid.OID) (KEM, bool) {
	for _, k := range kems {
		if k.OID == o {
			return k, true
		}
	}
	return KEM{}, false
}

// KEMOf returns the KEM of a public key, and the key as an encapsulator. The
// size of a key tells the parameter set.
func KEMOf(pub crypto.PublicKey) (KEM, crypto.Encapsulator, bool) {
	e, ok := pub.(crypto.Encapsulator)
	if !ok {
		wrapped, isKEM := pub.(kem.PublicKey)
		if !isKEM {
			return KEM{}, nil, false
		}
		e = &MLKEMPublicKey{wrapped}
	}
	size := len(e.Bytes())
	for _, k := range kems {
		if k.PublicKeySize == size {
			return k, e, true
		}
	}
	return KEM{}, nil, false
}

// NewPublicKey reads an encapsulation key (FIPS 203, Section 7.2): an
// *mlkem.EncapsulationKey768 or *mlkem.EncapsulationKey1024, or for ML-KEM-512
// an *MLKEMPublicKey. A key that is none is ErrParameters.
func (k KEM) NewPublicKey(bits []byte) (crypto.Encapsulator, error) {
	switch k.OID {
	case oid.MLKEM768:
		if key, err := mlkem.NewEncapsulationKey768(bits); err == nil {
			return key, nil
		}
	case oid.MLKEM1024:
		if key, err := mlkem.NewEncapsulationKey1024(bits); err == nil {
			return key, nil
		}
	case oid.MLKEM512:
		if key, err := k.scheme.UnmarshalBinaryPublicKey(bits); err == nil {
			return &MLKEMPublicKey{key}, nil
		}
	}
	return nil, ErrParameters
}

// NewPrivateKey returns the decapsulation key of a seed: an
// *mlkem.DecapsulationKey768 or *mlkem.DecapsulationKey1024, or for ML-KEM-512
// an *MLKEMPrivateKey. A seed of another size is ErrParameters.
func (k KEM) NewPrivateKey(seed []byte) (crypto.Decapsulator, error) {
	if len(seed) != KEMSeedSize {
		return nil, ErrParameters
	}
	switch k.OID {
	case oid.MLKEM768:
		return mlkem.NewDecapsulationKey768(seed)
	case oid.MLKEM1024:
		return mlkem.NewDecapsulationKey1024(seed)
	case oid.MLKEM512:
		_, key := k.scheme.DeriveKeyPair(seed)
		return &MLKEMPrivateKey{key, bytes.Clone(seed)}, nil
	}
	return nil, ErrParameters
}

// NewExpandedKey returns the decapsulation key of its expanded form (FIPS 203,
// Section 7.3), of which no seed is known. A key that is none is
// ErrParameters.
func (k KEM) NewExpandedKey(expanded []byte) (*MLKEMPrivateKey, error) {
	key, err := k.scheme.UnmarshalBinaryPrivateKey(expanded)
	if err != nil { // the size, or the hash of the encapsulation key
		return nil, ErrParameters
	}
	// The encapsulation key inside has to be one (FIPS 203, Section 7.2).
	public := expanded[k.PrivateKeySize-64-k.PublicKeySize : k.PrivateKeySize-64]
	if _, err = k.NewPublicKey(public); err != nil {
		return nil, err
	}
	out := &MLKEMPrivateKey{key: key}
	// It also has to be that of the secret.
	secret, ciphertext := (&MLKEMPublicKey{key.Public()}).Encapsulate()
	if got, err := out.Decapsulate(ciphertext); err != nil || subtle.ConstantTimeCompare(got, secret) != 1 {
		return nil, ErrParameters
	}
	return out, nil
}

// Expand returns the expanded form of the key of a seed (FIPS 203, Section 7.1).
func (k KEM) Expand(seed []byte) ([]byte, error) {
	if len(seed) != KEMSeedSize {
		return nil, ErrParameters
	}
	_, key := k.scheme.DeriveKeyPair(seed)
	return key.MarshalBinary()
}

// An MLKEMPublicKey is an encapsulation key that crypto/mlkem does not have. It
// implements crypto.Encapsulator.
type MLKEMPublicKey struct{ key kem.PublicKey }

// Bytes returns the encoded key.
func (k *MLKEMPublicKey) Bytes() []byte {
	b, err := k.key.MarshalBinary()
	if err != nil {
		return nil // a key that was made or read can be written
	}
	return b
}

// Encapsulate makes a shared secret, and what gives it to the key's owner.
func (k *MLKEMPublicKey) Encapsulate() (sharedKey, ciphertext []byte) {
	scheme := k.key.Scheme()
	seed := make([]byte, scheme.EncapsulationSeedSize())
	_, _ = rand.Read(seed) // never returns an error
	// The error is about the types of key and seed, which are the scheme's.
	ciphertext, sharedKey, _ = scheme.EncapsulateDeterministically(k.key, seed)
	return sharedKey, ciphertext
}

// Equal reports whether x is the same key.
func (k *MLKEMPublicKey) Equal(x crypto.PublicKey) bool {
	_, other, ok := KEMOf(x)
	return ok && bytes.Equal(k.Bytes(), other.Bytes())
}

// An MLKEMPrivateKey is a decapsulation key that crypto/mlkem does not have: one
// of ML-KEM-512, or one without its seed. It implements crypto.Decapsulator.
type MLKEMPrivateKey struct {
	key  kem.PrivateKey
	seed []byte
}

// Seed returns the seed, or nil when it is not known.
func (k *MLKEMPrivateKey) Seed() []byte { return bytes.Clone(k.seed) }

// Expanded returns the expanded form.
func (k *MLKEMPrivateKey) Expanded() ([]byte, error) { return k.key.MarshalBinary() }

// Encapsulator returns the public key.
func (k *MLKEMPrivateKey) Encapsulator() crypto.Encapsulator {
	return &MLKEMPublicKey{k.key.Public()}
}

// Public returns the public key, as Encapsulator does.
func (k *MLKEMPrivateKey) Public() crypto.PublicKey { return k.Encapsulator() }

// Decapsulate returns the shared secret of a ciphertext. One of another size is
// ErrParameters; one that is not for this key gives a secret that nobody knows
// (FIPS 203, Section 6.3).
func (k *MLKEMPrivateKey) Decapsulate(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != k.key.Scheme().CiphertextSize() {
		return nil, ErrParameters
	}
	return k.key.Scheme().Decapsulate(k.key, ciphertext)
}

// Equal reports whether x is the same key.
func (k *MLKEMPrivateKey) Equal(x crypto.PrivateKey) bool {
	other, ok := x.(*MLKEMPrivateKey)
	return ok && k.key.Equal(other.key)
}
