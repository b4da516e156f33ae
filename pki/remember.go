package pki

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/recent"
)

// Mail comes from the same people again and again. What does not depend on the
// time, on whom one trusts, or on what has been revoked is remembered: what a
// certificate says, and that a key made a signature. All else is judged anew each
// time.

const (
	rememberedCertificates = 128     // or twice as many
	rememberedOctets       = 4 << 10 // of such a certificate
	rememberedSignatures   = 512     // or twice as many
)

var (
	parsed     = recent.NewMap[string, *Certificate](rememberedCertificates)
	signatures = recent.NewMap[[sha256.Size]byte, madeBy](rememberedSignatures)
)

// ParseShared is ParseCertificate for those that come with messages. Certificates
// of the same octets are often the same value, which must not be changed. It may
// refer to raw.
func ParseShared(raw []byte) (*Certificate, error) {
	if len(raw) > rememberedOctets {
		return ParseCertificate(raw)
	}
	key := string(raw)
	if c, ok := parsed.Get(key); ok {
		return c, nil
	}
	c, err := ParseCertificate([]byte(key))
	if err == nil {
		parsed.Put(key, c)
	}
	return c, err
}

// foldedNames are the names of a certificate as foldName has them, once they have
// been asked for.
type foldedNames struct {
	once                  sync.Once
	rawIssuer, rawSubject []byte
	issuer, subject       string
}

func (f *foldedNames) get() (issuer, subject string) {
	f.once.Do(func() {
		f.issuer, f.subject = foldName(f.rawIssuer), foldName(f.rawSubject)
	})
	return f.issuer, f.subject
}

// foldedIssuer is foldName of RawIssuer, whatever that has been set to.
func (c *Certificate) foldedIssuer() string {
	if c.folded == nil || !bytes.Equal(c.folded.rawIssuer, c.RawIssuer) {
		return foldName(c.RawIssuer)
	}
	issuer, _ := c.folded.get()
	return issuer
}

// foldedSubject is foldName of RawSubject, whatever that has been set to.
func (c *Certificate) foldedSubject() string {
	if c.folded == nil || !bytes.Equal(c.folded.rawSubject, c.RawSubject) {
		return foldName(c.RawSubject)
	}
	_, subject := c.folded.get()
	return subject
}

// madeBy says that a key made a signature, and which allowances it needs.
type madeBy struct {
	key   crypto.PublicKey
	needs []string
}

// verifyRemembered is verifySignature with the key in signer, which remembers the
// signatures that are valid. A signature is one if key, algorithm, message and
// signature are the same, by a digest without collisions; the key is also compared
// as it is used.
func verifyRemembered(signer *Certificate, a der.Algorithm, message, signature []byte) (needs []string, err error) {
	key := signer.PublicKey
	equal, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return verifySignature(signer, key, a, message, signature)
	}
	id := signatureID(signer.RawSPKI, []byte(a.OID), a.Parameters, message, signature)
	if s, known := signatures.Get(id); known && equal.Equal(s.key) {
		return slices.Clone(s.needs), nil
	}
	if needs, err = verifySignature(signer, key, a, message, signature); err == nil {
		signatures.Put(id, madeBy{key, slices.Clone(needs)})
	}
	return needs, err
}

// signatureID is the digest of some strings, with their lengths.
func signatureID(parts ...[]byte) (id [sha256.Size]byte) {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	h.Sum(id[:0])
	return id
}
