package alg

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"

	"github.com/ProtonMail/go-crypto/brainpool"

	"github.com/postseal/postseal/internal/oid"
)

// BrainpoolCurve returns the curve of RFC 5639 with the given name. Its
// arithmetic takes times that depend on the numbers: it is for what others
// made.
func BrainpoolCurve(name oid.OID) (elliptic.Curve, bool) {
	switch name {
	case oid.BrainpoolP256r1:
		return brainpool.P256r1(), true
	case oid.BrainpoolP256t1:
		return brainpool.P256t1(), true
	case oid.BrainpoolP384r1:
		return brainpool.P384r1(), true
	case oid.BrainpoolP384t1:
		return brainpool.P384t1(), true
	case oid.BrainpoolP512r1:
		return brainpool.P512r1(), true
	case oid.BrainpoolP512t1:
		return brainpool.P512t1(), true
	}
	return nil, false
}

// BrainpoolName returns the name of a curve of RFC 5639.
func BrainpoolName(curve elliptic.Curve) (oid.OID, bool) {
	for _, o := range []oid.OID{
		oid.BrainpoolP256r1, oid.BrainpoolP256t1, oid.BrainpoolP384r1,
		oid.BrainpoolP384t1, oid.BrainpoolP512r1, oid.BrainpoolP512t1,
	} {
		if c, _ := BrainpoolCurve(o); c == curve {
			return o, true
		}
	}
	return "", false
}

// BrainpoolPoint reads a point, uncompressed or compressed (SEC 1, Section
// 2.3.4). One that is not on the curve is ErrParameters.
func BrainpoolPoint(curve elliptic.Curve, octets []byte) (*ecdsa.PublicKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	p := curve.Params().P
	if len(octets) == 0 {
		return nil, ErrParameters
	}
	x, y := new(big.Int), new(big.Int)
	switch {
	case octets[0] == 4 && len(octets) == 1+2*size:
		x.SetBytes(octets[1 : 1+size])
		y.SetBytes(octets[1+size:])
	case (octets[0] == 2 || octets[0] == 3) && len(octets) == 1+size:
		x.SetBytes(octets[1:])
		if x.Cmp(p) >= 0 || !brainpoolRoot(curve, x, y, uint(octets[0]&1)) {
			return nil, ErrParameters
		}
	default:
		return nil, ErrParameters
	}
	//lint:ignore SA1019 no other package has these curves
	if x.Cmp(p) >= 0 || y.Cmp(p) >= 0 || !curve.IsOnCurve(x, y) {
		return nil, ErrParameters
	}
	//lint:ignore SA1019 no other package has these curves
	return &ecdsa.PublicKey{Curve: curve, X: x, Y: y}, nil
}

// brainpoolRoot finds the y of a point from its x. The coefficients of the
// curve's equation, y² = x³ + ax + b, follow from two of its points.
func brainpoolRoot(curve elliptic.Curve, x, y *big.Int, odd uint) bool {
	params := curve.Params()
	p := params.P
	rest := func(x, y *big.Int) *big.Int { // y² - x³
		cube := new(big.Int).Exp(x, big.NewInt(3), p)
		return cube.Sub(new(big.Int).Mul(y, y), cube)
	}
	//lint:ignore SA1019 no other package has these curves
	x2, y2 := curve.Double(params.Gx, params.Gy)
	a := new(big.Int).Sub(params.Gx, x2)
	a.ModInverse(a.Mod(a, p), p)
	a.Mul(a, new(big.Int).Sub(rest(params.Gx, params.Gy), rest(x2, y2)))
	b := new(big.Int).Sub(rest(params.Gx, params.Gy), new(big.Int).Mul(a, params.Gx))
	square := new(big.Int).Exp(x, big.NewInt(3), p)
	square.Add(square, a.Mul(a, x)).Add(square, b).Mod(square, p)
	if y.ModSqrt(square, p) == nil {
		return false
	}
	if y.Bit(0) != odd {
		y.Sub(p, y)
	}
	return true
}

// NewBrainpoolKey returns the private key of a number. One that is out of range
// is ErrParameters.
func NewBrainpoolKey(curve elliptic.Curve, secret []byte) (*ecdsa.PrivateKey, error) {
	d := new(big.Int).SetBytes(secret)
	if d.Sign() <= 0 || d.Cmp(curve.Params().N) >= 0 {
		return nil, ErrParameters
	}
	//lint:ignore SA1019 no other package has these curves
	key := &ecdsa.PrivateKey{D: d}
	key.Curve = curve
	//lint:ignore SA1019 no other package has these curves
	key.X, key.Y = curve.ScalarBaseMult(d.Bytes())
	return key, nil
}

// BrainpoolECDH agrees on a secret with the owner of a point: the x coordinate
// (RFC 5753, Section 7.1; the cofactor is 1).
func BrainpoolECDH(key *ecdsa.PrivateKey, point []byte) ([]byte, error) {
	peer, err := BrainpoolPoint(key.Curve, point)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 no other package has these curves
	x, y := key.Curve.ScalarMult(peer.X, peer.Y, key.D.Bytes())
	if x.Sign() == 0 && y.Sign() == 0 {
		return nil, ErrParameters
	}
	return x.FillBytes(make([]byte, (key.Curve.Params().BitSize+7)/8)), nil
}

// BrainpoolBytes returns a point, uncompressed.
func BrainpoolBytes(key *ecdsa.PublicKey) []byte {
	size := (key.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 1+2*size)
	out[0] = 4
	//lint:ignore SA1019 no other package has these curves
	key.X.FillBytes(out[1 : 1+size])
	//lint:ignore SA1019 no other package has these curves
	key.Y.FillBytes(out[1+size:])
	return out
}
