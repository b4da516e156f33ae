package cms

import (
	"slices"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
)

// An OID is an object identifier in dotted decimal: a string that can be
// compared and used as a constant.
type OID = oid.OID

// Content types: RFC 5652, Section 12.1; RFC 5083; RFC 3274.
const (
	TypeData              OID = oid.Data
	TypeSignedData        OID = oid.SignedData
	TypeEnvelopedData     OID = oid.EnvelopedData
	TypeDigestedData      OID = oid.DigestedData
	TypeEncryptedData     OID = oid.EncryptedData
	TypeAuthenticatedData OID = oid.AuthenticatedData
	TypeAuthEnvelopedData OID = oid.AuthEnvelopedData
	TypeCompressedData    OID = oid.CompressedData
)

// An Allowance lets something pass that is off by default.
type Allowance string

// The allowances. Those for ciphers apply to reading alone: nothing is ever
// written with a weak algorithm.
const (
	AllowMD4     Allowance = alg.WeakMD4
	AllowMD5     Allowance = alg.WeakMD5
	AllowSHA1    Allowance = alg.WeakSHA1
	AllowDSA     Allowance = alg.WeakDSA
	AllowRSA1024 Allowance = alg.WeakRSA1024 // RSA keys of 1024 to 2046 bits
	Allow3DES    Allowance = alg.Weak3DES
	AllowDES     Allowance = alg.WeakDES
	AllowRC2     Allowance = alg.WeakRC2
)

// allowed reports whether weak, a name of package alg, is empty or allowed.
func allowed(list []Allowance, weak string) bool {
	return weak == "" || slices.Contains(list, Allowance(weak))
}

// A Cipher names a content cipher. The zero value is AES256GCM.
type Cipher string

// The ciphers that content can be encrypted with: RFC 8551, Section 2.7.
const (
	AES128CBC                  Cipher = "aes-128-cbc"
	AES192CBC                  Cipher = "aes-192-cbc"
	AES256CBC                  Cipher = "aes-256-cbc"
	AES128GCM                  Cipher = "aes-128-gcm"
	AES192GCM                  Cipher = "aes-192-gcm"
	AES256GCM                  Cipher = "aes-256-gcm"
	ChaCha20Poly1305Encryption Cipher = "chacha20-poly1305"
)

// lookup returns the entry of the table; a cipher that is not for writing is a
// UsageError.
func (c Cipher) lookup() (alg.Cipher, error) {
	if c == "" {
		c = AES256GCM
	}
	entry, ok := alg.CipherByName(string(c))
	if !ok || entry.Weak != "" {
		return entry, usage("there is no content cipher %q to encrypt with", string(c))
	}
	return entry, nil
}

// AEAD reports whether c authenticates what it encrypts.
func (c Cipher) AEAD() bool {
	entry, err := c.lookup()
	return err == nil && entry.AEAD()
}

// Limits bounds what a reader accepts of everything but the content. A field
// that is zero has its default; none can be switched off.
type Limits struct {
	Depth        int   // nesting of elements; default 64
	Element      int64 // octets of one element that is held in memory, such as a certificate or all signed attributes; default 1 MiB
	Total        int64 // octets of all that is held in memory, certificates, CRLs and RecipientInfos included; default 16 MiB
	Certificates int   // default 1,000
	CRLs         int   // default 100
	Recipients   int   // default 20,000
	Signers      int   // default 100
	Attributes   int   // per set of attributes; default 100
	Ratio        int64 // of what CompressedData expands to, to what it was; default 1,000
	Expanded     int64 // octets that CompressedData may expand to; default 64 GiB
}

// withDefaults returns a copy in which no field is zero.
func (l *Limits) withDefaults() Limits {
	var out Limits
	if l != nil {
		out = *l
	}
	setDefault(&out.Depth, 64)
	setDefault(&out.Element, 1<<20)
	setDefault(&out.Total, 16<<20)
	setDefault(&out.Certificates, 1000)
	setDefault(&out.CRLs, 100)
	setDefault(&out.Recipients, 20000)
	setDefault(&out.Signers, 100)
	setDefault(&out.Attributes, 100)
	setDefault(&out.Ratio, 1000)
	setDefault(&out.Expanded, 64<<30)
	return out
}

func setDefault[T int | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
