package alg

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// The cost and sizes of what is encrypted with a passphrase; sizes are in
// octets.
const (
	PBKDF2Iterations = 600_000
	pbes2Salt        = 16
	pbes2Key         = 32
)

// EncryptPBES2 encrypts with a passphrase, by PBES2 with PBKDF2, HMAC-SHA-256
// and AES-256-CBC (RFC 8018, Section 6.2). For what is kept, PBKDF2Iterations are
// in place.
func EncryptPBES2(plain, passphrase []byte, iterations int) (der.Algorithm, []byte, error) {
	salt, iv := make([]byte, pbes2Salt), make([]byte, aes.BlockSize)
	_, _ = rand.Read(salt) // never returns an error
	_, _ = rand.Read(iv)
	secret, err := pbkdf2.Key(sha256.New, string(passphrase), salt, iterations, pbes2Key)
	if err != nil {
		return der.Algorithm{}, nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return der.Algorithm{}, nil, err
	}
	out := PadBlocks(plain, aes.BlockSize)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, out)
	params, err := der.Marshal(func(b *der.Builder) { addPBES2(b, salt, iv, iterations) })
	return der.Algorithm{OID: oid.PBES2, Parameters: params}, out, err
}

// PadBlocks returns a copy of plain with the padding of RFC 8018, Section 6.1.1,
// to whole blocks of size octets.
func PadBlocks(plain []byte, size int) []byte {
	pad := size - len(plain)%size
	out := append(make([]byte, 0, len(plain)+pad), plain...)
	for range pad {
		out = append(out, byte(pad))
	}
	return out
}

// addPBES2 appends PBES2-params (RFC 8018, Appendices A.2 and A.4).
func addPBES2(b *der.Builder, salt, iv []byte, iterations int) {
	sequence := func(b *der.Builder, f func(b *der.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }
	sequence(b, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			der.AddOID(b, oid.PBKDF2)
			sequence(b, func(b *der.Builder) {
				b.AddASN1OctetString(salt)
				b.AddASN1Int64(int64(iterations))
				der.AddAlgorithm(b, der.WithNull(oid.HMACSHA256))
			})
		})
		sequence(b, func(b *der.Builder) {
			der.AddOID(b, oid.AES256CBC)
			b.AddASN1OctetString(iv)
		})
	})
}
