package alg

import (
	"crypto"
	"crypto/ed25519"
	"fmt"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/postseal/postseal/internal/oid"
)

// pureID returns the identifier of signatures by a key that signs whole
// messages. It is that of the key, too.
func pureID(pub crypto.PublicKey) (oid.OID, bool) {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return oid.Ed25519, len(k) == ed25519.PublicKeySize
	case ed448.PublicKey:
		return oid.Ed448, len(k) == ed448.PublicKeySize
	case *mldsa.PublicKey:
		m, ok := MLDSAOf(k)
		return m.OID, ok
	case slhdsa.PublicKey:
		s, ok := SLHDSAOf(k)
		return s.OID, ok
	}
	return "", false
}

// verifyPure checks a signature over a message.
//
// RFC 8419, Section 2; RFC 9882, Section 3; RFC 9814, Section 4: the variant
// without a hash before it, and with an empty context.
func verifyPure(pub crypto.PublicKey, message, signature []byte) bool {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case ed448.PublicKey:
		return len(signature) == ed448.SignatureSize && ed448.Verify(k, message, signature, "")
	case *mldsa.PublicKey:
		return mldsa.Verify(k, message, signature, nil) == nil
	case slhdsa.PublicKey:
		return len(signature) == k.ID.Scheme().SignatureSize() && slhdsa.Verify(&k, slhdsa.NewMessage(message), signature, nil)
	}
	return false
}

// pureSize returns the size of signatures by a key in octets, or 0 for keys of
// other kinds.
func pureSize(pub crypto.PublicKey) int {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return ed25519.SignatureSize
	case ed448.PublicKey:
		return ed448.SignatureSize
	case *mldsa.PublicKey:
		return k.Parameters().SignatureSize()
	case slhdsa.PublicKey:
		return k.ID.Scheme().SignatureSize()
	}
	return 0
}

// fitsDigest refuses digests that are not for s, or weaker than its key, and
// settles which of several identifiers of a hash is meant.
func (s *Signature) fitsDigest(pub crypto.PublicKey) error {
	need, want := 0, crypto.Hash(0)
	switch k := pub.(type) {
	case ed25519.PublicKey:
		want = crypto.SHA512 // RFC 8419, Section 3.1
	case ed448.PublicKey:
		want = SHAKE256
	case *mldsa.PublicKey:
		m, _ := MLDSAOf(k)
		need = m.Strength // RFC 9882, Section 3.3
	case slhdsa.PublicKey:
		p, _ := SLHDSAOf(k)
		need = p.Strength // RFC 9814, Section 4
	default:
		return nil
	}
	if want != 0 && s.Digest.Hash != want || s.Digest.Size() < need {
		return fmt.Errorf("%s does not sign with %s: %w", s.Name, s.Digest.Name, ErrUnknown)
	}
	if s.id == oid.Ed448 {
		// RFC 8419, Section 3.1: MUST be id-shake256-len with 512 bits.
		s.Digest, _ = DigestByOID(oid.SHAKE256Len)
	}
	return nil
}
