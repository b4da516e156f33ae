package pki

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rsa"
	"math/big"
	"strings"

	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
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
	var algorithm der.Algorithm
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadAlgorithm(&seq, &algorithm) {
		return algorithm, nil, &KeyError{What: "malformed SubjectPublicKeyInfo"}
	}
	bits, ok := readBits(&seq)
	if !ok {
		return algorithm, nil, &KeyError{algorithm.OID, "malformed BIT STRING"}
	}
	var key crypto.PublicKey
	var problem string
	switch algorithm.OID {
	case oid.RSA, oid.RSAPSS, oid.RSAES:
		key, problem = parseRSA(bits)
	case oid.EC, oid.ECDH: // RFC 5480, Section 2.1
		key, problem = parseEC(algorithm.Parameters, bits)
	case oid.Ed25519:
		problem = "malformed point"
		if len(bits) == ed25519.PublicKeySize {
			key = ed25519.PublicKey(bits)
		}
	case oid.X25519:
		problem = "malformed point"
		if point, err := ecdh.X25519().NewPublicKey(bits); err == nil {
			key = point
		}
	case oid.DSA:
		key, problem = parseDSA(algorithm, bits)
	default:
		key, problem = parseOther(algorithm, bits)
	}
	if key == nil {
		return algorithm, nil, &KeyError{algorithm.OID, problem}
	}
	return algorithm, key, nil
}

// parseOther reads a key of Ed448, X448, ML-DSA, SLH-DSA or ML-KEM.
//
// RFC 8410, Section 4; RFC 9881, Section 4; RFC 9909, Section 4; RFC 9935,
// Section 4: the BIT STRING is the key.
func parseOther(a der.Algorithm, bits []byte) (crypto.PublicKey, string) {
	key, known, err := alg.ParsePublicKey(a, bits)
	switch {
	case !known:
		return nil, unsupportedKey(a.OID)
	case err != nil && len(a.Parameters) > 0:
		return nil, "a key of " + alg.Name(a.OID) + " has no parameters"
	case err != nil:
		return nil, "malformed key of " + alg.Name(a.OID)
	}
	return key, ""
}

// unreadKeys are kinds of keys that are met and not read, by their identifier or
// how it begins.
var unreadKeys = []struct{ id, name string }{
	{string(oid.DH), "Diffie-Hellman"}, {"1.2.840.113549.1.3.1", "Diffie-Hellman"},
	{"1.2.643.2.2.19", "GOST"}, {"1.2.643.7.1.1.1.", "GOST"},
	{"1.2.840.113549.1.9.16.3.17", "HSS/LMS"},
	{"1.2.840.113549.1.9.16.3.14", "RSA-KEM"},
	{"1.3.6.1.5.5.7.6.", "composite and other new"},
	{"1.0.18033.2.2.7.", "FrodoKEM"}, {"1.3.6.1.4.1.22554.5.5.", "NTRU"}, {"1.3.9999.", "experimental"},
}

// unsupportedKey says why keys are not read.
func unsupportedKey(id oid.OID) string {
	for _, k := range unreadKeys {
		if string(id) == k.id || strings.HasSuffix(k.id, ".") && strings.HasPrefix(string(id), k.id) {
			return k.name + " keys are not supported"
		}
	}
	return "the algorithm is not supported"
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
	if key.N.Bit(0) == 0 || key.E == 1 || key.E&1 == 0 {
		return nil, "the modulus or the exponent is not one of RSA"
	}
	if key.N.BitLen() > maxRSABits {
		return nil, "the modulus is too long"
	}
	return key, ""
}

// parseDSA reads a DSAPublicKey and Dss-Parms (RFC 3279, Section 2.3.2).
func parseDSA(a der.Algorithm, bits []byte) (crypto.PublicKey, string) {
	s := cryptobyte.String(bits)
	key := &dsa.PublicKey{Y: new(big.Int)}
	if !s.ReadASN1Integer(key.Y) || key.Y.Sign() <= 0 || key.Y.BitLen() > maxDSABits {
		return nil, "malformed DSAPublicKey"
	}
	if a.NoParameters() {
		return key, "" // inherited
	}
	params := cryptobyte.String(a.Parameters)
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
