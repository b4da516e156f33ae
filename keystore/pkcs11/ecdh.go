package pkcs11

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/subtle"
	"errors"
	"io"

	"github.com/postseal/postseal/internal/alg"
)

// errPeer says that a public key is for another curve, or gives no secret.
var errPeer = errors.New("pkcs11: the public key does not go with this key")

// An X25519Key is an X25519 key on a token. It implements [ecdh.KeyExchanger].
type X25519Key struct {
	*key
	public *ecdh.PublicKey
}

// Curve implements ecdh.KeyExchanger.
func (k *ECKey) Curve() ecdh.Curve { return k.point.Curve() }

// PublicKey implements ecdh.KeyExchanger.
func (k *ECKey) PublicKey() *ecdh.PublicKey { return k.point }

// ECDH implements ecdh.KeyExchanger: the x coordinate of the shared point (RFC
// 5753, Section 7.1). The error is a [*KeyError] if the key could not be used.
func (k *ECKey) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	return k.agree(k.Curve(), remote, (k.public.Params().BitSize+7)/8)
}

// Curve implements ecdh.KeyExchanger.
func (k *X25519Key) Curve() ecdh.Curve { return ecdh.X25519() }

// PublicKey implements ecdh.KeyExchanger.
func (k *X25519Key) PublicKey() *ecdh.PublicKey { return k.public }

// ECDH implements ecdh.KeyExchanger (RFC 7748, Section 6.1). The error is a
// [*KeyError] if the key could not be used.
func (k *X25519Key) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	secret, err := k.agree(ecdh.X25519(), remote, 32)
	// RFC 7748, Section 6.1: the all-zero value is not a secret.
	if err == nil && subtle.ConstantTimeCompare(secret, make([]byte, 32)) == 1 {
		return nil, errPeer
	}
	return secret, err
}

// A BrainpoolKey is a key on a token for a curve of RFC 5639, which crypto/ecdh
// does not have. It implements [crypto.Signer] as an [ECKey] does.
type BrainpoolKey struct {
	*key
	public *ecdsa.PublicKey
}

// Sign implements crypto.Signer: see [ECKey.Sign].
func (k *BrainpoolKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signECDSA(k.public, digest, opts)
}

// AgreeWith returns the x coordinate of the point that is shared with the owner
// of a point (RFC 5753, Section 7.1), which is uncompressed or compressed. The
// error is a [*KeyError] if the key could not be used.
func (k *BrainpoolKey) AgreeWith(public []byte) ([]byte, error) {
	// A point that is not on the curve would tell about the key.
	peer, err := alg.BrainpoolPoint(k.public.Curve, public)
	if err != nil {
		return nil, errPeer
	}
	return k.agreePoint(alg.BrainpoolBytes(peer), (k.public.Params().BitSize+7)/8)
}

// agree computes a secret of size octets.
func (k *key) agree(curve ecdh.Curve, remote *ecdh.PublicKey, size int) ([]byte, error) {
	if remote == nil || remote.Curve() != curve {
		return nil, errPeer
	}
	return k.agreePoint(remote.Bytes(), size)
}

// agreePoint is agree with a point that is known to be on the curve.
func (k *key) agreePoint(point []byte, size int) ([]byte, error) {
	forms := [][]byte{point, append(octetsHeader(len(point)), point...)}
	var secret []byte
	err := k.run(func(s *session, o object) error {
		var err error
		// PKCS #11 takes the point as it is; some tokens want an OCTET STRING.
		for _, form := range forms {
			if secret, err = k.t.mod.api.Agree(s.h, o, form, size); !mechanismRefused(err) {
				break
			}
		}
		return called("C_DeriveKey", err)
	})
	if err != nil {
		return nil, err
	}
	if len(secret) > size {
		return nil, k.t.keyError(&ModuleError{Function: "C_DeriveKey", Text: "a secret that is too long"})
	}
	return leftPad(secret, size), nil
}
