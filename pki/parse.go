package pki

import (
	"crypto/x509"
	stdasn1 "encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A ParseError says that octets are not a certificate, or, in
// [Certificate.Problems], which part of one could not be read.
type ParseError struct {
	Field string // the field's name in RFC 5280, or the extension's identifier
}

func (e *ParseError) Error() string { return "pki: malformed certificate: " + e.Field }

// ParseCertificate reads a DER certificate (RFC 5280, Section 4.1). It fails,
// with a [*ParseError], only when raw does not have the shape of a certificate
// or something follows it; what else is wrong is told in the certificate's
// fields Problems, KeyErr and X509Err. The certificate refers to raw.
func ParseCertificate(raw []byte) (*Certificate, error) {
	c, err := parse(raw)
	if err != nil {
		return nil, err
	}
	c.X509, c.X509Err = x509.ParseCertificate(c.Raw)
	return c, nil
}

// FromX509 returns the view of a certificate that crypto/x509 has parsed. It
// never fails; for a nil c it returns nil.
func FromX509(c *x509.Certificate) *Certificate {
	if c == nil {
		return nil
	}
	out, err := parse(c.Raw)
	if err != nil { // a certificate that was put together by hand
		out = fromFields(c)
	}
	out.X509 = c
	return out
}

func parse(raw []byte) (*Certificate, error) {
	input := cryptobyte.String(raw)
	var element, body, tbs, sigAlg cryptobyte.String
	if !input.ReadASN1Element(&element, asn1.SEQUENCE) {
		return nil, &ParseError{Field: "Certificate"}
	}
	if !input.Empty() {
		return nil, &ParseError{Field: "data after the certificate"}
	}
	c := &Certificate{Raw: element}
	if !element.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1Element(&tbs, asn1.SEQUENCE) {
		return nil, &ParseError{Field: "tbsCertificate"}
	}
	c.RawTBS = tbs
	if !body.ReadASN1(&sigAlg, asn1.SEQUENCE) {
		return nil, &ParseError{Field: "signatureAlgorithm"}
	}
	c.SignatureAlgorithm = c.algorithm(sigAlg, "signatureAlgorithm")
	var ok bool
	if c.Signature, ok = readBits(&body); !ok {
		return nil, &ParseError{Field: "signatureValue"}
	}
	if err := c.parseTBS(tbs); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) problem(field string) {
	c.Problems = append(c.Problems, &ParseError{Field: field})
}

// algorithm reads the content of an AlgorithmIdentifier and makes the best of it.
func (c *Certificate) algorithm(s cryptobyte.String, field string) der.Algorithm {
	var a der.Algorithm
	var params cryptobyte.String
	var tag asn1.Tag
	if !der.ReadOID(&s, &a.OID) {
		c.problem(field)
		return der.Algorithm{}
	}
	if s.Empty() {
		return a
	}
	if !s.ReadAnyASN1Element(&params, &tag) || !s.Empty() {
		c.problem(field)
	}
	a.Parameters = params
	return a
}

// readBits reads a BIT STRING of whole octets.
func readBits(s *cryptobyte.String) ([]byte, bool) {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.BIT_STRING) || len(content) == 0 || content[0] > 7 {
		return nil, false
	}
	unused := int(content[0])
	if unused == 0 {
		return content[1:], true
	}
	if len(content) == 1 {
		return nil, false
	}
	bits := stdasn1.BitString{Bytes: content[1:], BitLength: 8*(len(content)-1) - unused}
	return bits.RightAlign(), true // as crypto/x509 has it: no signature or key is like that
}

// parseTBS reads a TBSCertificate (RFC 5280, Section 4.1.2).
func (c *Certificate) parseTBS(tbs cryptobyte.String) error {
	var version, serial, inner, issuer, validity, subject, spki cryptobyte.String
	if !tbs.ReadASN1(&tbs, asn1.SEQUENCE) || !tbs.ReadOptionalASN1(&version, nil, der.Context(0, true)) {
		return &ParseError{Field: "tbsCertificate"}
	}
	if !tbs.ReadASN1(&serial, asn1.INTEGER) {
		return &ParseError{Field: "serialNumber"}
	}
	if !tbs.ReadASN1(&inner, asn1.SEQUENCE) {
		return &ParseError{Field: "signature"}
	}
	if !tbs.ReadASN1Element(&issuer, asn1.SEQUENCE) {
		return &ParseError{Field: "issuer"}
	}
	if !tbs.ReadASN1(&validity, asn1.SEQUENCE) {
		return &ParseError{Field: "validity"}
	}
	if !tbs.ReadASN1Element(&subject, asn1.SEQUENCE) {
		return &ParseError{Field: "subject"}
	}
	if !tbs.ReadASN1Element(&spki, asn1.SEQUENCE) {
		return &ParseError{Field: "subjectPublicKeyInfo"}
	}
	c.readVersion(version)
	c.Serial, c.RawIssuer, c.RawSubject, c.RawSPKI = serial, issuer, subject, spki
	// RFC 5280, Section 4.1.1.2: the same algorithm inside and outside.
	if a := c.algorithm(inner, "signature"); !a.Equal(c.SignatureAlgorithm) {
		c.problem("signature")
	}
	if !der.ReadTime(&validity, &c.NotBefore) {
		c.problem("notBefore")
	}
	if !der.ReadTime(&validity, &c.NotAfter) {
		c.problem("notAfter")
	}
	for _, name := range []struct {
		field string
		raw   []byte
	}{{"issuer", issuer}, {"subject", subject}} {
		if _, ok := readName(name.raw); !ok {
			c.problem(name.field)
		}
	}
	c.KeyAlgorithm, c.PublicKey, c.KeyErr = parsePublicKey(spki)
	c.parseTail(tbs)
	c.addSubjectEmails()
	c.folded = &foldedNames{rawIssuer: issuer, rawSubject: subject}
	return nil
}

// readVersion reads the content of the version field, absent for version 1.
func (c *Certificate) readVersion(v cryptobyte.String) {
	c.Version = 1
	if v == nil {
		return
	}
	if c.Version = 0; !v.ReadASN1Integer(&c.Version) || !v.Empty() || c.Version < 0 || c.Version > 1<<16 {
		c.Version = 0
		c.problem("version")
		return
	}
	c.Version++
}

// parseTail reads the optional fields after the key.
func (c *Certificate) parseTail(tbs cryptobyte.String) {
	for _, tag := range []asn1.Tag{der.Context(1, false), der.Context(2, false)} {
		if !tbs.SkipOptionalASN1(tag) {
			c.problem("uniqueIdentifier")
			return
		}
	}
	if tbs.Empty() {
		return
	}
	var wrapped, list cryptobyte.String
	if !tbs.ReadASN1(&wrapped, der.Context(3, true)) || !wrapped.ReadASN1(&list, asn1.SEQUENCE) {
		c.problem("extensions")
		return
	}
	c.parseExtensions(list)
}

// fromFields takes over what a certificate made by hand says of itself.
func fromFields(c *x509.Certificate) *Certificate {
	out := &Certificate{
		Version: c.Version, Raw: c.Raw, RawTBS: c.RawTBSCertificate, RawIssuer: c.RawIssuer, RawSubject: c.RawSubject,
		RawSPKI:   c.RawSubjectPublicKeyInfo,
		NotBefore: c.NotBefore.UTC().Truncate(time.Second), NotAfter: c.NotAfter.UTC().Truncate(time.Second),
		PublicKey: c.PublicKey, SubjectKeyID: c.SubjectKeyId, AuthorityKeyID: c.AuthorityKeyId,
		KeyUsage: c.KeyUsage, HasKeyUsage: c.KeyUsage != 0, IsCA: c.IsCA, Signature: c.Signature,
	}
	if c.SerialNumber != nil {
		b, err := der.Marshal(func(b *der.Builder) { b.AddASN1BigInt(c.SerialNumber) })
		s, content := cryptobyte.String(b), cryptobyte.String(nil)
		if err == nil && s.ReadASN1(&content, asn1.INTEGER) {
			out.Serial = content
		}
	}
	for _, e := range c.EmailAddresses {
		out.addEmail(e)
	}
	for _, u := range c.ExtKeyUsage {
		if o, ok := ekuByX509[u]; ok {
			out.ExtKeyUsage = append(out.ExtKeyUsage, o)
		}
	}
	for _, u := range c.UnknownExtKeyUsage {
		out.ExtKeyUsage = append(out.ExtKeyUsage, oid.OID(u.String()))
	}
	if len(out.RawSPKI) > 0 {
		out.KeyAlgorithm, out.PublicKey, out.KeyErr = parsePublicKey(out.RawSPKI)
	} else if out.PublicKey == nil {
		out.KeyErr = &KeyError{What: "there is no key"}
	}
	out.addSubjectEmails()
	return out
}
