package alg

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/subtle"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// PSSParams are RSASSA-PSS-params (RFC 4055, Section 3.1).
type PSSParams struct {
	Digest Digest
	MGF    Digest // the hash of MGF1
	Salt   int    // in octets
}

// maxSalt bounds salt lengths; the largest key that Go takes has 2,048 octets.
const maxSalt = 4096

func defaultHash() Digest { d, _ := DigestByHash(crypto.SHA1); return d }

// ParsePSS reads RSASSA-PSS-params. Absent parameters are the defaults of RFC
// 4055: SHA-1, MGF1 with SHA-1, 20 octets of salt.
func ParsePSS(params []byte) (PSSParams, error) {
	p := PSSParams{Digest: defaultHash(), MGF: defaultHash(), Salt: 20}
	if len(params) == 0 || bytes.Equal(params, []byte{5, 0}) {
		return p, nil
	}
	s := cryptobyte.String(params)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() {
		return p, ErrParameters
	}
	var err error
	if p.Digest, p.MGF, err = readHashes(&seq); err != nil {
		return p, err
	}
	trailer := 1
	if !seq.ReadOptionalASN1Integer(&p.Salt, der.Context(2, true), 20) ||
		!seq.ReadOptionalASN1Integer(&trailer, der.Context(3, true), 1) || !seq.Empty() ||
		p.Salt < 0 || p.Salt > maxSalt || trailer != 1 { // RFC 4055, Section 3.1: the trailer field MUST be 1
		return p, ErrParameters
	}
	return p, nil
}

// readHashes reads the [0] hashAlgorithm and [1] maskGenAlgorithm that
// RSASSA-PSS-params and RSAES-OAEP-params begin with.
func readHashes(seq *cryptobyte.String) (hash, mgf Digest, err error) {
	hash, mgf = defaultHash(), defaultHash()
	var field cryptobyte.String
	var has, ok bool
	var a der.Algorithm
	if !seq.ReadOptionalASN1(&field, &has, der.Context(0, true)) {
		return hash, mgf, ErrParameters
	}
	if has {
		if !der.ReadAlgorithm(&field, &a) || !field.Empty() {
			return hash, mgf, ErrParameters
		}
		if hash, ok = DigestByOID(a.OID); !ok || !hash.Standard() {
			return hash, mgf, ErrUnknown
		}
	}
	if !seq.ReadOptionalASN1(&field, &has, der.Context(1, true)) {
		return hash, mgf, ErrParameters
	}
	if !has {
		return hash, mgf, nil
	}
	if !der.ReadAlgorithm(&field, &a) || !field.Empty() {
		return hash, mgf, ErrParameters
	}
	if a.OID != oid.MGF1 {
		return hash, mgf, ErrUnknown
	}
	params := cryptobyte.String(a.Parameters)
	if !der.ReadAlgorithm(&params, &a) || !params.Empty() {
		return hash, mgf, ErrParameters
	}
	if mgf, ok = DigestByOID(a.OID); !ok || !mgf.Standard() {
		return hash, mgf, ErrUnknown
	}
	return hash, mgf, nil
}

// addHashes is the inverse of readHashes; defaults are left out, as DER asks.
func addHashes(b *der.Builder, hash, mgf Digest) {
	if hash.OID != oid.SHA1 {
		b.AddASN1(der.Context(0, true), func(b *der.Builder) { der.AddAlgorithm(b, der.WithNull(hash.OID)) })
	}
	if mgf.OID != oid.SHA1 {
		b.AddASN1(der.Context(1, true), func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				der.AddOID(b, oid.MGF1)
				der.AddAlgorithm(b, der.WithNull(mgf.OID))
			})
		})
	}
}

func (p PSSParams) algorithm() (der.Algorithm, error) {
	params, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			addHashes(b, p.Digest, p.MGF)
			if p.Salt != 20 {
				b.AddASN1(der.Context(2, true), func(b *der.Builder) { b.AddASN1Int64(int64(p.Salt)) })
			}
		})
	})
	return der.Algorithm{OID: oid.RSAPSS, Parameters: params}, err
}

// verify is RSASSA-PSS-VERIFY (RFC 8017, Section 8.1.2).
func (p PSSParams) verify(pub *rsa.PublicKey, digest, signature []byte) bool {
	if p.Digest.Hash == p.MGF.Hash && p.Salt > 0 {
		opts := &rsa.PSSOptions{SaltLength: p.Salt, Hash: p.Digest.Hash}
		return rsa.VerifyPSS(pub, p.Digest.Hash, digest, signature, opts) == nil
	}
	return p.verifyMixed(pub, digest, signature)
}

// verifyMixed is for what crypto/rsa cannot do: an MGF1 with another hash, and
// an empty salt, which crypto/rsa takes for "find out". The arithmetic is on
// public values only.
func (p PSSParams) verifyMixed(pub *rsa.PublicKey, digest, signature []byte) bool {
	if pub.N.BitLen() < 1024 || pub.N.BitLen() > 16384 || pub.E < 3 || len(signature) != pub.Size() {
		return false
	}
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(pub.N) >= 0 {
		return false
	}
	emBits := pub.N.BitLen() - 1
	emLen := (emBits + 7) / 8
	m := s.Exp(s, big.NewInt(int64(pub.E)), pub.N)
	if m.BitLen() > emLen*8 {
		return false
	}
	em := m.FillBytes(make([]byte, emLen))
	// RFC 8017, Section 9.1.2.
	hLen := p.Digest.Hash.Size()
	if len(digest) != hLen || emLen < hLen+p.Salt+2 || em[emLen-1] != 0xbc {
		return false
	}
	db, h := em[:emLen-hLen-1], em[emLen-hLen-1:emLen-1]
	topMask := byte(0xff >> (8*emLen - emBits))
	if db[0]&^topMask != 0 {
		return false
	}
	mgf1XOR(db, p.MGF, h)
	db[0] &= topMask
	pad := db[:len(db)-p.Salt-1]
	for _, c := range pad {
		if c != 0 {
			return false
		}
	}
	if db[len(pad)] != 1 {
		return false
	}
	sum := p.Digest.New()
	sum.Write(make([]byte, 8))
	sum.Write(digest)
	sum.Write(db[len(pad)+1:])
	return subtle.ConstantTimeCompare(sum.Sum(nil), h) == 1
}

// mgf1XOR is MGF1 of RFC 8017, Appendix B.2.1, combined with out.
func mgf1XOR(out []byte, d Digest, seed []byte) {
	var counter [4]byte
	h := d.New()
	for len(out) > 0 {
		h.Reset()
		h.Write(seed)
		h.Write(counter[:])
		mask := h.Sum(nil)
		n := subtle.XORBytes(out, out[:min(len(out), len(mask))], mask)
		out = out[n:]
		for i := 3; i >= 0; i-- {
			counter[i]++
			if counter[i] != 0 {
				break
			}
		}
	}
}
