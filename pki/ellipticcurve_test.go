package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"math/big"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A domainSpec is an ecDomain that is to be written.
type domainSpec struct {
	version        int64
	field          oid.OID
	p, a, b, order *big.Int
	base, seed     []byte
	cofactor       *big.Int
}

// newDomainSpec takes a from p - 3 or from the points G and 2G, and b from G.
func newDomainSpec(curve elliptic.Curve) *domainSpec {
	params := curve.Params()
	p := params.P
	rest := func(x, y *big.Int) *big.Int { // y² - x³
		out := new(big.Int).Exp(x, big.NewInt(3), p)
		return out.Sub(new(big.Int).Mul(y, y), out)
	}
	//lint:ignore SA1019 no other package does it for all of these curves
	x2, y2 := curve.Double(params.Gx, params.Gy)
	slope := new(big.Int).Sub(params.Gx, x2)
	a := new(big.Int).ModInverse(slope.Mod(slope, p), p)
	a.Mul(a, new(big.Int).Sub(rest(params.Gx, params.Gy), rest(x2, y2)))
	a.Mod(a, p)
	b := new(big.Int).Sub(rest(params.Gx, params.Gy), new(big.Int).Mul(a, params.Gx))
	return &domainSpec{
		version: 1, field: "1.2.840.10045.1.1", p: p, a: a, b: b.Mod(b, p), order: params.N,
		base: uncompressed(curve, params.Gx, params.Gy), cofactor: big.NewInt(1),
	}
}

func (d *domainSpec) write(t *testing.T) []byte {
	t.Helper()
	size := (d.p.BitLen() + 7) / 8
	return encSeq(t, func(b *der.Builder) {
		b.AddASN1Int64(d.version)
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddOID(b, d.field)
			b.AddASN1BigInt(d.p)
		})
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1OctetString(d.a.FillBytes(make([]byte, max(size, (d.a.BitLen()+7)/8))))
			b.AddASN1OctetString(d.b.FillBytes(make([]byte, max(size, (d.b.BitLen()+7)/8))))
			if d.seed != nil {
				b.AddASN1BitString(d.seed)
			}
		})
		b.AddASN1OctetString(d.base)
		b.AddASN1BigInt(d.order)
		if d.cofactor != nil {
			b.AddASN1BigInt(d.cofactor)
		}
	})
}

// somePoint is 5G, compressed or not.
func somePoint(curve elliptic.Curve) (full, short []byte) {
	//lint:ignore SA1019 no other package does it for all of these curves
	x, y := curve.ScalarBaseMult([]byte{5})
	full = uncompressed(curve, x, y)
	return full, append([]byte{2 + byte(y.Bit(0))}, full[1:1+len(full)/2]...)
}

func TestExplicitCurves(t *testing.T) {
	one := big.NewInt(1)
	for _, name := range namedCurves {
		curve := namedCurve(name)
		full, short := somePoint(curve)
		_, want, err := parsePublicKey(spki(t, der.Algorithm{OID: oid.EC, Parameters: named(t, name)}, full))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		params := curve.Params()
		//lint:ignore SA1019 no other package does it for all of these curves
		x2, y2 := curve.Double(params.Gx, params.Gy)
		minusY := new(big.Int).Sub(params.P, params.Gy)
		generator := uncompressed(curve, params.Gx, params.Gy)
		for what, c := range map[string]struct {
			change func(d *domainSpec)
			good   bool
		}{
			"as it is":    {func(*domainSpec) {}, true},
			"version 3":   {func(d *domainSpec) { d.version = 3 }, true},
			"a seed":      {func(d *domainSpec) { d.seed = make([]byte, 20) }, true},
			"no cofactor": {func(d *domainSpec) { d.cofactor = nil }, false},
			"a compressed generator": {func(d *domainSpec) {
				d.base = append([]byte{2 + byte(params.Gy.Bit(0))}, generator[1:1+len(generator)/2]...)
			}, true},
			"version 0":                {func(d *domainSpec) { d.version = 0 }, false},
			"another generator":        {func(d *domainSpec) { d.base = uncompressed(curve, x2, y2) }, false},
			"the point as generator":   {func(d *domainSpec) { d.base = full }, false},
			"the generator's negative": {func(d *domainSpec) { d.base = uncompressed(curve, params.Gx, minusY) }, false},
			"its sign wrong": {func(d *domainSpec) {
				d.base = append([]byte{2 + byte(minusY.Bit(0))}, generator[1:1+len(generator)/2]...)
			}, false},
			"no generator":     {func(d *domainSpec) { d.base = nil }, false},
			"cofactor 0":       {func(d *domainSpec) { d.cofactor = new(big.Int) }, false},
			"cofactor 2":       {func(d *domainSpec) { d.cofactor = big.NewInt(2) }, false},
			"cofactor -1":      {func(d *domainSpec) { d.cofactor = big.NewInt(-1) }, false},
			"another order":    {func(d *domainSpec) { d.order = new(big.Int).Add(d.order, one) }, false},
			"a negative order": {func(d *domainSpec) { d.order = new(big.Int).Neg(d.order) }, false},
			"another a":        {func(d *domainSpec) { d.a = new(big.Int).Sub(d.a, one) }, false},
			"another b":        {func(d *domainSpec) { d.b = new(big.Int).Sub(d.b, one) }, false},
			"a + p":            {func(d *domainSpec) { d.a = new(big.Int).Add(d.a, d.p) }, false},
			"another prime":    {func(d *domainSpec) { d.p = new(big.Int).Add(d.p, big.NewInt(2)) }, false},
			"a binary field":   {func(d *domainSpec) { d.field = "1.2.840.10045.1.2" }, false},
		} {
			d := newDomainSpec(curve)
			c.change(d)
			a := der.Algorithm{OID: oid.EC, Parameters: d.write(t)}
			for _, point := range [][]byte{full, short} {
				_, key, parseErr := parsePublicKey(spki(t, a, point))
				var keyErr *KeyError
				got, isEC := key.(*ecdsa.PublicKey)
				switch {
				case c.good && (parseErr != nil || !isEC || !got.Equal(want) || got.Curve != curve):
					t.Errorf("%s, %s: %v", name, what, parseErr)
				case !c.good && (key != nil || !errors.As(parseErr, &keyErr) || keyErr.OID != oid.EC):
					t.Errorf("%s, %s: %T, %v", name, what, key, parseErr)
				}
			}
		}
	}
}

func TestBrainpoolPoints(t *testing.T) {
	for _, name := range namedCurves {
		curve := namedCurve(name)
		full, short := somePoint(curve)
		a := der.Algorithm{OID: oid.EC, Parameters: named(t, name)}
		_, want, err := parsePublicKey(spki(t, a, full))
		_, got, shortErr := parsePublicKey(spki(t, a, short))
		if err != nil || shortErr != nil || !want.(*ecdsa.PublicKey).Equal(got) {
			t.Errorf("%s: %v, %v", name, err, shortErr)
		}
		bad := slices.Clone(full)
		bad[len(bad)-1] ^= 1
		for what, point := range map[string][]byte{
			"not on the curve": bad, "infinity": {0}, "empty": {}, "too short": full[:len(full)-1], "too long": append(slices.Clone(full), 0),
			"hybrid": append([]byte{6 + full[len(full)-1]&1}, full[1:]...),
		} {
			if _, key, pointErr := parsePublicKey(spki(t, a, point)); key != nil || !errors.As(pointErr, new(*KeyError)) {
				t.Errorf("%s, %s: %v", name, what, pointErr)
			}
		}
	}
	for name := range otherCurves {
		_, key, err := parsePublicKey(spki(t, der.Algorithm{OID: oid.EC, Parameters: named(t, name)}, make([]byte, 65)))
		if key != nil || !errors.As(err, new(*KeyError)) {
			t.Errorf("%s: %T, %v", name, key, err)
		}
	}
}

// TestCofactorOfCurves holds is to what it says about the cofactor.
func TestCofactorOfCurves(t *testing.T) {
	for _, name := range namedCurves {
		params := namedCurve(name).Params()
		// By Hasse's bound the number of points is that of the field, up to 2√p.
		bound := new(big.Int).Sqrt(params.P)
		diff := new(big.Int).Sub(params.P, params.N)
		if diff.Abs(diff).Cmp(bound.Lsh(bound, 1).Add(bound, big.NewInt(2))) > 0 {
			t.Errorf("%s does not have the cofactor 1", name)
		}
		if _, brainpool := alg.BrainpoolName(namedCurve(name)); brainpool != (namedCurve(name) != nil && !slices.Contains(namedCurves[:4], name)) {
			t.Errorf("%s is on the wrong list", name)
		}
	}
}
