package pki

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A Certificate is what a certificate says (RFC 5280, Section 4.1). Its slices
// point into the octets that were parsed and must not be modified.
type Certificate struct {
	// Raw is the whole certificate, RawTBS what is signed, RawIssuer and
	// RawSubject the Names and RawSPKI the SubjectPublicKeyInfo: whole elements,
	// as received.
	Raw, RawTBS, RawIssuer, RawSubject, RawSPKI []byte

	// Version is 1, 2 or 3, or another number if that stands there; 0 when it
	// could not be read.
	Version int

	// Serial is the content of the serialNumber INTEGER as encoded, so that
	// negative and padded numbers can be compared too.
	Serial []byte

	// NotBefore and NotAfter are the first and the last second of validity, in
	// UTC. Either is zero when it could not be read; see Problems.
	NotBefore, NotAfter time.Time

	// KeyAlgorithm is the algorithm of the subject's public key.
	KeyAlgorithm der.Algorithm

	// PublicKey is nil when KeyErr says why, and else
	//   - an *rsa.PublicKey, under the identifiers rsaEncryption, id-RSASSA-PSS
	//     and id-RSAES-OAEP,
	//   - an *ecdsa.PublicKey on P-224 to P-521, or on one of the brainpool
	//     curves of 256, 384 and 512 bits, whose curve is not one of
	//     crypto/elliptic,
	//   - an ed25519.PublicKey, or an ed448.PublicKey of
	//     github.com/cloudflare/circl/sign/ed448,
	//   - an *ecdh.PublicKey for X25519, or for X448 a value with the methods
	//     Bytes and Equal,
	//   - an *mldsa.PublicKey of filippo.io/mldsa, or a PublicKey of
	//     github.com/cloudflare/circl/sign/slhdsa,
	//   - a crypto.Encapsulator for ML-KEM-512, ML-KEM-768 and ML-KEM-1024,
	//   - a *dsa.PublicKey; one that inherits its parameters has zero Parameters,
	//     see [InheritDSA].
	PublicKey crypto.PublicKey

	// KeyErr is nil, or a [*KeyError] that says why PublicKey is nil.
	KeyErr error

	// SubjectKeyID and AuthorityKeyID are the key identifiers of the extensions
	// (RFC 5280, Sections 4.2.1.1 and 4.2.1.2), or nil.
	SubjectKeyID, AuthorityKeyID []byte

	// KeyUsage is the keyUsage extension; HasKeyUsage tells whether there is one.
	KeyUsage    x509.KeyUsage
	HasKeyUsage bool

	// ExtKeyUsage is the extKeyUsage extension, nil when absent.
	ExtKeyUsage []oid.OID

	// IsCA is the cA field of basicConstraints, false when absent.
	IsCA bool

	// Emails are the mail addresses: rfc822Name and SmtpUTF8Mailbox (RFC 9598)
	// of the subjectAltName, then emailAddress of the subject, without doubles.
	// What is not of the form local@domain, or has control characters, is left
	// out.
	Emails []string

	// SignatureAlgorithm and Signature are the issuer's signature over RawTBS.
	SignatureAlgorithm der.Algorithm
	Signature          []byte

	// Extensions are all extensions in their order, as received.
	Extensions []Extension

	// UnhandledCritical lists the critical extensions that this package does
	// not understand (RFC 5280, Section 4.2). It understands those on names and
	// policies, which [Roots.Verify] reads.
	UnhandledCritical []oid.OID

	// Problems lists, as [*ParseError], the parts that could not be read and
	// were passed over.
	Problems []error

	// X509 is the certificate as crypto/x509 sees it, or nil when it cannot;
	// then X509Err says why.
	X509    *x509.Certificate
	X509Err error

	sanRead bool // the subjectAltName has names, and was read completely
	folded  *foldedNames
}

// An Extension is an Extension of RFC 5280, Section 4.1. Value is the content of
// extnValue and not looked at.
type Extension struct {
	OID      oid.OID
	Critical bool
	Value    []byte
}

// Subject returns the subject's name as text in the manner of RFC 4514 (and of
// openssl x509 -nameopt RFC2253): the most specific part first, "CN=Alice,O=X".
// Control, formatting and other characters that do not print are escaped as
// \XX per octet of UTF-8. An empty name is "".
func (c *Certificate) Subject() string { return NameText(c.RawSubject) }

// Issuer returns the issuer's name in the form of [Certificate.Subject].
func (c *Certificate) Issuer() string { return NameText(c.RawIssuer) }

// CommonName returns the most specific common name of the subject, or "".
// Characters that do not print are escaped as in [Certificate.Subject], and
// others stand for themselves.
func (c *Certificate) CommonName() string { return commonName(c.RawSubject) }

// CanSign reports whether the key may sign messages.
//
// RFC 8550, Section 4.4.2: the key usage, when there is one, has
// digitalSignature or nonRepudiation.
func (c *Certificate) CanSign() bool {
	if signs, _ := c.keyUses(); !signs {
		return false
	}
	return !c.HasKeyUsage || c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) != 0
}

// CanEncrypt reports whether messages may be encrypted to the key: one of RSA
// or ML-KEM whose key usage, when there is one, has keyEncipherment, or one of
// EC, X25519 or X448 with keyAgreement (RFC 8550, Section 4.4.2; RFC 8410,
// Section 5; RFC 9935, Section 5). A key that could not be read is judged by its
// usage alone.
func (c *Certificate) CanEncrypt() bool {
	_, need := c.keyUses()
	return need != 0 && (!c.HasKeyUsage || c.KeyUsage&need != 0)
}

// canAgree reports whether messages may be encrypted to the key by key
// agreement.
func (c *Certificate) canAgree() bool {
	_, need := c.keyUses()
	need &= x509.KeyUsageKeyAgreement
	return need != 0 && (!c.HasKeyUsage || c.KeyUsage&need != 0)
}

// keyUses tells what keys of this kind can do: make signatures, and be encrypted
// to where one of the bits of encrypts is set.
func (c *Certificate) keyUses() (signs bool, encrypts x509.KeyUsage) {
	switch c.PublicKey.(type) {
	case nil:
		return true, x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	case *rsa.PublicKey: // RFC 4055, Section 1.2: some are for one use only
		if c.KeyAlgorithm.OID != oid.RSAPSS {
			encrypts = x509.KeyUsageKeyEncipherment
		}
		return c.KeyAlgorithm.OID != oid.RSAES, encrypts
	case *ecdsa.PublicKey:
		// RFC 5480, Section 2.1: id-ecDH is for key agreement only.
		return c.KeyAlgorithm.OID != oid.ECDH, x509.KeyUsageKeyAgreement
	case *ecdh.PublicKey, *alg.X448PublicKey:
		return false, x509.KeyUsageKeyAgreement
	}
	if _, _, isKEM := alg.KEMOf(c.PublicKey); isKEM {
		return false, x509.KeyUsageKeyEncipherment
	}
	return true, 0 // Ed25519, Ed448, ML-DSA, SLH-DSA, DSA
}

// HasEmail reports whether address is one of c.Emails. The local parts are
// compared exactly, the domains without case and with U-labels converted to
// A-labels. Characters that only look alike, or are composed in another way, are
// different.
//
// RFC 9598, Section 5.
func (c *Certificate) HasEmail(address string) bool {
	return slices.ContainsFunc(c.Emails, func(e string) bool { return sameAddress(e, address) })
}

// MayProtectEmail reports whether the extended key usage, when there is one,
// has emailProtection or anyExtendedKeyUsage (RFC 8550, Section 4.4.4).
func (c *Certificate) MayProtectEmail() bool {
	return len(c.ExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, oid.EKUEmailProtection) || slices.Contains(c.ExtKeyUsage, oid.EKUAny)
}

// isMailbox reports whether s has the shape local@domain.
func isMailbox(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && isPrintable(s)
}

func sameAddress(a, b string) bool {
	if a == b {
		return true
	}
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i >= 0 && j >= 0 && a[:i] == b[:j] && asciiDomain(a[i+1:]) == asciiDomain(b[j+1:])
}

// lowerASCII folds ASCII letters only: Unicode folding would let a Kelvin sign
// pass for a K.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
