// Package testpki makes certificates for tests and demonstrations, at run time:
// a CA, intermediate CAs and people, with keys of every type that S/MIME has.
// Nothing it makes is meant to protect anything.
package testpki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A CA issues certificates.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// Chain has the issuers of Cert, the root last. It is empty for a root.
	Chain []*x509.Certificate
}

// Usage says what a person's key is for.
type Usage int

// The usages. Ed25519 and id-RSASSA-PSS keys only sign and X25519 keys only
// encrypt, whatever is asked for.
const (
	Both Usage = iota
	Sign
	Encrypt
)

// A Profile describes a person. All fields may be left out.
type Profile struct {
	Name  string // common name; "" is "Test"
	Email string // the address; "" is test@example.test. Non-ASCII becomes SmtpUTF8Mailbox
	Key   KeyType
	Usage Usage
	// NotBefore and NotAfter are a day ago and a year from now when zero.
	NotBefore, NotAfter time.Time
	NoEmail             bool // no address at all
	SubjectEmail        bool // the address in the subject instead of the subjectAltName
	// KeyIndex tells apart several keys of the same name, address and type.
	KeyIndex int
	// Edit, when set, changes the template before it is signed.
	Edit func(template *x509.Certificate)
}

// A Person has a certificate and the key to it.
type Person struct {
	Cert *x509.Certificate
	// Key is a crypto.Signer, or an *ecdh.PrivateKey for X25519.
	Key crypto.PrivateKey
	// Chain has the issuers of Cert, the root last.
	Chain []*x509.Certificate
}

// NewCA makes a root with a new P-256 key.
func NewCA(name string) (*CA, error) { return NewCAWithKey(name, P256) }

// NewCAWithKey makes a root with a new key.
func NewCAWithKey(name string, kind KeyType) (*CA, error) {
	key, err := newSigner(kind)
	if err != nil {
		return nil, err
	}
	template := caTemplate(name)
	cert, err := issue(template, template, key.Public(), kind, key)
	if err != nil {
		return nil, err
	}
	return &CA{Cert: cert, Key: key}, nil
}

// Intermediate makes a CA under ca with a new P-256 key.
func (ca *CA) Intermediate(name string) (*CA, error) { return ca.IntermediateWith(name, P256, nil) }

// IntermediateWith makes a CA under ca with a new key. edit, when set, changes
// the template.
func (ca *CA) IntermediateWith(name string, kind KeyType, edit func(*x509.Certificate)) (*CA, error) {
	key, err := newSigner(kind)
	if err != nil {
		return nil, err
	}
	template := caTemplate(name)
	if edit != nil {
		edit(template)
	}
	cert, err := issue(template, ca.Cert, key.Public(), kind, ca.Key)
	if err != nil {
		return nil, err
	}
	return &CA{Cert: cert, Key: key, Chain: ca.issuers()}, nil
}

func (ca *CA) issuers() []*x509.Certificate {
	return append([]*x509.Certificate{ca.Cert}, ca.Chain...)
}

// Root returns the root that ca stands under, or is.
func (ca *CA) Root() *x509.Certificate {
	all := ca.issuers()
	return all[len(all)-1]
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"Test"}, CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true,
	}
}

// Issue makes a person. Within a process, the same name, address, type and
// index of key give the same key, so that RSA keys are made once.
func (ca *CA) Issue(p Profile) (*Person, error) {
	if p.Name == "" {
		p.Name = "Test"
	}
	if p.Email == "" {
		p.Email = "test@example.test"
	}
	key, public, err := personKey(p)
	if err != nil {
		return nil, err
	}
	template, err := personTemplate(p)
	if err != nil {
		return nil, err
	}
	if p.Edit != nil {
		p.Edit(template)
	}
	cert, err := issue(template, ca.Cert, public, p.Key, ca.Key)
	if err != nil {
		return nil, err
	}
	return &Person{Cert: cert, Key: key, Chain: ca.issuers()}, nil
}

func personTemplate(p Profile) (*x509.Certificate, error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"Test"}, CommonName: p.Name},
		NotBefore: p.NotBefore, NotAfter: p.NotAfter,
		KeyUsage:    keyUsage(p.Key, p.Usage),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = time.Now().Add(-24 * time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	switch {
	case p.NoEmail:
	case p.SubjectEmail:
		t.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
			{Type: []int{1, 2, 840, 113549, 1, 9, 1}, Value: p.Email},
		}
	case isASCII(p.Email):
		t.EmailAddresses = []string{p.Email}
	default:
		san, err := smtpUTF8Mailbox(p.Email)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: san}}
	}
	return t, nil
}

func isASCII(s string) bool {
	for _, r := range s {
		if r >= 0x80 {
			return false
		}
	}
	return true
}

// smtpUTF8Mailbox returns a subjectAltName with one address (RFC 9598, Section 3).
func smtpUTF8Mailbox(address string) ([]byte, error) {
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(0x30, func(b *der.Builder) {
			b.AddASN1(der.Context(0, true), func(b *der.Builder) {
				der.AddOID(b, oid.SmtpUTF8Mailbox)
				b.AddASN1(der.Context(0, true), func(b *der.Builder) {
					b.AddASN1(0x0c, func(b *der.Builder) { b.AddBytes([]byte(address)) })
				})
			})
		})
	})
}

func keyUsage(kind KeyType, usage Usage) x509.KeyUsage {
	encrypt := x509.KeyUsageKeyEncipherment
	switch kind {
	case P224, P256, P384, P521, X25519:
		encrypt = x509.KeyUsageKeyAgreement
	case Ed25519, RSAPSS2048:
		return x509.KeyUsageDigitalSignature
	}
	switch {
	case kind == X25519 || usage == Encrypt:
		return encrypt
	case usage == Sign:
		return x509.KeyUsageDigitalSignature
	}
	return x509.KeyUsageDigitalSignature | encrypt
}

// issue signs a template.
func issue(template, parent *x509.Certificate, public crypto.PublicKey, kind KeyType, signer crypto.Signer) (*x509.Certificate, error) {
	if template.SerialNumber == nil {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
		if err != nil {
			return nil, err
		}
		template.SerialNumber = serial.Add(serial, big.NewInt(1))
	}
	spki, err := spkiOf(public, kind)
	if err != nil {
		return nil, fmt.Errorf("testpki: %w", err)
	}
	id := sha1.Sum(spki)
	template.SubjectKeyId = id[:]
	byHand := kind == RSAPSS2048 || kind == X25519
	if byHand {
		public = signer.Public() // in its place, for now
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err == nil && byHand {
		raw, err = withKey(raw, spki, signer)
	}
	if err != nil {
		return nil, fmt.Errorf("testpki: %w", err)
	}
	return x509.ParseCertificate(raw)
}

var errShape = errors.New("unexpected shape of a certificate")
