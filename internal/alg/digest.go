package alg

import (
	"bytes"
	"crypto"
	_ "crypto/md5" // registers the hash
	_ "crypto/sha1"
	_ "crypto/sha256"
	"crypto/sha3"
	_ "crypto/sha512"
	"hash"
	"strings"

	//lint:ignore SA1019 old mail is signed with it, and only read
	_ "golang.org/x/crypto/md4"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A Digest is a hash function.
type Digest struct {
	Name   string // as on the command line: "sha256"
	OID    oid.OID
	Hash   crypto.Hash
	Micalg string // RFC 8551, Section 3.5.3.2
	Weak   string // the allowance that signatures with it need
}

// SHAKE128 and SHAKE256 with outputs of 256 and 512 bits are hash functions in
// CMS (RFC 8702, Section 3.1), and have no number in package crypto: their
// methods Size and New do not work. Those of [Digest] do.
const (
	SHAKE128 crypto.Hash = 0x100 + iota
	SHAKE256
)

// shakeSizes are the octets that they put out.
var shakeSizes = map[crypto.Hash]int{SHAKE128: 32, SHAKE256: 64}

var digests = []Digest{
	{"sha256", oid.SHA256, crypto.SHA256, "sha-256", ""},
	{"sha384", oid.SHA384, crypto.SHA384, "sha-384", ""},
	{"sha512", oid.SHA512, crypto.SHA512, "sha-512", ""},
	{"sha224", oid.SHA224, crypto.SHA224, "sha-224", ""},
	{"sha512-224", oid.SHA512_224, crypto.SHA512_224, "sha-512-224", ""},
	{"sha512-256", oid.SHA512_256, crypto.SHA512_256, "sha-512-256", ""},
	{"sha3-224", oid.SHA3_224, crypto.SHA3_224, "sha3-224", ""},
	{"sha3-256", oid.SHA3_256, crypto.SHA3_256, "sha3-256", ""},
	{"sha3-384", oid.SHA3_384, crypto.SHA3_384, "sha3-384", ""},
	{"sha3-512", oid.SHA3_512, crypto.SHA3_512, "sha3-512", ""},
	{"shake128", oid.SHAKE128, SHAKE128, "shake128", ""},
	{"shake256", oid.SHAKE256, SHAKE256, "shake256", ""},
	{"shake256-512", oid.SHAKE256Len, SHAKE256, "shake256", ""},
	{"sha1", oid.SHA1, crypto.SHA1, "sha-1", WeakSHA1},
	{"md5", oid.MD5, crypto.MD5, "md5", WeakMD5},
	{"md4", oid.MD4, crypto.MD4, "md4", WeakMD4},
}

func findDigest(match func(Digest) bool) (Digest, bool) {
	for _, d := range digests {
		if match(d) {
			return d, true
		}
	}
	return Digest{}, false
}

// DigestByOID finds a digest by its identifier.
func DigestByOID(o oid.OID) (Digest, bool) {
	return findDigest(func(d Digest) bool { return d.OID == o })
}

// DigestByHash finds a digest by its number in package crypto.
func DigestByHash(h crypto.Hash) (Digest, bool) {
	return findDigest(func(d Digest) bool { return d.Hash == h })
}

// withoutMarks takes out what names of digests are written with and without.
var withoutMarks = strings.NewReplacer("-", "", "_", "", "/", "")

// DigestByName finds a digest by its name, in any of the spellings of mail's
// micalg parameter and of command lines: "sha256", "SHA-256", "rsa-sha1".
func DigestByName(name string) (Digest, bool) {
	fold := func(s string) string {
		return withoutMarks.Replace(strings.ToLower(s))
	}
	want := strings.TrimPrefix(fold(strings.TrimSpace(name)), "rsa")
	return findDigest(func(d Digest) bool { return fold(d.Name) == want })
}

// DigestNames returns the names of the digests that signatures of most kinds of
// keys may be made with.
func DigestNames() []string {
	var out []string
	for _, d := range digests {
		if d.Weak == "" && d.Standard() {
			out = append(out, d.Name)
		}
	}
	return out
}

// DigestByAlgorithm finds a digest by its identifier and parameters. Of
// SHAKE256 with a length the only length is 512 bits; of the others the
// parameters say nothing.
func DigestByAlgorithm(a der.Algorithm) (Digest, bool) {
	d, ok := DigestByOID(a.OID)
	if ok && a.OID == oid.SHAKE256Len && !bytes.Equal(a.Parameters, shakeLength) {
		return Digest{}, false
	}
	return d, ok
}

// shakeLength is the INTEGER 512.
var shakeLength = []byte{2, 2, 2, 0}

// New returns a new hash.
func (d Digest) New() hash.Hash {
	switch d.Hash {
	case SHAKE128:
		return &shake{sha3.NewSHAKE128(), SHAKE128}
	case SHAKE256:
		return &shake{sha3.NewSHAKE256(), SHAKE256}
	}
	return d.Hash.New()
}

// Size returns the size of the digest in octets.
func (d Digest) Size() int {
	if size, ok := shakeSizes[d.Hash]; ok {
		return size
	}
	return d.Hash.Size()
}

// Standard reports whether package crypto knows the hash.
func (d Digest) Standard() bool { return d.Hash.Available() }

// A shake is SHAKE128 or SHAKE256 as a hash.
type shake struct {
	*sha3.SHAKE
	hash crypto.Hash
}

func (s *shake) Size() int { return shakeSizes[s.hash] }

// Sum appends the digest. It leaves the state as it is.
func (s *shake) Sum(b []byte) []byte {
	state := *s.SHAKE
	out := make([]byte, s.Size())
	_, _ = state.Read(out) // never returns an error
	return append(b, out...)
}

// Algorithm returns the AlgorithmIdentifier as it is written: with parameters
// absent (RFC 5754, Section 2 and RFC 8702), but for the one whose parameter is
// its length.
func (d Digest) Algorithm() der.Algorithm {
	if d.OID == oid.SHAKE256Len {
		return der.Algorithm{OID: d.OID, Parameters: bytes.Clone(shakeLength)}
	}
	return der.Algorithm{OID: d.OID}
}

// A MAC is an HMAC (RFC 2104).
type MAC struct {
	Name   string
	OID    oid.OID
	Digest Digest
}

var macs = func() []MAC {
	var out []MAC
	for _, m := range []struct {
		name string
		o    oid.OID
		hash crypto.Hash
	}{
		{"hmac-sha256", oid.HMACSHA256, crypto.SHA256},
		{"hmac-sha384", oid.HMACSHA384, crypto.SHA384},
		{"hmac-sha512", oid.HMACSHA512, crypto.SHA512},
		{"hmac-sha224", oid.HMACSHA224, crypto.SHA224},
		{"hmac-sha1", oid.HMACSHA1, crypto.SHA1},
		{"hmac-sha1", oid.HMACSHA1R, crypto.SHA1},
	} {
		d, _ := DigestByHash(m.hash)
		out = append(out, MAC{m.name, m.o, d})
	}
	return out
}()

// MACByOID finds a MAC by its identifier.
func MACByOID(o oid.OID) (MAC, bool) {
	for _, m := range macs {
		if m.OID == o {
			return m, true
		}
	}
	return MAC{}, false
}

// MACByHash finds the MAC over a hash.
func MACByHash(h crypto.Hash) (MAC, bool) {
	for _, m := range macs {
		if m.Digest.Hash == h {
			return m, true
		}
	}
	return MAC{}, false
}
