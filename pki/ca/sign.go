package ca

import (
	"crypto"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
)

// algorithmOf returns how a key signs.
func algorithmOf(key crypto.PublicKey) (alg.Signature, der.Algorithm, error) {
	if checkKey(key) == nil {
		s, err := alg.SignatureFor(key, 0, false, 0)
		if err == nil {
			var a der.Algorithm
			if a, err = s.Algorithm(); err == nil {
				return s, a, nil
			}
		}
	}
	return alg.Signature{}, der.Algorithm{}, refuse("key", "cannot sign")
}

// signed returns SEQUENCE { tbs, signatureAlgorithm, signature }, and more after
// it, for what a certificate, a CRL or an OCSP response says.
func signed(key crypto.Signer, tbs []byte, more func(b *der.Builder)) ([]byte, error) {
	s, algorithm, err := algorithmOf(key.Public())
	if err != nil {
		return nil, err
	}
	var digest []byte
	if !s.Whole() {
		h := s.Digest.New()
		h.Write(tbs)
		digest = h.Sum(nil)
	}
	signature, err := s.Sign(key, tbs, digest)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddBytes(tbs)
			der.AddAlgorithm(b, algorithm)
			b.AddASN1BitString(signature)
			if more != nil {
				more(b)
			}
		})
	})
}
