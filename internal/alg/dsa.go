package alg

import (
	"math/big"

	//lint:ignore SA1019 DSA signatures are read from old mail, never made
	"crypto/dsa"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds of FIPS 186-4, with room: they keep the cost of a hostile key small.
const (
	maxDSAPrime    = 4096
	maxDSASubgroup = 512
)

// verifyDSA checks a Dss-Sig-Value (RFC 3370, Section 3.1).
func verifyDSA(pub *dsa.PublicKey, digest, signature []byte) bool {
	if pub.P == nil || pub.Q == nil || pub.G == nil || pub.Y == nil ||
		pub.P.BitLen() > maxDSAPrime || pub.Q.BitLen() > maxDSASubgroup || pub.P.Sign() <= 0 || pub.Q.Sign() <= 0 ||
		pub.G.Sign() <= 0 || pub.Y.Sign() <= 0 || pub.Y.Cmp(pub.P) >= 0 || pub.G.Cmp(pub.P) >= 0 {
		return false
	}
	s := cryptobyte.String(signature)
	var seq cryptobyte.String
	r, v := new(big.Int), new(big.Int)
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(v) || !seq.Empty() {
		return false
	}
	// FIPS 186-4, Section 4.6: the leftmost bits of the digest, as many as q has.
	if n := pub.Q.BitLen() / 8; len(digest) > n {
		digest = digest[:n]
	}
	return dsa.Verify(pub, digest, r, v)
}
