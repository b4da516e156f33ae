package alg

import (
	"bytes"
	"crypto"
	"errors"
	"io"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"github.com/postseal/postseal/internal/oid"
)

// An MLDSA is a parameter set of ML-DSA (FIPS 204). Sizes are in octets.
type MLDSA struct {
	Name           string
	OID            oid.OID
	Parameters     mldsa.Parameters
	PrivateKeySize int // of the expanded form
	Strength       int // octets that a digest needs: twice the collision strength
	eta            byte
	secretBits     int // of each coefficient of the secret vectors
	secretSize     int // octets of the secret vectors
	scheme         sign.Scheme
}

// MLDSASeedSize is the size of a private key as seed, in octets.
const MLDSASeedSize = mldsa.PrivateKeySize

var mldsas = []MLDSA{
	{"ML-DSA-44", oid.MLDSA44, mldsa.MLDSA44(), mldsa44.PrivateKeySize, 32, 2, 3, 8 * 96, mldsa44.Scheme()},
	{"ML-DSA-65", oid.MLDSA65, mldsa.MLDSA65(), mldsa65.PrivateKeySize, 48, 4, 4, 11 * 128, mldsa65.Scheme()},
	{"ML-DSA-87", oid.MLDSA87, mldsa.MLDSA87(), mldsa87.PrivateKeySize, 64, 2, 3, 15 * 96, mldsa87.Scheme()},
}

// MLDSAByOID finds a parameter set by its identifier.
func MLDSAByOID(o oid.OID) (MLDSA, bool) {
	for _, m := range mldsas {
		if m.OID == o {
			return m, true
		}
	}
	return MLDSA{}, false
}

// MLDSAOf returns the parameter set of a key.
func MLDSAOf(key *mldsa.PublicKey) (MLDSA, bool) {
	for _, m := range mldsas {
		if key != nil && m.Parameters == key.Parameters() {
			return m, true
		}
	}
	return MLDSA{}, false
}

// Expand returns the expanded form of the key of a seed (FIPS 204, Section 5.1).
func (m MLDSA) Expand(seed []byte) ([]byte, error) {
	if len(seed) != MLDSASeedSize {
		return nil, ErrParameters
	}
	_, key := m.scheme.DeriveKey(seed)
	return key.MarshalBinary()
}

// An MLDSAExpandedKey is a private key in expanded form, of which no seed is
// known. It implements crypto.Signer.
type MLDSAExpandedKey struct {
	key      sign.PrivateKey
	public   *mldsa.PublicKey
	expanded []byte
}

// NewExpandedKey returns the key of an expanded form (FIPS 204, Section 7.2).
// One that is none is ErrParameters.
func (m MLDSA) NewExpandedKey(expanded []byte) (*MLDSAExpandedKey, error) {
	if len(expanded) != m.PrivateKeySize || !m.inRange(expanded[128:128+m.secretSize]) {
		return nil, ErrParameters
	}
	key, err := m.scheme.UnmarshalBinaryPrivateKey(expanded)
	if err != nil {
		return nil, ErrParameters
	}
	holder, ok := key.Public().(interface{ Bytes() []byte })
	if !ok {
		return nil, ErrParameters
	}
	public, err := mldsa.NewPublicKey(m.Parameters, holder.Bytes())
	if err != nil {
		return nil, ErrParameters
	}
	k := &MLDSAExpandedKey{key, public, bytes.Clone(expanded)}
	// The hash of the public key, and the part of it that signing needs, are in
	// the key too: a signature shows whether they fit.
	_, err = k.Sign(nil, []byte(m.Name), crypto.Hash(0))
	if err != nil {
		return nil, ErrParameters
	}
	return k, nil
}

// inRange checks that the coefficients of the packed secret vectors are
// between -eta and eta (FIPS 204, Section 7.2: skDecode of an untrusted key).
func (m MLDSA) inRange(packed []byte) bool {
	acc, bits := 0, 0
	for _, b := range packed {
		acc |= int(b) << bits
		for bits += 8; bits >= m.secretBits; bits -= m.secretBits {
			if byte(acc&(1<<m.secretBits-1)) > 2*m.eta {
				return false
			}
			acc >>= m.secretBits
		}
	}
	return true
}

// Expanded returns the key in expanded form.
func (k *MLDSAExpandedKey) Expanded() []byte { return bytes.Clone(k.expanded) }

// Parameters returns the parameter set.
func (k *MLDSAExpandedKey) Parameters() mldsa.Parameters { return k.public.Parameters() }

// Public returns the *mldsa.PublicKey that belongs to k.
func (k *MLDSAExpandedKey) Public() crypto.PublicKey { return k.public }

// Equal reports whether x is the same key, in the same form.
func (k *MLDSAExpandedKey) Equal(x crypto.PrivateKey) bool {
	other, ok := x.(*MLDSAExpandedKey)
	return ok && k.key.Equal(other.key)
}

var errHashed = errors.New("ML-DSA signs whole messages")

// Sign signs a message that is not hashed; opts.HashFunc has to be 0. When a
// part of the key is wrong that shows in signatures only, the error is
// ErrParameters.
func (k *MLDSAExpandedKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, errHashed
	}
	// The scheme gives up by a panic when no signature comes of a key, which
	// happens with keys that are not what they say.
	defer func() {
		if recover() != nil {
			signature, err = nil, ErrParameters
		}
	}()
	signer, ok := k.key.(crypto.Signer)
	if !ok {
		return nil, ErrKeyType
	}
	if signature, err = signer.Sign(nil, message, crypto.Hash(0)); err != nil {
		return nil, err
	}
	// Part of an expanded key cannot be checked but by what it signs.
	if mldsa.Verify(k.public, message, signature, nil) != nil {
		return nil, ErrParameters
	}
	return signature, nil
}
