package pki

import (
	"crypto"
	"math/big"

	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/oid"

	_ "crypto/sha1"   // the digests of dsaHashes
	_ "crypto/sha256" //
	_ "crypto/sha512" //
)

var dsaHashes = map[oid.OID]crypto.Hash{
	oid.DSAWithSHA1: crypto.SHA1, oid.DSAWithSHA224: crypto.SHA224, oid.DSAWithSHA256: crypto.SHA256,
	oid.DSAWithSHA384: crypto.SHA384, oid.DSAWithSHA512: crypto.SHA512,
}

// maxChain bounds the length of the chains that this package follows by itself.
const maxChain = 10

// InheritDSA returns the DSA key of leaf with its parameters. Where the
// certificate has none, they are those of its issuer (RFC 3279, Section 2.3.2),
// which is looked for in candidates and has to have signed leaf with DSA: with
// parameters of anyone's choice, signatures could be forged. That the issuer
// is trusted is not checked. The result is nil when leaf has no DSA key or no
// parameters are found.
func InheritDSA(leaf *Certificate, candidates []*Certificate) *dsa.PublicKey {
	return inheritDSA(leaf, candidates, make(map[*Certificate]bool))
}

// inheritDSA looks at every certificate once, at most: seen are those that were
// looked at.
func inheritDSA(leaf *Certificate, candidates []*Certificate, seen map[*Certificate]bool) *dsa.PublicKey {
	if leaf == nil || seen[leaf] {
		return nil
	}
	key, ok := leaf.PublicKey.(*dsa.PublicKey)
	if !ok {
		return nil
	}
	if key.P != nil {
		return key
	}
	seen[leaf] = true
	for _, issuer := range candidates {
		if issuer == nil || len(seen) > maxChain || !NamesEqual(issuer.RawSubject, leaf.RawIssuer) {
			continue
		}
		issuerKey := inheritDSA(issuer, candidates, seen)
		if issuerKey != nil && signedByDSA(leaf, issuerKey) {
			return &dsa.PublicKey{Parameters: issuerKey.Parameters, Y: key.Y}
		}
	}
	return nil
}

// signedByDSA reports whether key made the signature of c.
func signedByDSA(c *Certificate, key *dsa.PublicKey) bool {
	hash, ok := dsaHashes[c.SignatureAlgorithm.OID]
	if !ok {
		return false
	}
	// RFC 3279, Section 2.2.2: Dss-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }
	sig := cryptobyte.String(c.Signature)
	var seq cryptobyte.String
	r, s := new(big.Int), new(big.Int)
	if !sig.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(s) {
		return false
	}
	h := hash.New()
	h.Write(c.RawTBS)
	// FIPS 186-4, Section 4.6: the leftmost bits, as many as q has.
	digest := h.Sum(nil)
	digest = digest[:min(len(digest), (key.Q.BitLen()+7)/8)]
	return dsa.Verify(key, digest, r, s)
}
