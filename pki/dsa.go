package pki

import (
	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"
)

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
		if issuerKey == nil {
			continue
		}
		// A key of DSA makes no other signatures.
		if _, err := verifySignature(issuer, issuerKey, leaf.SignatureAlgorithm, leaf.RawTBS, leaf.Signature); err == nil {
			return &dsa.PublicKey{Parameters: issuerKey.Parameters, Y: key.Y}
		}
	}
	return nil
}
