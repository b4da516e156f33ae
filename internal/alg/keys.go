package alg

import (
	"bytes"
	"crypto"
	"crypto/hkdf"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/keywrap"
	"github.com/postseal/postseal/internal/oid"
)

// OAEP are RSAES-OAEP-params (RFC 4055, Section 4.1).
type OAEP struct {
	Digest Digest
	MGF    Digest
	Label  []byte
}

// ParseOAEP reads RSAES-OAEP-params. Absent parameters are the defaults of RFC
// 4055: SHA-1, MGF1 with SHA-1, an empty label.
func ParseOAEP(params []byte) (OAEP, error) {
	p := OAEP{Digest: defaultHash(), MGF: defaultHash()}
	if len(params) == 0 || bytes.Equal(params, []byte{5, 0}) {
		return p, nil
	}
	s := cryptobyte.String(params)
	var seq, field cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() {
		return p, ErrParameters
	}
	var err error
	if p.Digest, p.MGF, err = readHashes(&seq); err != nil {
		return p, err
	}
	var has bool
	if !seq.ReadOptionalASN1(&field, &has, der.Context(2, true)) || !seq.Empty() {
		return p, ErrParameters
	}
	if !has {
		return p, nil
	}
	var a der.Algorithm
	if !der.ReadAlgorithm(&field, &a) || !field.Empty() {
		return p, ErrParameters
	}
	if a.OID != oid.PSource {
		return p, ErrUnknown
	}
	label := cryptobyte.String(a.Parameters)
	if !label.ReadASN1Bytes(&p.Label, asn1.OCTET_STRING) || !label.Empty() {
		return p, ErrParameters
	}
	return p, nil
}

// Algorithm returns the AlgorithmIdentifier.
func (p OAEP) Algorithm() (der.Algorithm, error) {
	params, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			addHashes(b, p.Digest, p.MGF)
			if len(p.Label) > 0 {
				b.AddASN1(der.Context(2, true), func(b *der.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
						der.AddOID(b, oid.PSource)
						b.AddASN1OctetString(p.Label)
					})
				})
			}
		})
	})
	return der.Algorithm{OID: oid.RSAES, Parameters: params}, err
}

// An Agreement is a key agreement scheme of RFC 5753 or RFC 8418.
type Agreement struct {
	Name string
	OID  oid.OID
	Hash crypto.Hash
	HKDF bool // RFC 8418; else the X9.63 KDF of RFC 5753
}

var agreements = map[oid.OID]Agreement{
	oid.ECDHSHA1KDF:   {"ECDH with X9.63 sha1", oid.ECDHSHA1KDF, crypto.SHA1, false},
	oid.ECDHSHA224KDF: {"ECDH with X9.63 sha224", oid.ECDHSHA224KDF, crypto.SHA224, false},
	oid.ECDHSHA256KDF: {"ECDH with X9.63 sha256", oid.ECDHSHA256KDF, crypto.SHA256, false},
	oid.ECDHSHA384KDF: {"ECDH with X9.63 sha384", oid.ECDHSHA384KDF, crypto.SHA384, false},
	oid.ECDHSHA512KDF: {"ECDH with X9.63 sha512", oid.ECDHSHA512KDF, crypto.SHA512, false},
	// The NIST curves have cofactor 1: cofactor and plain Diffie-Hellman are
	// the same (RFC 5753, Section 7.1.4).
	oid.ECCHSHA1KDF:   {"cofactor ECDH with X9.63 sha1", oid.ECCHSHA1KDF, crypto.SHA1, false},
	oid.ECCHSHA224KDF: {"cofactor ECDH with X9.63 sha224", oid.ECCHSHA224KDF, crypto.SHA224, false},
	oid.ECCHSHA256KDF: {"cofactor ECDH with X9.63 sha256", oid.ECCHSHA256KDF, crypto.SHA256, false},
	oid.ECCHSHA384KDF: {"cofactor ECDH with X9.63 sha384", oid.ECCHSHA384KDF, crypto.SHA384, false},
	oid.ECCHSHA512KDF: {"cofactor ECDH with X9.63 sha512", oid.ECCHSHA512KDF, crypto.SHA512, false},
	oid.DHHKDFSHA256:  {"DH with HKDF sha256", oid.DHHKDFSHA256, crypto.SHA256, true},
	oid.DHHKDFSHA384:  {"DH with HKDF sha384", oid.DHHKDFSHA384, crypto.SHA384, true},
	oid.DHHKDFSHA512:  {"DH with HKDF sha512", oid.DHHKDFSHA512, crypto.SHA512, true},
}

// AgreementByOID finds a key agreement scheme by its identifier.
func AgreementByOID(o oid.OID) (Agreement, bool) {
	a, ok := agreements[o]
	return a, ok
}

// KEK derives the key-encryption key of size octets for the key wrap algorithm
// wrap, exactly as it stands in the message, from a shared secret.
// RFC 5753, Section 7.2 and RFC 8418, Section 2.2.
func (a Agreement) KEK(secret []byte, wrap der.Algorithm, ukm []byte, size int) ([]byte, error) {
	info, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { // ECC-CMS-SharedInfo
			der.AddAlgorithm(b, wrap)
			if ukm != nil {
				b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1OctetString(ukm) })
			}
			b.AddASN1(der.Context(2, true), func(b *der.Builder) {
				b.AddASN1(asn1.OCTET_STRING, func(b *der.Builder) { b.AddUint32(uint32(size) * 8) })
			})
		})
	})
	if err != nil {
		return nil, err
	}
	if a.HKDF {
		// RFC 8418, Section 2.2: the salt is the ukm when there is one.
		return hkdf.Key(func() hash.Hash { return a.Hash.New() }, secret, ukm, string(info), size)
	}
	return keywrap.X963(a.Hash.New, secret, info, size), nil
}

// kemKDFs are the key derivations of key encapsulation (RFC 9629, RFC 8619).
var kemKDFs = map[oid.OID]crypto.Hash{
	oid.HKDFSHA256: crypto.SHA256, oid.HKDFSHA384: crypto.SHA384, oid.HKDFSHA512: crypto.SHA512,
}

// KEMKDF returns the identifier of HKDF with a hash.
func KEMKDF(hash crypto.Hash) (oid.OID, bool) {
	for o, h := range kemKDFs {
		if h == hash {
			return o, true
		}
	}
	return "", false
}

// KEMKEK derives the key-encryption key of size octets from the shared secret
// of a key encapsulation. wrap is the key wrap algorithm exactly as it stands in
// the message. A kdf that is not HKDF without parameters is ErrUnknown.
//
// RFC 9629, Section 5: no salt; the info is
//
//	CMSORIforKEMOtherInfo ::= SEQUENCE {
//	  wrap KeyEncryptionAlgorithmIdentifier,
//	  kekLength INTEGER (1..65535),
//	  ukm [0] EXPLICIT UserKeyingMaterial OPTIONAL }
func KEMKEK(kdf der.Algorithm, secret []byte, wrap der.Algorithm, ukm []byte, size int) ([]byte, error) {
	hashID, ok := kemKDFs[kdf.OID]
	if !ok || len(kdf.Parameters) > 0 { // RFC 8619, Section 2: parameters absent
		return nil, ErrUnknown
	}
	info, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddAlgorithm(b, wrap)
			b.AddASN1Int64(int64(size))
			if ukm != nil {
				b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1OctetString(ukm) })
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return hkdf.Key(func() hash.Hash { return hashID.New() }, secret, nil, string(info), size)
}

// WrapKeySize returns the size in octets of the key that a key wrap algorithm
// takes.
func WrapKeySize(wrap oid.OID) (int, bool) {
	switch wrap {
	case oid.AES128Wrap:
		return 16, true
	case oid.AES192Wrap, oid.TDESWrap:
		return 24, true
	case oid.AES256Wrap:
		return 32, true
	case oid.RC2Wrap:
		return 16, true
	}
	return 0, false
}

// WrapKey wraps a content-encryption key. Only AES key wrap is written.
func WrapKey(wrap oid.OID, kek, key []byte) ([]byte, error) {
	switch wrap {
	case oid.AES128Wrap, oid.AES192Wrap, oid.AES256Wrap:
		return keywrap.Wrap(kek, key)
	}
	return nil, ErrUnknown
}

// UnwrapKey unwraps a content-encryption key. All failures of the check are
// keywrap.ErrIntegrity.
func UnwrapKey(wrap der.Algorithm, kek, wrapped []byte) ([]byte, error) {
	size, ok := WrapKeySize(wrap.OID)
	if !ok {
		return nil, ErrUnknown
	}
	if len(kek) != size {
		return nil, keywrap.ErrIntegrity
	}
	switch wrap.OID {
	case oid.TDESWrap:
		return keywrap.Unwrap3DES(kek, wrapped)
	case oid.RC2Wrap:
		return keywrap.UnwrapRC2(kek, wrapped, 128)
	}
	return keywrap.Unwrap(kek, wrapped)
}
