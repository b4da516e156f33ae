package cms

import (
	"bytes"
	"encoding/hex"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/pki"
)

// A CertificateID names a certificate, as SignerIdentifier and
// RecipientIdentifier do (RFC 5652, Sections 5.3 and 6.2.1).
//
//	CHOICE {
//	  issuerAndSerialNumber IssuerAndSerialNumber,
//	  subjectKeyIdentifier [0] SubjectKeyIdentifier }
type CertificateID struct {
	Issuer       []byte // the Name of the issuer, as received; nil for a key identifier
	Serial       []byte // the content octets of the serial number
	SubjectKeyID []byte
}

// newCertificateID names c by its issuer and serial number, or by its key
// identifier. A certificate without a key identifier is a UsageError then.
func newCertificateID(c *pki.Certificate, byKey bool) (CertificateID, error) {
	if !byKey {
		return CertificateID{Issuer: c.RawIssuer, Serial: c.Serial}, nil
	}
	if len(c.SubjectKeyID) == 0 {
		return CertificateID{}, usage("the certificate of %q has no subject key identifier", c.Subject())
	}
	return CertificateID{SubjectKeyID: c.SubjectKeyID}, nil
}

// Matches reports whether id names c. Issuers are compared as octets and then
// by the rules of RFC 5280, Section 7.1.
func (id CertificateID) Matches(c *pki.Certificate) bool {
	if id.Issuer == nil {
		return len(id.SubjectKeyID) > 0 && bytes.Equal(id.SubjectKeyID, c.SubjectKeyID)
	}
	return sameSerial(id.Serial, c.Serial) && pki.NamesEqual(id.Issuer, c.RawIssuer)
}

// sameSerial compares numbers, padded or not: some encoders lose the zero
// octet that keeps a number positive, some add one.
func sameSerial(a, b []byte) bool {
	return bytes.Equal(a, b) || bytes.Equal(bytes.TrimLeft(a, "\x00"), bytes.TrimLeft(b, "\x00"))
}

// equal reports whether two names are the same name.
func (id CertificateID) equal(other CertificateID) bool {
	return bytes.Equal(id.Issuer, other.Issuer) && bytes.Equal(id.Serial, other.Serial) && bytes.Equal(id.SubjectKeyID, other.SubjectKeyID)
}

// String returns the issuer and serial number, or the key identifier, as text.
func (id CertificateID) String() string {
	if id.Issuer == nil {
		return "key identifier " + hex.EncodeToString(id.SubjectKeyID)
	}
	return "serial number " + hex.EncodeToString(id.Serial) + " of " + pki.NameText(id.Issuer)
}

// read reads the CHOICE; nested tells that the key identifier is inside a
// RecipientKeyIdentifier (RFC 5652, Section 6.2.2).
func (id *CertificateID) read(s *cryptobyte.String, nested bool) bool {
	if s.PeekASN1Tag(asn1.SEQUENCE) {
		var seq, issuer, serial cryptobyte.String
		if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Element(&issuer, asn1.SEQUENCE) ||
			!seq.ReadASN1(&serial, asn1.INTEGER) || !seq.Empty() || len(serial) == 0 {
			return false
		}
		id.Issuer, id.Serial = issuer, serial
		return true
	}
	if !nested {
		return der.ReadOctets(s, &id.SubjectKeyID, 0)
	}
	var seq cryptobyte.String
	// The date and other attributes that may follow say nothing about the key.
	return s.ReadASN1(&seq, der.Context(0, true)) && der.ReadOctets(&seq, &id.SubjectKeyID, -1)
}

func (id CertificateID) add(b *der.Builder, nested bool) {
	switch {
	case id.Issuer != nil:
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddBytes(id.Issuer)
			b.AddASN1(asn1.INTEGER, func(b *der.Builder) { b.AddBytes(id.Serial) })
		})
	case nested:
		b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1OctetString(id.SubjectKeyID) })
	default:
		b.AddASN1(der.Context(0, false), func(b *der.Builder) { b.AddBytes(id.SubjectKeyID) })
	}
}
