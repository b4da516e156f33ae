package alg

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/aead"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/rc2"
)

// A Mode is how a content cipher works.
type Mode uint8

// The modes.
const (
	CBC Mode = iota + 1
	GCM
	ChaCha20Poly1305
)

// A Cipher is a content cipher.
type Cipher struct {
	Name      string // "aes-256-gcm"
	OID       oid.OID
	Mode      Mode
	KeySize   int     // in octets; 0: any, as RC2 takes
	BlockSize int     // of CBC
	Wrap      oid.OID // the key wrap of the same size, for key agreement
	Weak      string  // the allowance that reading needs; then it is never written
}

// Ciphers is the table of content ciphers, in order of preference: RFC 8551,
// Section 2.7.
var ciphers = []Cipher{
	{"aes-256-gcm", oid.AES256GCM, GCM, 32, 0, oid.AES256Wrap, ""},
	{"aes-192-gcm", oid.AES192GCM, GCM, 24, 0, oid.AES192Wrap, ""},
	{"aes-128-gcm", oid.AES128GCM, GCM, 16, 0, oid.AES128Wrap, ""},
	{"chacha20-poly1305", oid.ChaCha20Poly1305, ChaCha20Poly1305, 32, 0, oid.AES256Wrap, ""},
	{"aes-256-cbc", oid.AES256CBC, CBC, 32, aes.BlockSize, oid.AES256Wrap, ""},
	{"aes-192-cbc", oid.AES192CBC, CBC, 24, aes.BlockSize, oid.AES192Wrap, ""},
	{"aes-128-cbc", oid.AES128CBC, CBC, 16, aes.BlockSize, oid.AES128Wrap, ""},
	{"3des", oid.DESEDE3CBC, CBC, 24, des.BlockSize, oid.TDESWrap, Weak3DES},
	{"des", oid.DESCBC, CBC, 8, des.BlockSize, "", WeakDES},
	{"rc2", oid.RC2CBC, CBC, 0, rc2.BlockSize, oid.RC2Wrap, WeakRC2},
}

// CipherByOID finds a content cipher by its identifier.
func CipherByOID(o oid.OID) (Cipher, bool) {
	for _, c := range ciphers {
		if c.OID == o {
			return c, true
		}
	}
	return Cipher{}, false
}

// CipherByName finds a content cipher by its name, in any case.
func CipherByName(name string) (Cipher, bool) {
	name = strings.ToLower(name)
	for _, c := range ciphers {
		if c.Name == name {
			return c, true
		}
	}
	return Cipher{}, false
}

// CipherNames returns the names of the ciphers that content may be encrypted
// with.
func CipherNames() []string {
	var out []string
	for _, c := range ciphers {
		if c.Weak == "" {
			out = append(out, c.Name)
		}
	}
	return out
}

// AEAD reports whether c authenticates what it encrypts.
func (c Cipher) AEAD() bool { return c.Mode == GCM || c.Mode == ChaCha20Poly1305 }

// IVSize is the size in octets of the IV or nonce that is written.
func (c Cipher) IVSize() int {
	if c.Mode == CBC {
		return c.BlockSize
	}
	return 12
}

// CipherParams are the parameters of a content cipher in a message.
type CipherParams struct {
	IV      []byte // or the nonce
	TagSize int    // of AEAD, in octets
	RC2Bits int    // effective key bits of RC2
}

// maxNonce bounds the nonces that are read. Other sizes than 12 are legal in
// GCM, if rare.
const maxNonce = 64

// ParseParams reads the parameters of an AlgorithmIdentifier for c.
func (c Cipher) ParseParams(params []byte) (p CipherParams, err error) {
	s := cryptobyte.String(params)
	var iv cryptobyte.String
	switch {
	case c.Mode == GCM:
		// RFC 5084, Section 3.2: the tag has 12 octets when its size is absent.
		var seq cryptobyte.String
		p.TagSize = 12
		if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&iv, asn1.OCTET_STRING) ||
			(!seq.Empty() && !seq.ReadASN1Integer(&p.TagSize)) || !seq.Empty() || len(iv) == 0 || len(iv) > maxNonce ||
			p.TagSize < 12 || p.TagSize > 16 {
			return p, ErrParameters
		}
	case c.Mode == ChaCha20Poly1305: // RFC 8103, Section 2
		p.TagSize = 16
		if !s.ReadASN1(&iv, asn1.OCTET_STRING) || len(iv) != 12 {
			return p, ErrParameters
		}
	case c.OID == oid.RC2CBC:
		if p.RC2Bits, err = readRC2(&s, &iv); err != nil {
			return p, err
		}
	default:
		if !s.ReadASN1(&iv, asn1.OCTET_STRING) || len(iv) != c.BlockSize {
			return p, ErrParameters
		}
	}
	if !s.Empty() {
		return p, ErrParameters
	}
	p.IV = iv
	return p, nil
}

// readRC2 reads RC2-CBC-Parameter (RFC 3370, Section 5.2). RFC 2268 also has
// the bare IV, for 32 effective bits.
func readRC2(s, iv *cryptobyte.String) (bits int, err error) {
	if s.PeekASN1Tag(asn1.OCTET_STRING) {
		if !s.ReadASN1(iv, asn1.OCTET_STRING) || len(*iv) != rc2.BlockSize {
			return 0, ErrParameters
		}
		return 32, nil
	}
	var seq cryptobyte.String
	var version int
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(&version) || !seq.ReadASN1(iv, asn1.OCTET_STRING) ||
		!seq.Empty() || len(*iv) != rc2.BlockSize {
		return 0, ErrParameters
	}
	bits, ok := rc2.EffectiveBits(version)
	if !ok {
		return 0, ErrParameters
	}
	return bits, nil
}

// Algorithm returns the AlgorithmIdentifier with the given IV or nonce, and a
// tag of 16 octets.
func (c Cipher) Algorithm(iv []byte) (der.Algorithm, error) {
	params, err := der.Marshal(func(b *der.Builder) {
		if c.Mode != GCM {
			b.AddASN1OctetString(iv)
			return
		}
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1OctetString(iv)
			b.AddASN1Int64(16)
		})
	})
	return der.Algorithm{OID: c.OID, Parameters: params}, err
}

// Block returns the block cipher of a CBC mode. A key of the wrong size is an
// error.
func (c Cipher) Block(key []byte, p CipherParams) (cipher.Block, error) {
	switch c.OID {
	case oid.DESEDE3CBC:
		return des.NewTripleDESCipher(key)
	case oid.DESCBC:
		return des.NewCipher(key)
	case oid.RC2CBC:
		return rc2.New(key, p.RC2Bits)
	}
	if len(key) != c.KeySize {
		return nil, aes.KeySizeError(len(key))
	}
	return aes.NewCipher(key)
}

// Stream returns the authenticated cipher. aad is what is authenticated beside
// the content, when it is known already; else nil.
func (c Cipher) Stream(key []byte, p CipherParams, aad []byte) (aead.Stream, error) {
	if len(key) != c.KeySize {
		return nil, aes.KeySizeError(len(key))
	}
	if c.Mode == ChaCha20Poly1305 {
		return aead.NewChaCha20Poly1305(key, p.IV, aad)
	}
	return aead.NewGCM(key, p.IV)
}
