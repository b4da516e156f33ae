package alg

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"

	//lint:ignore SA1019 DSA signatures are read from old mail, never made
	"crypto/dsa"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A Scheme is a kind of signature.
type Scheme uint8

// The schemes.
const (
	PKCS1v15 Scheme = iota + 1
	PSS
	ECDSA
	EdDSA // Ed25519 and Ed448
	DSA
	LatticeDSA // ML-DSA
	HashDSA    // SLH-DSA
)

type signatureID struct {
	name   string
	scheme Scheme
	hash   crypto.Hash // 0: that of digestAlgorithm
}

var signatureIDs = addPure(map[oid.OID]signatureID{
	oid.RSA:             {"RSA", PKCS1v15, 0},
	oid.MD5WithRSA:      {"RSA with md5", PKCS1v15, crypto.MD5},
	oid.SHA1WithRSA:     {"RSA with sha1", PKCS1v15, crypto.SHA1},
	oid.SHA1WithRSAISO:  {"RSA with sha1", PKCS1v15, crypto.SHA1},
	oid.SHA224WithRSA:   {"RSA with sha224", PKCS1v15, crypto.SHA224},
	oid.SHA256WithRSA:   {"RSA with sha256", PKCS1v15, crypto.SHA256},
	oid.SHA384WithRSA:   {"RSA with sha384", PKCS1v15, crypto.SHA384},
	oid.SHA512WithRSA:   {"RSA with sha512", PKCS1v15, crypto.SHA512},
	oid.SHA3224WithRSA:  {"RSA with sha3-224", PKCS1v15, crypto.SHA3_224},
	oid.SHA3256WithRSA:  {"RSA with sha3-256", PKCS1v15, crypto.SHA3_256},
	oid.SHA3384WithRSA:  {"RSA with sha3-384", PKCS1v15, crypto.SHA3_384},
	oid.SHA3512WithRSA:  {"RSA with sha3-512", PKCS1v15, crypto.SHA3_512},
	oid.RSAPSS:          {"RSA-PSS", PSS, 0},
	oid.EC:              {"ECDSA", ECDSA, 0},
	oid.ECDSAWithSHA1:   {"ECDSA with sha1", ECDSA, crypto.SHA1},
	oid.ECDSAWithSHA224: {"ECDSA with sha224", ECDSA, crypto.SHA224},
	oid.ECDSAWithSHA256: {"ECDSA with sha256", ECDSA, crypto.SHA256},
	oid.ECDSAWithSHA384: {"ECDSA with sha384", ECDSA, crypto.SHA384},
	oid.ECDSAWithSHA512: {"ECDSA with sha512", ECDSA, crypto.SHA512},
	oid.ECDSASHA3224:    {"ECDSA with sha3-224", ECDSA, crypto.SHA3_224},
	oid.ECDSASHA3256:    {"ECDSA with sha3-256", ECDSA, crypto.SHA3_256},
	oid.ECDSASHA3384:    {"ECDSA with sha3-384", ECDSA, crypto.SHA3_384},
	oid.ECDSASHA3512:    {"ECDSA with sha3-512", ECDSA, crypto.SHA3_512},
	oid.Ed25519:         {"Ed25519", EdDSA, 0},
	oid.Ed448:           {"Ed448", EdDSA, 0},
	oid.DSA:             {"DSA", DSA, 0},
	oid.DSAWithSHA1:     {"DSA with sha1", DSA, crypto.SHA1},
	oid.DSAWithSHA224:   {"DSA with sha224", DSA, crypto.SHA224},
	oid.DSAWithSHA256:   {"DSA with sha256", DSA, crypto.SHA256},
	oid.DSAWithSHA384:   {"DSA with sha384", DSA, crypto.SHA384},
	oid.DSAWithSHA512:   {"DSA with sha512", DSA, crypto.SHA512},
})

// addPure adds the parameter sets of ML-DSA and SLH-DSA.
func addPure(ids map[oid.OID]signatureID) map[oid.OID]signatureID {
	for _, m := range mldsas {
		ids[m.OID] = signatureID{m.Name, LatticeDSA, 0}
	}
	for _, s := range slhdsas {
		ids[s.OID] = signatureID{s.Name, HashDSA, 0}
	}
	return ids
}

// A Signature is a signature algorithm with all its parameters.
type Signature struct {
	Name   string
	Scheme Scheme
	Digest Digest // of what is signed; that of the content when Whole is true
	PSS    PSSParams
	id     oid.OID
}

// Whole reports whether the message itself is signed and not its digest, as
// with EdDSA, ML-DSA and SLH-DSA.
func (s Signature) Whole() bool {
	return s.Scheme == EdDSA || s.Scheme == LatticeDSA || s.Scheme == HashDSA
}

// ParseSignature reads a signatureAlgorithm field. digest is the SignerInfo's
// digestAlgorithm; it is the hash of identifiers that name none.
func ParseSignature(a der.Algorithm, digest Digest) (Signature, error) {
	id, ok := signatureIDs[a.OID]
	if !ok {
		return Signature{}, fmt.Errorf("signature %s: %w", Name(a.OID), ErrUnknown)
	}
	s := Signature{Name: id.name, Scheme: id.scheme, Digest: digest, id: a.OID}
	if s.Whole() {
		// RFC 8419, Section 2.3; RFC 9881, Section 2; RFC 9909, Section 3: the
		// parameters MUST be absent. QUIRK: NULL is found with Ed25519.
		if len(a.Parameters) > 0 && (s.Scheme != EdDSA || !a.NoParameters()) {
			return s, ErrParameters
		}
		return s, nil
	}
	if id.scheme == PSS {
		p, err := ParsePSS(a.Parameters)
		if err != nil {
			return Signature{}, err
		}
		s.PSS, s.Digest = p, p.Digest
	}
	if id.hash != 0 {
		s.Digest, _ = DigestByHash(id.hash)
	}
	if s.Digest.Hash != 0 && !s.Digest.Standard() {
		return s, fmt.Errorf("signature %s with %s: %w", id.name, s.Digest.Name, ErrUnknown)
	}
	return s, nil
}

// Weak names the allowances that s needs, beside those of the key.
func (s Signature) Weak() []string {
	var out []string
	if s.Digest.Weak != "" {
		out = append(out, s.Digest.Weak)
	}
	if s.Scheme == DSA {
		out = append(out, WeakDSA)
	}
	return out
}

// WeakKey names the allowance that a public key needs, or "".
func WeakKey(pub crypto.PublicKey) string {
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() < MinRSABits {
		return WeakRSA1024
	}
	return ""
}

// Errors of Verify.
var (
	// ErrSignature says that a signature does not fit the key and the message.
	ErrSignature = errors.New("the signature does not match")
	// ErrKeyType says that the key is of another kind than the signature.
	ErrKeyType = errors.New("the key is not of the signature's kind")
)

// Verify checks a signature over a message, given by its digest under s.Digest
// or, when s.Whole, as it is. It returns ErrSignature, ErrKeyType, or an error that
// wraps ErrUnknown for a curve or key size that is not supported.
func (s Signature) Verify(pub crypto.PublicKey, message, digest, signature []byte) error {
	ok := false
	switch k := pub.(type) {
	case *rsa.PublicKey:
		switch s.Scheme {
		case PKCS1v15:
			ok = verifyV15(k, s.Digest.Hash, digest, signature)
		case PSS:
			ok = s.PSS.verify(k, digest, signature)
		default:
			return ErrKeyType
		}
	case *ecdsa.PublicKey:
		if s.Scheme != ECDSA {
			return ErrKeyType
		}
		ok = ecdsa.VerifyASN1(k, digest, signature)
	case *dsa.PublicKey:
		if s.Scheme != DSA {
			return ErrKeyType
		}
		ok = verifyDSA(k, digest, signature)
	default:
		if o, known := pureID(pub); !known || o != s.id {
			return ErrKeyType
		}
		ok = verifyPure(pub, message, signature)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// md4Info is the DigestInfo of MD4 (RFC 8017, Section 9.2) up to the digest,
// which crypto/rsa does not know.
var md4Info = [...]byte{0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x04, 0x05, 0x00, 0x04, 0x10}

func verifyV15(pub *rsa.PublicKey, hash crypto.Hash, digest, signature []byte) bool {
	if hash != crypto.MD4 {
		return rsa.VerifyPKCS1v15(pub, hash, digest, signature) == nil
	}
	// QUIRK(OpenSSL 3.0): MD4 is 1.2.840.113549.2.4, but it wrote and reads .2.3.
	for _, last := range []byte{4, 3} {
		info := md4Info
		info[13] = last
		if rsa.VerifyPKCS1v15(pub, 0, append(info[:], digest...), signature) == nil {
			return true
		}
	}
	return false
}

// SignatureFor returns the signature algorithm that fits a public key, with
// the given digest or, when hash is 0, one of the key's strength. pss asks for
// RSA-PSS; saltLength is then in octets, -1 for the digest's size.
func SignatureFor(pub crypto.PublicKey, hash crypto.Hash, pss bool, saltLength int) (Signature, error) {
	s, def, err := schemeFor(pub, pss)
	if err != nil {
		return s, err
	}
	if pss && s.Scheme != PSS {
		return s, fmt.Errorf("RSA-PSS with a key of type %T: %w", pub, ErrKeyType)
	}
	if hash == 0 {
		hash = def
	}
	var ok bool
	if s.Digest, ok = DigestByHash(hash); !ok || s.Digest.Weak != "" || !s.Whole() && !s.Digest.Standard() {
		return s, fmt.Errorf("no signature is made with %v: %w", hash, ErrUnknown)
	}
	if err = s.fitsDigest(pub); err != nil {
		return s, err
	}
	if s.Scheme == PSS {
		s.PSS = PSSParams{Digest: s.Digest, MGF: s.Digest, Salt: saltLength}
		if saltLength < 0 {
			s.PSS.Salt = hash.Size()
		}
	}
	_, err = s.Algorithm()
	return s, err
}

// schemeFor returns how a key signs, and with what digest by default.
func schemeFor(pub crypto.PublicKey, pss bool) (Signature, crypto.Hash, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if pss {
			return Signature{Scheme: PSS, Name: "RSA-PSS"}, crypto.SHA256, nil
		}
		return Signature{Scheme: PKCS1v15, Name: "RSA"}, crypto.SHA256, nil
	case *ecdsa.PublicKey:
		s, def := Signature{Scheme: ECDSA, Name: "ECDSA"}, crypto.SHA256
		switch bits := k.Params().BitSize; {
		case bits > 384:
			def = crypto.SHA512
		case bits > 256:
			def = crypto.SHA384
		}
		return s, def, nil
	}
	o, ok := pureID(pub)
	if !ok {
		return Signature{}, 0, fmt.Errorf("a key of type %T cannot sign: %w", pub, ErrUnknown)
	}
	s := Signature{Scheme: signatureIDs[o].scheme, Name: signatureIDs[o].name, id: o}
	// RFC 8419, Section 3: SHA-512 with Ed25519. RFC 9882, Section 3.3: SHA-512
	// is what all implementations of ML-DSA know.
	def := crypto.SHA512
	if o == oid.Ed448 {
		def = SHAKE256
	}
	if p, isHash := SLHDSAByOID(o); isHash {
		def = p.Hash
	}
	return s, def, nil
}

// Algorithm returns the signatureAlgorithm field as it is written.
func (s Signature) Algorithm() (der.Algorithm, error) {
	if s.Whole() {
		return der.Algorithm{OID: s.id}, nil
	}
	if s.Scheme == PSS {
		return s.PSS.algorithm()
	}
	o, ok := hashedIDs()[hashedID{s.Scheme, s.Digest.Hash}]
	switch {
	case !ok:
		return der.Algorithm{}, fmt.Errorf("%s with %s: %w", s.Name, s.Digest.Name, ErrUnknown)
	case s.Scheme == PKCS1v15:
		// RFC 5754, Section 3.2: the parameters are NULL.
		return der.WithNull(o), nil
	}
	return der.Algorithm{OID: o}, nil
}

// A hashedID is what the identifier of a signature of a digest depends on.
type hashedID struct {
	scheme Scheme
	hash   crypto.Hash
}

// hashedIDs are signatureIDs the other way round.
var hashedIDs = sync.OnceValue(func() map[hashedID]oid.OID {
	ids := make(map[hashedID]oid.OID)
	for o, id := range signatureIDs {
		if id.hash != 0 && o != oid.SHA1WithRSAISO {
			ids[hashedID{id.scheme, id.hash}] = o
		}
	}
	return ids
})

// Sign signs a message, given as for Verify.
func (s Signature) Sign(key crypto.Signer, message, digest []byte) ([]byte, error) {
	switch {
	case s.Scheme == EdDSA && s.id == oid.Ed448:
		return key.Sign(rand.Reader, message, ed448.SignerOptions{Scheme: ed448.ED448})
	case s.Whole():
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	case s.Scheme == PSS:
		return key.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: s.PSS.Salt, Hash: s.Digest.Hash})
	}
	return key.Sign(rand.Reader, digest, s.Digest.Hash)
}

// FixedSize returns the size of every signature by this key in octets, or 0
// when it varies, as that of ECDSA does.
func (s Signature) FixedSize(pub crypto.PublicKey) int {
	if k, ok := pub.(*rsa.PublicKey); ok {
		return k.Size()
	}
	return pureSize(pub)
}
