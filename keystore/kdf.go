package keystore

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/scrypt"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// Pseudorandom functions of PBKDF2 (RFC 8018, Appendix B.1) and MACs of PBMAC1.
var prfs = map[oid.OID]func() hash.Hash{
	oid.HMACSHA1R: sha1.New, oid.HMACSHA1: sha1.New, oid.HMACSHA224: sha256.New224, oid.HMACSHA256: sha256.New,
	oid.HMACSHA384: sha512.New384, oid.HMACSHA512: sha512.New,
}

// Digests of the MAC of PKCS#12 (RFC 7292, Section 4).
var digests = map[oid.OID]func() hash.Hash{
	oid.MD5: md5.New, oid.SHA1: sha1.New, oid.SHA224: sha256.New224, oid.SHA256: sha256.New, oid.SHA384: sha512.New384,
	oid.SHA512: sha512.New,
}

// readInt reads a non-negative INTEGER that fits an int64.
func readInt(s *cryptobyte.String, out *int64) bool { return s.ReadASN1Integer(out) && *out >= 0 }

// A kdf derives keys from a passphrase, by PBKDF2 or scrypt.
type kdf struct {
	salt   []byte
	keyLen int64 // as told, or 0

	iterations int64            // PBKDF2
	prf        func() hash.Hash // PBKDF2
	n, r, p    int64            // scrypt
}

// readKDF reads the AlgorithmIdentifier of a key derivation.
func readKDF(a der.Algorithm) (*kdf, error) {
	params := cryptobyte.String(a.Parameters)
	var seq cryptobyte.String
	if a.OID != oid.PBKDF2 && a.OID != oid.Scrypt {
		return nil, &UnsupportedError{"key derivation", a.OID}
	}
	if !params.ReadASN1(&seq, asn1.SEQUENCE) {
		return nil, malformed("parameters of the key derivation")
	}
	if a.OID == oid.Scrypt {
		return readScrypt(seq)
	}
	return readPBKDF2(seq)
}

// readPBKDF2 reads PBKDF2-params (RFC 8018, Appendix A.2).
func readPBKDF2(seq cryptobyte.String) (*kdf, error) {
	k := &kdf{prf: sha1.New}
	var salt cryptobyte.String
	if seq.PeekASN1Tag(asn1.SEQUENCE) {
		return nil, &UnsupportedError{What: "a salt of another source"}
	}
	if !seq.ReadASN1(&salt, asn1.OCTET_STRING) || !readInt(&seq, &k.iterations) {
		return nil, malformed("parameters of PBKDF2")
	}
	k.salt = salt
	if seq.PeekASN1Tag(asn1.INTEGER) && !readInt(&seq, &k.keyLen) {
		return nil, malformed("key length of PBKDF2")
	}
	if seq.Empty() {
		return k, nil
	}
	var prf der.Algorithm
	if !der.ReadAlgorithm(&seq, &prf) {
		return nil, malformed("parameters of PBKDF2")
	}
	var ok bool
	if k.prf, ok = prfs[prf.OID]; !ok {
		return nil, &UnsupportedError{"pseudorandom function", prf.OID}
	}
	return k, nil
}

// readScrypt reads scrypt-params (RFC 7914, Section 7.1).
func readScrypt(seq cryptobyte.String) (*kdf, error) {
	k := new(kdf)
	var salt cryptobyte.String
	if !seq.ReadASN1(&salt, asn1.OCTET_STRING) || !readInt(&seq, &k.n) || !readInt(&seq, &k.r) || !readInt(&seq, &k.p) {
		return nil, malformed("parameters of scrypt")
	}
	k.salt = salt
	if !seq.Empty() && !readInt(&seq, &k.keyLen) {
		return nil, malformed("key length of scrypt")
	}
	return k, nil
}

// key derives size octets.
func (k *kdf) key(passphrase []byte, size int, w *work) ([]byte, error) {
	if k.prf != nil {
		// Each block of the output costs all iterations again.
		blocks := int64((size + k.prf().Size() - 1) / k.prf().Size())
		if k.iterations > math.MaxInt64/blocks {
			return nil, &LimitError{"iterations for a passphrase"}
		}
		if err := w.spend(k.iterations * blocks); err != nil {
			return nil, err
		}
		return pbkdf2.Key(k.prf, string(passphrase), k.salt, int(k.iterations), size)
	}
	const most = maxScryptMem / 128
	if k.n > most || k.r > most || k.n*k.r > most || k.p > most {
		return nil, &LimitError{"memory for scrypt"}
	}
	if k.n < 2 || k.n&(k.n-1) != 0 || k.r < 1 || k.p < 1 || k.r*k.p > most {
		return nil, malformed("parameters of scrypt")
	}
	if err := w.spend(2 * k.n * k.r * k.p); err != nil {
		return nil, err
	}
	return scrypt.Key(passphrase, k.salt, int(k.n), int(k.r), int(k.p), size)
}

// What a key of the PKCS#12 key derivation is for.
const (
	forKey = 1
	forIV  = 2
	forMAC = 3
)

// pkcs12Key is the key derivation of RFC 7292, Appendix B.2. The passphrase is
// a BMPString with its terminator.
func pkcs12Key(newHash func() hash.Hash, purpose byte, passphrase, salt []byte, iterations, size int) []byte {
	fill := func(dst []byte, sum *big.Int) { sum.FillBytes(dst) }
	return pkcs12KeyBy(fill, newHash, purpose, passphrase, salt, iterations, size)
}

// gnupgKey is pkcs12Key as GnuPG up to 2.2 computes it: a sum that begins with
// zeros (one in 256 does) is stored without them, at the start of its block,
// whose last octets stay what they were. It is the same for keys of one digest,
// and differs for about one triple DES key in 128.
func gnupgKey(newHash func() hash.Hash, purpose byte, passphrase, salt []byte, iterations, size int) []byte {
	shift := func(dst []byte, sum *big.Int) { copy(dst, sum.Bytes()) }
	return pkcs12KeyBy(shift, newHash, purpose, passphrase, salt, iterations, size)
}

// pkcs12KeyBy is pkcs12Key with the function that stores a sum in its block.
func pkcs12KeyBy(store func(dst []byte, sum *big.Int), newHash func() hash.Hash, purpose byte, passphrase, salt []byte, iterations, size int) []byte {
	h := newHash()
	v := h.BlockSize()
	block := append(repeatTo(salt, v), repeatTo(passphrase, v)...)
	id := make([]byte, v)
	for i := range id {
		id[i] = purpose
	}
	one := big.NewInt(1)
	mod := new(big.Int).Lsh(one, uint(8*v))
	var out []byte
	for {
		h.Reset()
		h.Write(id)
		h.Write(block)
		a := h.Sum(nil)
		for range iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if out = append(out, a...); len(out) >= size {
			return out[:size]
		}
		// Step 6 C: each v octets of the block are incremented by B + 1.
		b := new(big.Int).SetBytes(repeatTo(a, v))
		b.Add(b, one)
		for i := 0; i < len(block); i += v {
			sum := new(big.Int).SetBytes(block[i : i+v])
			store(block[i:i+v], sum.Add(sum, b).Mod(sum, mod))
		}
	}
}

// repeatTo repeats b to the next multiple of v; nothing remains nothing.
func repeatTo(b []byte, v int) []byte {
	size := (len(b) + v - 1) / v * v
	out := make([]byte, 0, size)
	for len(out) < size {
		out = append(out, b[:min(len(b), size-len(out))]...)
	}
	return out
}

// pbkdf1 is RFC 8018, Section 5.1, for 16 octets.
func pbkdf1(newHash func() hash.Hash, passphrase, salt []byte, iterations int64) []byte {
	h := newHash()
	h.Write(passphrase)
	h.Write(salt)
	t := h.Sum(nil)
	for range iterations - 1 {
		h.Reset()
		h.Write(t)
		t = h.Sum(t[:0])
	}
	return t[:16]
}

func hmacSum(newHash func() hash.Hash, key, data []byte) []byte {
	m := hmac.New(newHash, key)
	m.Write(data)
	return m.Sum(nil)
}
