package keystore

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"math/big"

	//lint:ignore SA1019 old keys are DSA keys (RFC 4134)
	"crypto/dsa"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// ParsePrivateKey reads the first private key in data, PEM or DER, in the form
// of PKCS#8 (with or without encryption), PKCS#1, SEC 1 or OpenSSL's for DSA.
// The passphrase is asked for when the key is encrypted. The name is for errors
// and questions.
//
// The key is an *rsa.PrivateKey, *ecdsa.PrivateKey (P-224 to P-521 and the
// brainpool curves), ed25519.PrivateKey, *ecdh.PrivateKey (X25519) or
// *dsa.PrivateKey; for Ed448, ML-DSA and SLH-DSA a crypto.Signer that signs whole
// messages; for ML-KEM a crypto.Decapsulator, such as *mlkem.DecapsulationKey768;
// for X448 a key that package cms agrees with. RSA keys may be under
// rsaEncryption, id-RSASSA-PSS and id-RSAES-OAEP; those of ML-DSA and ML-KEM may
// be a seed, expanded, or both (RFC 9881, Section 6; RFC 9935, Section 6). The
// error is a [*FileError].
func ParsePrivateKey(name string, data []byte, pass Passphrase) (crypto.PrivateKey, error) {
	key, err := parseKeyFile(name, data, pass, newWork())
	return key, named(name, "private key", err)
}

func parseKeyFile(name string, data []byte, pass Passphrase, w *work) (crypto.PrivateKey, error) {
	if isPEM(data) {
		blocks, err := pemBlocks(data)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			if isKeyBlock(b) {
				return parseKeyBlock(b, &asker{name: name, ask: pass}, w)
			}
		}
		return nil, ErrNoKey
	}
	object, err := ber.Normalize(data, maxDepth)
	if err != nil {
		return nil, ErrFormat
	}
	switch what(object) {
	case kindKey, kindEncryptedKey:
		return parseKey(object, &asker{name: name, ask: pass}, w)
	case kindUnknown:
		return nil, ErrFormat
	}
	return nil, ErrNoKey
}

// A kind is what a DER object is.
type kind int

const (
	kindUnknown      kind = iota
	kindKey               // PKCS#8, PKCS#1, SEC 1, DSA
	kindEncryptedKey      // EncryptedPrivateKeyInfo
	kindPKCS12
	kindPKCS7
	kindCertificate
)

// what looks at the first fields of an object.
func what(object cryptobyte.String) kind {
	var seq, first cryptobyte.String
	if !object.ReadASN1(&seq, asn1.SEQUENCE) {
		return kindUnknown
	}
	var id oid.OID
	switch {
	case seq.PeekASN1Tag(asn1.OBJECT_IDENTIFIER):
		if der.ReadOID(&seq, &id) && id == oid.SignedData {
			return kindPKCS7
		}
	case seq.PeekASN1Tag(asn1.SEQUENCE):
		if !seq.ReadASN1(&first, asn1.SEQUENCE) {
			return kindUnknown
		}
		if seq.PeekASN1Tag(asn1.OCTET_STRING) {
			return kindEncryptedKey
		}
		if seq.PeekASN1Tag(asn1.SEQUENCE) {
			return kindCertificate
		}
	case seq.SkipASN1(asn1.INTEGER):
		if seq.PeekASN1Tag(asn1.INTEGER) || seq.PeekASN1Tag(asn1.OCTET_STRING) {
			return kindKey
		}
		if !seq.ReadASN1(&first, asn1.SEQUENCE) || !der.ReadOID(&first, &id) {
			return kindUnknown
		}
		if id == oid.Data || id == oid.SignedData {
			return kindPKCS12
		}
		return kindKey
	}
	return kindUnknown
}

// parseKey reads a private key in any DER form.
func parseKey(object []byte, a *asker, w *work) (crypto.PrivateKey, error) {
	if what(object) == kindEncryptedKey {
		return parseEncrypted(object, a, false, w)
	}
	s := cryptobyte.String(object)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.INTEGER) {
		return nil, malformed("private key")
	}
	switch {
	case seq.PeekASN1Tag(asn1.SEQUENCE):
		return parsePKCS8(object)
	case seq.PeekASN1Tag(asn1.OCTET_STRING):
		return parseSEC1(object, nil)
	}
	// RSAPrivateKey has nine numbers, OpenSSL's DSA keys have six.
	numbers := 1
	for seq.SkipASN1(asn1.INTEGER) {
		numbers++
	}
	if numbers == 6 {
		return parseOpenSSLDSA(object)
	}
	return parseRSA(object)
}

// parseEncrypted reads an EncryptedPrivateKeyInfo (RFC 5958, Section 3).
func parseEncrypted(object cryptobyte.String, a *asker, inPKCS12 bool, w *work) (crypto.PrivateKey, error) {
	var seq cryptobyte.String
	var algorithm der.Algorithm
	var data []byte
	if !object.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadAlgorithm(&seq, &algorithm) || !der.ReadOctets(&seq, &data, -1) {
		return nil, malformed("EncryptedPrivateKeyInfo")
	}
	passphrase, err := a.passphrase()
	if err != nil {
		return nil, err
	}
	plain, err := decryptObject(algorithm, data, passphrase, inPKCS12, w)
	if err != nil {
		return nil, err
	}
	return parsePKCS8(plain)
}

// parsePKCS8 reads a PrivateKeyInfo or OneAsymmetricKey (RFC 5958, Section 2).
func parsePKCS8(object cryptobyte.String) (crypto.PrivateKey, error) {
	var seq, content cryptobyte.String
	var algorithm der.Algorithm
	if !object.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.INTEGER) || !der.ReadAlgorithm(&seq, &algorithm) ||
		!seq.ReadASN1(&content, asn1.OCTET_STRING) {
		return nil, malformed("PrivateKeyInfo")
	}
	// What follows, attributes and the public key, is not needed.
	switch algorithm.OID {
	case oid.RSA, oid.RSAPSS, oid.RSAES:
		return parseRSA(content)
	case oid.EC, oid.ECDH:
		return parseSEC1(content, algorithm.Parameters)
	case oid.Ed25519:
		seed, err := parseCurveKey(content, ed25519.SeedSize)
		if err != nil {
			return nil, err
		}
		return ed25519.NewKeyFromSeed(seed), nil
	case oid.X25519:
		secret, err := parseCurveKey(content, 32)
		if err != nil {
			return nil, err
		}
		return ecdh.X25519().NewPrivateKey(secret)
	case oid.DSA:
		return parseDSA(algorithm, content)
	}
	return parseNewer(algorithm.OID, content)
}

// parseCurveKey reads a CurvePrivateKey (RFC 8410, Section 7).
func parseCurveKey(content cryptobyte.String, size int) ([]byte, error) {
	var octets cryptobyte.String
	if !content.ReadASN1(&octets, asn1.OCTET_STRING) || len(octets) != size {
		return nil, malformed("CurvePrivateKey")
	}
	return octets, nil
}

// parseRSA reads an RSAPrivateKey (RFC 8017, Appendix A.1.2).
func parseRSA(content []byte) (crypto.PrivateKey, error) {
	s := cryptobyte.String(content)
	var seq, modulus cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.INTEGER) || !seq.ReadASN1(&modulus, asn1.INTEGER) {
		return nil, malformed("RSAPrivateKey")
	}
	if len(modulus) > maxRSABits/8+1 {
		return nil, &LimitError{"bits in an RSA key"}
	}
	key, err := x509.ParsePKCS1PrivateKey(content)
	if err != nil {
		return nil, malformed("RSAPrivateKey") // err might show numbers of the key
	}
	return key, nil
}

var curves = map[oid.OID]elliptic.Curve{
	oid.P224: elliptic.P224(), oid.P256: elliptic.P256(), oid.P384: elliptic.P384(), oid.P521: elliptic.P521(),
}

// parseSEC1 reads an ECPrivateKey (RFC 5915, Section 3), on the curve of
// ECParameters outside of it or, when there are none, on that of its own.
//
// QUIRK: RFC 5915, Section 3, has the curve named; keys with its parameters
// instead are in use.
func parseSEC1(content cryptobyte.String, outer []byte) (crypto.PrivateKey, error) {
	var seq, secret, params cryptobyte.String
	var present bool
	if !content.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.INTEGER) || !seq.ReadASN1(&secret, asn1.OCTET_STRING) ||
		!seq.ReadOptionalASN1(&params, &present, der.Context(0, true)) {
		return nil, malformed("ECPrivateKey")
	}
	if len(outer) > 0 {
		params = outer
	}
	curve, err := pki.CurveName(params)
	if err != nil {
		return nil, &UnsupportedError{What: "a curve that is not one of those with a name"}
	}
	c, ok := curves[curve]
	isBrainpool := false
	if !ok {
		if c, isBrainpool = alg.BrainpoolCurve(curve); !isBrainpool {
			return nil, &UnsupportedError{"curve", curve}
		}
	}
	// QUIRK: the number is found without its leading zeros, and with too many.
	size := (c.Params().N.BitLen() + 7) / 8
	for len(secret) > size && secret[0] == 0 {
		secret = secret[1:]
	}
	if len(secret) > size {
		return nil, malformed("ECPrivateKey")
	}
	if isBrainpool {
		key, keyErr := alg.NewBrainpoolKey(c, secret)
		if keyErr != nil {
			return nil, malformed("ECPrivateKey")
		}
		return key, nil
	}
	padded := make([]byte, size)
	copy(padded[size-len(secret):], secret)
	key, err := ecdsa.ParseRawPrivateKey(c, padded)
	if err != nil {
		return nil, malformed("ECPrivateKey")
	}
	return key, nil
}

// parseDSA reads a DSA key of PKCS#8: Dss-Parms (RFC 3279, Section 2.3.2) and x.
func parseDSA(algorithm der.Algorithm, content cryptobyte.String) (crypto.PrivateKey, error) {
	params := cryptobyte.String(algorithm.Parameters)
	var seq cryptobyte.String
	key := newDSA()
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(key.P) || !seq.ReadASN1Integer(key.Q) ||
		!seq.ReadASN1Integer(key.G) || !content.ReadASN1Integer(key.X) {
		return nil, malformed("DSA key")
	}
	return finishDSA(key)
}

// parseOpenSSLDSA reads OpenSSL's SEQUENCE of version, p, q, g, y and x.
func parseOpenSSLDSA(object cryptobyte.String) (crypto.PrivateKey, error) {
	var seq cryptobyte.String
	key := newDSA()
	if !object.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.INTEGER) || !seq.ReadASN1Integer(key.P) ||
		!seq.ReadASN1Integer(key.Q) || !seq.ReadASN1Integer(key.G) || !seq.ReadASN1Integer(key.Y) || !seq.ReadASN1Integer(key.X) {
		return nil, malformed("DSA key")
	}
	return finishDSA(key)
}

func newDSA() *dsa.PrivateKey {
	key := &dsa.PrivateKey{X: new(big.Int)}
	key.P, key.Q, key.G, key.Y = new(big.Int), new(big.Int), new(big.Int), new(big.Int)
	return key
}

// finishDSA checks the numbers of a key and computes the public one.
func finishDSA(key *dsa.PrivateKey) (crypto.PrivateKey, error) {
	for _, n := range []*big.Int{key.P, key.Q, key.G, key.X} {
		if n.Sign() <= 0 {
			return nil, malformed("DSA key")
		}
		if n.BitLen() > maxDSABits {
			return nil, &LimitError{"bits in a DSA key"}
		}
	}
	if key.X.Cmp(key.Q) >= 0 || key.G.Cmp(key.P) >= 0 || key.Q.Cmp(key.P) >= 0 {
		return nil, malformed("DSA key")
	}
	key.Y.Exp(key.G, key.X, key.P)
	return key, nil
}
