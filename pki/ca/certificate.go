package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// Extensions and what stands in them: RFC 5280, Sections 4.2 and 5; RFC 6960.
const (
	extPolicies     oid.OID = "2.5.29.32"
	extDistribution oid.OID = "2.5.29.31"
	extAccess       oid.OID = "1.3.6.1.5.5.7.1.1"
	extOCSPNoCheck  oid.OID = "1.3.6.1.5.5.7.48.1.5"
	accessOCSP      oid.OID = "1.3.6.1.5.5.7.48.1"
	accessIssuers   oid.OID = "1.3.6.1.5.5.7.48.2"
	ekuOCSPSigning  oid.OID = "1.3.6.1.5.5.7.3.9"
	ekuClientAuth   oid.OID = "1.3.6.1.5.5.7.3.2"
	policyAny       oid.OID = "2.5.29.32.0"
	dnCommonName    oid.OID = "2.5.4.3"
	dnCountry       oid.OID = "2.5.4.6"
	dnOrganization  oid.OID = "2.5.4.10"
	dnGivenName     oid.OID = "2.5.4.42"
	dnSurname       oid.OID = "2.5.4.4"
)

// Bits of the keyUsage, counted from the left (RFC 5280, Section 4.2.1.3).
const (
	usageDigitalSignature = 1 << 7
	usageNonRepudiation   = 1 << 6
	usageKeyEncipherment  = 1 << 5
	usageKeyAgreement     = 1 << 3
	usageCertSign         = 1 << 2
	usageCRLSign          = 1 << 1
)

// An extension is one of a certificate, a CRL or an OCSP response; value is the
// content of its OCTET STRING.
type extension struct {
	id       oid.OID
	critical bool
	value    func(b *der.Builder)
}

func addExtensions(b *der.Builder, list []extension) {
	sequence(b, func(b *der.Builder) {
		for _, e := range list {
			sequence(b, func(b *der.Builder) {
				der.AddOID(b, e.id)
				if e.critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1(asn1.OCTET_STRING, e.value)
			})
		}
	})
}

// A template is what a certificate will say.
type template struct {
	subject             []byte // a Name
	key                 crypto.PublicKey
	notBefore, notAfter time.Time
	extensions          []extension
}

// make encodes and signs a certificate. The issuer's name and key identifier are
// those of parent, or its own when parent is nil.
func (t *template) make(parent *pki.Certificate, signer crypto.Signer) (*pki.Certificate, error) {
	spki, bits, err := marshalKey(t.key)
	if err != nil {
		return nil, err
	}
	subjectKeyID := keyID(bits)
	issuer, issuerKeyID := t.subject, subjectKeyID
	if parent != nil {
		issuer, issuerKeyID = parent.RawSubject, parent.SubjectKeyID
	}
	_, algorithm, err := algorithmOf(signer.Public())
	if err != nil {
		return nil, err
	}
	// RFC 5280, Sections 4.2.1.1 and 4.2.1.2: neither is critical.
	all := append([]extension{
		{oid.ExtSubjectKeyID, false, func(b *der.Builder) { b.AddASN1OctetString(subjectKeyID) }},
		authorityKeyID(issuerKeyID),
	}, t.extensions...)
	tbs, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1Int64(2) }) // version 3
			b.AddASN1(asn1.INTEGER, func(b *der.Builder) { b.AddBytes(newSerial()) })
			der.AddAlgorithm(b, algorithm)
			b.AddBytes(issuer)
			sequence(b, func(b *der.Builder) {
				der.AddTime(b, t.notBefore)
				der.AddTime(b, t.notAfter)
			})
			b.AddBytes(t.subject)
			b.AddBytes(spki)
			b.AddASN1(der.Context(3, true), func(b *der.Builder) { addExtensions(b, all) })
		})
	})
	if err != nil {
		return nil, err
	}
	raw, err := signed(signer, tbs, nil)
	if err != nil {
		return nil, err
	}
	return pki.ParseCertificate(raw)
}

// newSerial returns the content of a serial number of 16 octets.
//
// RFC 5280, Section 4.1.2.2: positive, and of 20 octets at most. Its bits are
// random, so that whoever asks cannot foresee what will be signed.
func newSerial() []byte {
	serial := make([]byte, 16)
	for serial[0] == 0 { // DER has no padding
		_, _ = rand.Read(serial) // never returns an error
		serial[0] &= 0x7F
	}
	return serial
}

func authorityKeyID(id []byte) extension {
	return extension{oid.ExtAuthorityKeyID, false, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1(der.Context(0, false), func(b *der.Builder) { b.AddBytes(id) })
		})
	}}
}

// keyUsage is critical (RFC 5280, Section 4.2.1.3).
func keyUsage(bits byte) extension {
	unused := byte(0)
	for bits>>unused&1 == 0 {
		unused++
	}
	return extension{oid.ExtKeyUsage, true, func(b *der.Builder) {
		b.AddASN1(asn1.BIT_STRING, func(b *der.Builder) { b.AddBytes([]byte{unused, bits}) })
	}}
}

func extKeyUsage(purposes ...oid.OID) extension {
	return extension{oid.ExtExtKeyUsage, false, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			for _, p := range purposes {
				der.AddOID(b, p)
			}
		})
	}}
}

func policy(id oid.OID) extension {
	return extension{extPolicies, false, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) { der.AddOID(b, id) })
		})
	}}
}

// basicConstraints of a CA, with a pathLenConstraint unless it is negative.
func basicConstraints(pathLen int64) extension {
	return extension{oid.ExtBasicConstraints, true, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1Boolean(true)
			if pathLen >= 0 {
				b.AddASN1Int64(pathLen)
			}
		})
	}}
}

// where returns the extensions that tell where the status of a certificate is.
func (u URLs) where() []extension {
	var out []extension
	if u.CRL != "" {
		out = append(out, extension{extDistribution, false, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				sequence(b, func(b *der.Builder) {
					b.AddASN1(der.Context(0, true), func(b *der.Builder) {
						b.AddASN1(der.Context(0, true), func(b *der.Builder) { addURI(b, u.CRL) })
					})
				})
			})
		}})
	}
	if u.OCSP == "" && u.Issuer == "" {
		return out
	}
	return append(out, extension{extAccess, false, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			addAccess(b, accessOCSP, u.OCSP)
			addAccess(b, accessIssuers, u.Issuer)
		})
	}})
}

func addURI(b *der.Builder, uri string) {
	b.AddASN1(der.Context(6, false), func(b *der.Builder) { b.AddBytes([]byte(uri)) })
}

func addAccess(b *der.Builder, method oid.OID, uri string) {
	if uri == "" {
		return
	}
	sequence(b, func(b *der.Builder) {
		der.AddOID(b, method)
		addURI(b, uri)
	})
}

// maxName is the most characters in a part of a name (RFC 5280, Appendix A.1:
// ub-common-name and ub-organization-name).
const maxName = 64

// name returns a Name with the parts that are not empty.
func name(country, organization, common string) ([]byte, error) {
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			// RFC 5280, Appendix A.1: X520countryName is a PrintableString.
			addPart(b, dnCountry, asn1.PrintableString, country)
			addPart(b, dnOrganization, asn1.UTF8String, organization)
			addPart(b, dnCommonName, asn1.UTF8String, common)
		})
	})
}

// personName returns a Name of a person: common name, and given name and surname
// as far as they are not empty.
func personName(given, surname, common string) ([]byte, error) {
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			addPart(b, dnGivenName, asn1.UTF8String, given)
			addPart(b, dnSurname, asn1.UTF8String, surname)
			addPart(b, dnCommonName, asn1.UTF8String, common)
		})
	})
}

func addPart(b *der.Builder, id oid.OID, kind asn1.Tag, text string) {
	if text == "" {
		return
	}
	b.AddASN1(asn1.SET, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			der.AddOID(b, id)
			b.AddASN1(kind, func(b *der.Builder) { b.AddBytes([]byte(text)) })
		})
	})
}

func isEmpty(name []byte) bool { return bytes.Equal(name, []byte{0x30, 0}) }
