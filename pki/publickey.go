package pki

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"

	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// Bounds of the numbers in a key, in bits. They keep what a stranger's key
// makes a reader compute within reason.
const (
	maxRSABits = 16384
	maxDSABits = 10000
)

// A KeyError says why a public key cannot be used.
type KeyError struct {
	OID  oid.OID // of the key's algorithm, "" when unknown
	What string
}

func (e *KeyError) Error() string {
	if e.OID == "" {
		return "pki: public key: " + e.What
	}
	return "pki: public key (" + e.OID.String() + "): " + e.What
}

// parsePublicKey reads a SubjectPublicKeyInfo (RFC 5280, Section 4.1.2.7).
func parsePublicKey(spki []byte) (der.Algorithm, crypto.PublicKey, error) {
	s := cryptobyte.String(spki)
	var seq cryptobyte.String
	var alg der.Algorithm
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadAlgorithm(&seq, &alg) {
		return alg, nil, &KeyError{What: "malformed SubjectPublicKeyInfo"}
	}
	bits, ok := readBits(&seq)
	if !ok {
		return alg, nil, &KeyError{alg.OID, "malformed BIT STRING"}
	}
	var key crypto.PublicKey
	problem := "the algorithm is not supported"
	switch alg.OID {
	case oid.RSA, oid.RSAPSS, oid.RSAES:
		key, problem = parseRSA(bits)
	case oid.EC, oid.ECDH: // RFC 5480, Section 2.1
		key, problem = parseEC(alg.Parameters, bits)
	case oid.Ed25519:
		key, problem = nil, "malformed point"
		if len(bits) == ed25519.PublicKeySize {
			key = ed25519.PublicKey(bits)
		}
	case oid.X25519:
		key, problem = nil, "malformed point"
		if point, err := ecdh.X25519().NewPublicKey(bits); err == nil {
			key = point
		}
	case oid.DSA:
		key, problem = parseDSA(alg, bits)
	}
	if key == nil {
		return alg, nil, &KeyError{alg.OID, problem}
	}
	return alg, key, nil
}

// parseRSA reads an RSAPublicKey (RFC 8017, Appendix A.1.1).
func parseRSA(bits []byte) (crypto.PublicKey, string) {
	s := cryptobyte.String(bits)
	var seq cryptobyte.String
	key := &rsa.PublicKey{N: new(big.Int)}
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(key.N) || !seq.ReadASN1Integer(&key.E) {
		return nil, "malformed RSAPublicKey"
	}
	if key.N.Sign() <= 0 || key.E <= 0 {
		return nil, "the modulus or the exponent is not positive"
	}
	if key.N.BitLen() > maxRSABits {
		return nil, "the modulus is too long"
	}
	return key, ""
}

// parseEC reads an ECPoint on a named curve (RFC 5480, Section 2.2).
func parseEC(params, bits []byte) (crypto.PublicKey, string) {
	var name oid.OID
	if s := cryptobyte.String(params); !der.ReadOID(&s, &name) {
		return nil, "the curve is not a named one"
	}
	curves := map[oid.OID]elliptic.Curve{
		oid.P224: elliptic.P224(), oid.P256: elliptic.P256(), oid.P384: elliptic.P384(), oid.P521: elliptic.P521(),
	}
	curve, ok := curves[name]
	if !ok {
		return nil, "the curve " + name.String() + " is not supported"
	}
	if len(bits) > 0 && (bits[0] == 2 || bits[0] == 3) {
		x, y := elliptic.UnmarshalCompressed(curve, bits)
		if x == nil {
			return nil, "the point is not on the curve"
		}
		size := (curve.Params().BitSize + 7) / 8
		full := make([]byte, 1+2*size)
		full[0] = 4
		x.FillBytes(full[1 : 1+size])
		y.FillBytes(full[1+size:])
		bits = full
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, bits)
	if err != nil {
		return nil, "the point is not on the curve"
	}
	return key, ""
}

// parseDSA reads a DSAPublicKey and Dss-Parms (RFC 3279, Section 2.3.2).
func parseDSA(alg der.Algorithm, bits []byte) (crypto.PublicKey, string) {
	s := cryptobyte.String(bits)
	key := &dsa.PublicKey{Y: new(big.Int)}
	if !s.ReadASN1Integer(key.Y) || key.Y.Sign() <= 0 || key.Y.BitLen() > maxDSABits {
		return nil, "malformed DSAPublicKey"
	}
	if alg.NoParameters() {
		return key, "" // inherited
	}
	params := cryptobyte.String(alg.Parameters)
	var seq cryptobyte.String
	key.P, key.Q, key.G = new(big.Int), new(big.Int), new(big.Int)
	if !params.ReadASN1(&seq, asn1.SEQUENCE) ||
		!seq.ReadASN1Integer(key.P) || !seq.ReadASN1Integer(key.Q) || !seq.ReadASN1Integer(key.G) {
		return nil, "malformed Dss-Parms"
	}
	for _, n := range []*big.Int{key.P, key.Q, key.G} {
		if n.Sign() <= 0 || n.BitLen() > maxDSABits {
			return nil, "a DSA parameter is out of bounds"
		}
	}
	return key, ""
}
