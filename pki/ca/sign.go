package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"

	"golang.org/x/crypto/cryptobyte"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// algorithmOf returns how a key signs.
func algorithmOf(key crypto.PublicKey) (der.Algorithm, crypto.Hash, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return der.WithNull(oid.SHA256WithRSA), crypto.SHA256, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return der.Algorithm{OID: oid.ECDSAWithSHA256}, crypto.SHA256, nil
		case elliptic.P384():
			return der.Algorithm{OID: oid.ECDSAWithSHA384}, crypto.SHA384, nil
		case elliptic.P521():
			return der.Algorithm{OID: oid.ECDSAWithSHA512}, crypto.SHA512, nil
		}
	case ed25519.PublicKey:
		return der.Algorithm{OID: oid.Ed25519}, 0, nil
	}
	return der.Algorithm{}, 0, refuse("key", "cannot sign")
}

// sign signs what a certificate, a CRL or an OCSP response says.
func sign(key crypto.Signer, tbs []byte) ([]byte, error) {
	_, hash, err := algorithmOf(key.Public())
	if err != nil {
		return nil, err
	}
	digest := tbs
	if hash != 0 {
		h := hash.New()
		h.Write(tbs)
		digest = h.Sum(nil)
	}
	return key.Sign(rand.Reader, digest, hash)
}

// signed returns SEQUENCE { tbs, signatureAlgorithm, signature }, and more after
// it.
func signed(key crypto.Signer, tbs []byte, more func(b *cryptobyte.Builder)) ([]byte, error) {
	algorithm, _, err := algorithmOf(key.Public())
	if err != nil {
		return nil, err
	}
	signature, err := sign(key, tbs)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			b.AddBytes(tbs)
			der.AddAlgorithm(b, algorithm)
			b.AddASN1BitString(signature)
			if more != nil {
				more(b)
			}
		})
	})
}
