package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
)

// A WeakError says that something is signed with an algorithm, or a key, that
// is too weak to be relied on. [ChainOptions.Allow] may allow it.
type WeakError struct {
	Allow string // the allowance that is needed: "sha1", "md5", "md4", "dsa" or "rsa1024"
}

func (e *WeakError) Error() string {
	switch e.Allow {
	case alg.WeakDSA:
		return "DSA signatures are not accepted any more"
	case alg.WeakRSA1024:
		return fmt.Sprintf("RSA keys of less than %d bits are too short to be relied on", alg.MinRSABits+1)
	}
	return "signatures with " + e.Allow + " can be forged"
}

// weak returns the first of needs that is not in allowed.
func weak(needs, allowed []string) error {
	for _, need := range needs {
		if need != "" && !slices.Contains(allowed, need) {
			return &WeakError{Allow: need}
		}
	}
	return nil
}

// minRSABits is the least size that crypto/rsa computes with.
const minRSABits = 1024

var (
	errInherited = errors.New("the parameters of the key are inherited") // and have to be found first
	errShortRSA  = errors.New("the RSA key is too short")
)

// verifySignature checks that the key of signer made a signature over message,
// with any algorithm that is known. It returns the allowances that this
// needs. Errors are [alg.ErrSignature] and [alg.ErrKeyType] when signer did not
// make it, errInherited, or others when it cannot be said.
func verifySignature(signer *Certificate, key crypto.PublicKey, a der.Algorithm, message, signature []byte) (needs []string, err error) {
	if key == nil {
		return nil, signer.KeyErr
	}
	sig, err := alg.ParseSignature(a, alg.Digest{})
	if err != nil {
		return nil, err
	}
	switch {
	case !sig.Whole() && sig.Digest.Hash == 0:
		return nil, fmt.Errorf("signature %s: %w", alg.Name(a.OID), alg.ErrUnknown)
	case sig.Scheme != alg.PSS && sig.Scheme != alg.DSA && !a.NoParameters():
		return nil, alg.ErrParameters
	}
	if err = alg.FitsKey(signer.KeyAlgorithm, sig); err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return nil, errShortRSA
		}
	case *dsa.PublicKey:
		if k.P == nil && sig.Scheme == alg.DSA {
			return nil, errInherited
		}
	}
	var digest []byte
	if sig.Digest.Hash != 0 {
		h := sig.Digest.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	return append(sig.Weak(), alg.WeakKey(key)), sig.Verify(key, message, digest, signature)
}

// signatureCost is the work of checking a signature, 1 for the usual keys: some
// 0.1 ms.
func signatureCost(key crypto.PublicKey) int {
	switch k := key.(type) {
	case *rsa.PublicKey:
		size := k.N.BitLen() / 4096
		return 1 + size*size
	case *ecdsa.PublicKey:
		if _, slow := alg.BrainpoolName(k.Curve); slow {
			return k.Params().BitSize / 16
		}
		return 1 + k.Params().BitSize/256
	case *dsa.PublicKey:
		return 4
	case ed448.PublicKey, *mldsa.PublicKey:
		return 2
	case slhdsa.PublicKey:
		return 20
	}
	return 1
}
