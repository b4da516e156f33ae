package cms

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
)

// An exchange agrees on a secret with the owner of a public key, given as it
// stands in OriginatorPublicKey.
type exchange func(public []byte) (secret []byte, err error)

// exchanger returns the Diffie-Hellman side of a private key, or ErrNoMatch.
func exchanger(key crypto.PrivateKey) (exchange, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if _, ok := alg.BrainpoolName(k.Curve); ok {
			return func(public []byte) ([]byte, error) { return alg.BrainpoolECDH(k, public) }, nil
		}
		inner, err := k.ECDH()
		if err != nil {
			return nil, ErrNoMatch
		}
		return exchangeWith(inner), nil
	case ecdh.KeyExchanger:
		return exchangeWith(k), nil
	case interface {
		AgreeWith(public []byte) ([]byte, error)
	}:
		return k.AgreeWith, nil
	case *alg.X448PrivateKey:
		return func(public []byte) ([]byte, error) {
			peer, err := alg.NewX448PublicKey(public)
			if err != nil {
				return nil, err
			}
			return k.ECDH(peer)
		}, nil
	}
	return nil, ErrNoMatch
}

func exchangeWith(key ecdh.KeyExchanger) exchange {
	return func(public []byte) ([]byte, error) {
		peer, err := originatorKey(key.Curve(), public)
		if err != nil {
			return nil, err
		}
		return key.ECDH(peer)
	}
}

// originatorKey reads the sender's public key, on the recipient's curve: the
// curve that OriginatorPublicKey names, or leaves out (RFC 5753, Section 3.1.1),
// can be no other.
func originatorKey(curve ecdh.Curve, point []byte) (*ecdh.PublicKey, error) {
	if len(point) > 0 && (point[0] == 2 || point[0] == 3) && curve != ecdh.X25519() {
		c := map[ecdh.Curve]elliptic.Curve{ecdh.P256(): elliptic.P256(), ecdh.P384(): elliptic.P384(), ecdh.P521(): elliptic.P521()}[curve]
		if c == nil {
			return nil, ErrDecrypt
		}
		x, y := elliptic.UnmarshalCompressed(c, point)
		if x == nil {
			return nil, ErrDecrypt
		}
		size := (c.Params().BitSize + 7) / 8
		point = make([]byte, 1+2*size)
		point[0] = 4
		x.FillBytes(point[1 : 1+size])
		y.FillBytes(point[1+size:])
	}
	return curve.NewPublicKey(point)
}

// An ephemeral is how a sender agrees with the owner of a certificate.
type ephemeral struct {
	algorithm OID         // of the key
	hash      crypto.Hash // of the key derivation, by default
	hkdf      bool        // RFC 8418; else RFC 5753
	agree     func() (public, secret []byte, err error)
}

// ephemeralTo returns how to agree with the owner of a public key. It reports
// false for keys that are of another kind.
func ephemeralTo(pub crypto.PublicKey) (ephemeral, bool) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		e := ephemeral{algorithm: oid.EC, hash: crypto.SHA256}
		switch bits := k.Params().BitSize; {
		case bits > 384:
			e.hash = crypto.SHA512
		case bits > 256:
			e.hash = crypto.SHA384
		}
		if _, ok := alg.BrainpoolName(k.Curve); ok {
			e.agree = func() (public, secret []byte, err error) { return agreeBrainpool(k) }
			return e, true
		}
		peer, err := k.ECDH()
		if err != nil {
			return e, false
		}
		e.agree = func() (public, secret []byte, err error) { return agreeECDH(peer) }
		return e, true
	case *ecdh.PublicKey:
		e := ephemeral{algorithm: oid.X25519, hash: crypto.SHA256, hkdf: true}
		if k.Curve() != ecdh.X25519() {
			return e, false // certificates have these as *ecdsa.PublicKey
		}
		e.agree = func() (public, secret []byte, err error) { return agreeECDH(k) }
		return e, true
	case *alg.X448PublicKey:
		// RFC 8418, Section 3.1.
		e := ephemeral{algorithm: oid.X448, hash: crypto.SHA512, hkdf: true}
		e.agree = func() (public, secret []byte, err error) {
			mine := alg.GenerateX448Key()
			own, ok := mine.Public().(*alg.X448PublicKey)
			if !ok {
				return nil, nil, ErrDecrypt
			}
			secret, err = mine.ECDH(k)
			return own.Bytes(), secret, err
		}
		return e, true
	}
	return ephemeral{}, false
}

func agreeECDH(peer *ecdh.PublicKey) (public, secret []byte, err error) {
	mine, err := peer.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	secret, err = mine.ECDH(peer)
	return mine.PublicKey().Bytes(), secret, err
}

func agreeBrainpool(peer *ecdsa.PublicKey) (public, secret []byte, err error) {
	mine, err := ecdsa.GenerateKey(peer.Curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	secret, err = alg.BrainpoolECDH(mine, alg.BrainpoolBytes(peer))
	return alg.BrainpoolBytes(&mine.PublicKey), secret, err
}
