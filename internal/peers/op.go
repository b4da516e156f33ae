package peers

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind is a CMS content type that a peer can be asked to make or to open.
type Kind int

const (
	Signed        Kind = iota // SignedData
	Enveloped                 // EnvelopedData; AuthEnvelopedData when Op.Cipher is an AEAD
	Authenticated             // AuthenticatedData
	Encrypted                 // EncryptedData, with the key in Op.Key
	Compressed                // CompressedData
	Digested                  // DigestedData
)

var kindNames = [...]string{"signed", "enveloped", "authenticated", "encrypted", "compressed", "digested"}

func (k Kind) String() string { return kindNames[k] }

// A Format is the outer form of a message.
type Format int

const (
	DER   Format = iota // the CMS structure alone, in DER or BER
	SMIME               // a MIME entity, header and body, as RFC 8551 has it
)

func (f Format) String() string { return [...]string{"der", "smime"}[f] }

// An Op says what a peer is to make or to open. The zero value of every field
// means that the peer does what it does by default.
//
// Digest names are "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256",
// "sha3-384" and "sha3-512". Cipher names are "aes-128-cbc", "aes-192-cbc",
// "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm",
// "aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "chacha20-poly1305" and "des3".
type Op struct {
	Kind   Kind
	Format Format

	// BER asks for indefinite lengths, as a peer that streams writes them, and
	// on opening for the peer's streaming reader where it has one.
	BER bool
	// LF asks for an S/MIME message whose lines end in LF alone.
	LF bool
	// KeyID asks that certificates be named by subject key identifier rather
	// than by issuer and serial number.
	KeyID bool

	// Empty says that the content is empty, which not every peer can do.
	Empty bool

	// For Signed. To open, Signers must name those who signed.
	Detached      bool
	Signers       []string // names of people; several make parallel signatures
	CounterSigner string   // a person who countersigns the first signature
	Digest        string   // when empty sha256; also of Digested and, as HMAC, of Authenticated
	PSS           bool     // RSASSA-PSS for RSA keys, with a salt as long as the digest
	NoAttrs       bool     // no signed attributes; for Authenticated no authenticated ones

	// For Enveloped and Authenticated. Every kind of recipient that is given
	// gets a RecipientInfo.
	Recipients []string // names of people
	Reader     string   // who opens; when empty the first of Recipients
	Cipher     string   // also of Encrypted
	OAEP       string   // digest of RSAES-OAEP and of its MGF1; when empty RSAES-PKCS1-v1_5
	KDF        string   // digest of the ECDH key derivation
	KEK        *KEK     // a key encryption key known to both sides
	Password   string   // a password known to both sides

	// Key is the content encryption key of Encrypted; its length must fit
	// Cipher.
	Key []byte
}

// A KEK is a key encryption key, with the name by which a message calls it.
type KEK struct {
	ID  []byte
	Key []byte // 16, 24 or 32 octets, for AES key wrap
}

// of returns a copy of op for the given content.
func (op *Op) of(content []byte) *Op {
	c := *op
	c.Empty = len(content) == 0
	return &c
}

// AEAD reports whether the cipher of op is an authenticated one, so that
// Enveloped means AuthEnvelopedData.
func (op *Op) AEAD() bool {
	for _, mode := range []string{"-gcm", "-ccm", "-poly1305"} {
		if strings.HasSuffix(op.Cipher, mode) {
			return true
		}
	}
	return false
}

// String returns a name for op that can serve as the name of a subtest.
func (op *Op) String() string {
	parts := []string{op.Kind.String(), op.Format.String()}
	add := func(ok bool, format string, args ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(op.BER, "ber")
	add(op.LF, "lf")
	add(op.KeyID, "keyid")
	add(op.Empty, "empty")
	add(op.Detached, "detached")
	add(len(op.Signers) > 0, "%s", strings.Join(op.Signers, "+"))
	add(op.CounterSigner != "", "countersigned-%s", op.CounterSigner)
	add(op.Digest != "", "%s", op.Digest)
	add(op.PSS, "pss")
	add(op.NoAttrs, "noattrs")
	add(len(op.Recipients) > 0, "%s", strings.Join(op.Recipients, "+"))
	add(op.Reader != "", "read-by-%s", op.Reader)
	add(op.Cipher != "", "%s", op.Cipher)
	add(op.OAEP != "", "oaep-%s", op.OAEP)
	add(op.KDF != "", "kdf-%s", op.KDF)
	add(op.KEK != nil, "kek")
	add(op.Password != "", "password")
	return strings.Join(parts, "/")
}

// reader returns the name of the person who opens an enveloped message, or ""
// when a KEK or a password opens it.
func (op *Op) reader() string {
	if op.Reader != "" || len(op.Recipients) == 0 {
		return op.Reader
	}
	return op.Recipients[0]
}

// digest returns the name of the digest that op asks for.
func (op *Op) digest() string {
	if op.Digest == "" {
		return "sha256"
	}
	return op.Digest
}

// keyed reports whether op is of a kind that has recipients.
func (op *Op) keyed() bool { return op.Kind == Enveloped || op.Kind == Authenticated }

// signing returns the names of all who sign.
func (op *Op) signing() []string {
	if op.CounterSigner == "" {
		return op.Signers
	}
	return append([]string{op.CounterSigner}, op.Signers...)
}

// reading returns the name of the one who opens, if it is a person.
func (op *Op) reading() []string {
	if op.reader() == "" {
		return nil
	}
	return []string{op.reader()}
}

// names returns everybody whom op mentions as one who signs or receives.
func (op *Op) names() []string {
	return slices.Concat(op.signing(), op.Recipients, op.reading())
}
