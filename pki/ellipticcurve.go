package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// namedCurves are the curves of RFC 5480, Section 2.1.1.1 and RFC 5639 whose
// keys are read, the usual ones first.
var namedCurves = []oid.OID{
	oid.P256, oid.P384, oid.P521, oid.P224,
	oid.BrainpoolP256r1, oid.BrainpoolP384r1, oid.BrainpoolP512r1,
	oid.BrainpoolP256t1, oid.BrainpoolP384t1, oid.BrainpoolP512t1,
}

// otherCurves are curves that are met and not read.
var otherCurves = map[oid.OID]string{
	"1.2.840.10045.3.1.1":  "P-192, which is too small to be relied on",
	"1.3.36.3.3.2.8.1.1.1": "brainpoolP160r1, which is too small to be relied on",
	"1.3.36.3.3.2.8.1.1.2": "brainpoolP160t1, which is too small to be relied on",
	"1.3.36.3.3.2.8.1.1.3": "brainpoolP192r1, which is too small to be relied on",
	"1.3.36.3.3.2.8.1.1.4": "brainpoolP192t1, which is too small to be relied on",
	"1.3.36.3.3.2.8.1.1.5": "brainpoolP224r1, which is not supported",
	"1.3.36.3.3.2.8.1.1.6": "brainpoolP224t1, which is not supported",
	"1.3.36.3.3.2.8.1.1.9": "brainpoolP320r1, which is not supported",
	"1.3.132.0.1":          "sect163k1, which is too small to be relied on",
	"1.3.132.0.10":         "secp256k1, which is not supported",
	"1.3.132.0.15":         "sect163r2, which is too small to be relied on",
	"1.3.132.0.16":         "sect283k1, which is not supported",
	"1.3.132.0.17":         "sect283r1, which is not supported",
}

// namedCurve returns a curve by its name, or nil.
func namedCurve(name oid.OID) elliptic.Curve {
	switch name {
	case oid.P224:
		return elliptic.P224()
	case oid.P256:
		return elliptic.P256()
	case oid.P384:
		return elliptic.P384()
	case oid.P521:
		return elliptic.P521()
	}
	if curve, ok := alg.BrainpoolCurve(name); ok {
		return curve
	}
	return nil
}

// parseEC reads an ECPoint on the curve of ECParameters (RFC 5480, Section 2.2).
func parseEC(params, bits []byte) (crypto.PublicKey, string) {
	name, problem := curveName(params)
	if problem != "" {
		return nil, problem
	}
	curve := namedCurve(name)
	if curve == nil {
		if what := otherCurves[name]; what != "" {
			return nil, "the curve is " + what
		}
		return nil, "the curve " + name.String() + " is not supported"
	}
	const notOnCurve = "the point is not on the curve"
	if _, ok := alg.BrainpoolCurve(name); ok {
		key, err := alg.BrainpoolPoint(curve, bits)
		if err != nil {
			return nil, notOnCurve
		}
		return key, ""
	}
	if len(bits) > 0 && (bits[0] == 2 || bits[0] == 3) {
		x, y := elliptic.UnmarshalCompressed(curve, bits)
		if x == nil {
			return nil, notOnCurve
		}
		bits = uncompressed(curve, x, y)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, bits)
	if err != nil {
		return nil, notOnCurve
	}
	return key, ""
}

// CurveName returns the name of the curve that ECParameters (RFC 5480, Section
// 2.1.1) name or describe, as those of keys and certificates do. A description
// is taken for the curve that it repeats in full, of those whose keys this
// package reads, and for nothing else. The error is a [*KeyError].
func CurveName(params []byte) (oid.OID, error) {
	name, problem := curveName(params)
	if problem != "" {
		return "", &KeyError{oid.EC, problem}
	}
	return name, nil
}

// curveName returns the name of the curve of ECParameters, or what is wrong.
//
//	ECParameters ::= CHOICE { namedCurve OBJECT IDENTIFIER,
//	  implicitCurve NULL, specifiedCurve SpecifiedECDomain }
//
// QUIRK: RFC 5480, Section 2.1.1 forbids specifiedCurve, but older
// certificates, and those of passports, have it. It is taken for the curve
// whose parameters it repeats, and for nothing else: with a generator of
// someone's choice (CVE-2020-0601), anyone has the private key of any point.
func curveName(params cryptobyte.String) (name oid.OID, problem string) {
	switch {
	case params.PeekASN1Tag(asn1.OBJECT_IDENTIFIER):
		if !der.ReadOID(&params, &name) || !params.Empty() {
			return "", "malformed name of a curve"
		}
		return name, ""
	case params.PeekASN1Tag(asn1.SEQUENCE):
		var domain ecDomain
		if !domain.read(params) {
			return "", "malformed parameters of a curve, or of one that is not over a prime field"
		}
		for _, name = range namedCurves {
			if domain.is(namedCurve(name)) {
				return name, ""
			}
		}
		return "", "the parameters of the curve are not those of one that is known"
	}
	return "", "the curve is not named"
}

// An ecDomain are the parameters of a curve over a prime field (SEC 1, Appendix
// C.2).
type ecDomain struct {
	p, order, cofactor *big.Int
	a, b, base         []byte
}

// read reads a SpecifiedECDomain, or ECParameters of RFC 3279, Section 2.3.5:
//
//	SEQUENCE {
//	  version INTEGER,
//	  fieldID SEQUENCE { fieldType OBJECT IDENTIFIER, parameters ANY },
//	  curve SEQUENCE { a, b OCTET STRING, seed BIT STRING OPTIONAL },
//	  base OCTET STRING,
//	  order INTEGER,
//	  cofactor INTEGER OPTIONAL }
//
// The cofactor has to be there, as all else that tells curves apart.
func (d *ecDomain) read(params cryptobyte.String) bool {
	const primeField oid.OID = "1.2.840.10045.1.1"
	var seq, field, curve cryptobyte.String
	var version int64
	var fieldType oid.OID
	d.p, d.order, d.cofactor = new(big.Int), new(big.Int), new(big.Int)
	return params.ReadASN1(&seq, asn1.SEQUENCE) && params.Empty() &&
		seq.ReadASN1Integer(&version) && version >= 1 && version <= 3 &&
		seq.ReadASN1(&field, asn1.SEQUENCE) && der.ReadOID(&field, &fieldType) && fieldType == primeField &&
		field.ReadASN1Integer(d.p) && field.Empty() &&
		seq.ReadASN1(&curve, asn1.SEQUENCE) &&
		curve.ReadASN1((*cryptobyte.String)(&d.a), asn1.OCTET_STRING) &&
		curve.ReadASN1((*cryptobyte.String)(&d.b), asn1.OCTET_STRING) &&
		// The seed tells where b came from, and nothing is computed with it.
		curve.SkipOptionalASN1(asn1.BIT_STRING) && curve.Empty() &&
		seq.ReadASN1((*cryptobyte.String)(&d.base), asn1.OCTET_STRING) &&
		seq.ReadASN1Integer(d.order) && seq.ReadASN1Integer(d.cofactor) && seq.Empty()
}

// is reports whether d are the parameters of a curve, all of which have the
// cofactor 1.
func (d *ecDomain) is(curve elliptic.Curve) bool {
	params := curve.Params()
	g := uncompressed(curve, params.Gx, params.Gy)
	short := append([]byte{2 + byte(params.Gy.Bit(0))}, g[1:1+len(g)/2]...)
	if d.p.Cmp(params.P) != 0 || d.order.Cmp(params.N) != 0 || d.cofactor.Cmp(big.NewInt(1)) != 0 ||
		!bytes.Equal(d.base, g) && !bytes.Equal(d.base, short) {
		return false
	}
	// QUIRK: a and b are field elements of full length (SEC 1, Section 2.3.5);
	// some writers leave out leading zeros.
	size := (params.BitSize + 7) / 8
	if len(d.a) > size || len(d.b) > size {
		return false
	}
	a, b := new(big.Int).SetBytes(d.a), new(big.Int).SetBytes(d.b)
	if a.Cmp(params.P) >= 0 || b.Cmp(params.P) >= 0 {
		return false
	}
	// Two points with different x determine a and b.
	//lint:ignore SA1019 no other package does it for all of these curves
	x2, y2 := curve.Double(params.Gx, params.Gy)
	return onCurve(params.P, a, b, params.Gx, params.Gy) && onCurve(params.P, a, b, x2, y2)
}

// onCurve reports whether y² = x³ + ax + b modulo p.
func onCurve(p, a, b, x, y *big.Int) bool {
	right := new(big.Int).Mul(x, x)
	right.Add(right, a).Mul(right, x).Add(right, b).Sub(right, new(big.Int).Mul(y, y))
	return right.Mod(right, p).Sign() == 0
}

// uncompressed returns a point as octets (SEC 1, Section 2.3.3).
func uncompressed(curve elliptic.Curve, x, y *big.Int) []byte {
	size := (curve.Params().BitSize + 7) / 8
	out := make([]byte, 1+2*size)
	out[0] = 4
	x.FillBytes(out[1 : 1+size])
	y.FillBytes(out[1+size:])
	return out
}
