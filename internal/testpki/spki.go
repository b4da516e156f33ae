package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// spkiOf returns the SubjectPublicKeyInfo of a key.
func spkiOf(public crypto.PublicKey, kind KeyType) ([]byte, error) {
	if key, ok := public.(*rsa.PublicKey); ok && kind == RSAPSS2048 {
		return der.Marshal(func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				// RFC 4055, Section 1.2: without parameters, any may be used.
				der.AddAlgorithm(b, der.Algorithm{OID: oid.RSAPSS})
				b.AddASN1BitString(x509.MarshalPKCS1PublicKey(key))
			})
		})
	}
	return x509.MarshalPKIXPublicKey(public)
}

// withKey changes the SubjectPublicKeyInfo in a certificate and signs anew.
// crypto/x509 cannot write the keys of some types.
func withKey(raw, spki []byte, signer crypto.Signer) ([]byte, error) {
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	tbs, err := replaceField(cert.RawTBSCertificate, cert.RawSubjectPublicKeyInfo, spki)
	if err != nil {
		return nil, err
	}
	signature, err := signTBS(tbs, signer)
	if err != nil {
		return nil, err
	}
	input := cryptobyte.String(raw)
	var alg cryptobyte.String
	if !input.ReadASN1(&input, asn1.SEQUENCE) || !input.SkipASN1(asn1.SEQUENCE) ||
		!input.ReadASN1Element(&alg, asn1.SEQUENCE) {
		return nil, errShape
	}
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddBytes(tbs)
			b.AddBytes(alg)
			b.AddASN1BitString(signature)
		})
	})
}

// replaceField returns the SEQUENCE seq with its element old replaced.
func replaceField(seq, old, replacement []byte) ([]byte, error) {
	s := cryptobyte.String(seq)
	if !s.ReadASN1(&s, asn1.SEQUENCE) {
		return nil, errShape
	}
	var fields [][]byte
	found := false
	for !s.Empty() {
		var field cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1Element(&field, &tag) {
			return nil, errShape
		}
		if string(field) == string(old) {
			field, found = replacement, true
		}
		fields = append(fields, field)
	}
	if !found {
		return nil, errShape
	}
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			for _, f := range fields {
				b.AddBytes(f)
			}
		})
	})
}

// signTBS signs as x509.CreateCertificate does by default.
func signTBS(tbs []byte, signer crypto.Signer) ([]byte, error) {
	hash := crypto.SHA256
	switch key := signer.Public().(type) {
	case ed25519.PublicKey:
		return signer.Sign(rand.Reader, tbs, crypto.Hash(0))
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits > 384 {
			hash = crypto.SHA512
		} else if bits > 256 {
			hash = crypto.SHA384
		}
	}
	h := hash.New()
	h.Write(tbs)
	return signer.Sign(rand.Reader, h.Sum(nil), hash)
}
