package keystore

import (
	"encoding/pem"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// WhatCertificates is the What of an error of [ParseCertificates].
const WhatCertificates = "expected certificates in PEM, DER or PKCS#7"

// ParseCertificates reads the certificates in data, of which there has to be
// at least one: PEM with any number of them (other blocks are passed over),
// DER certificates one after the other, or a PKCS#7 file with certificates, in
// DER, BER or PEM. The name is for errors. The certificates do not refer to
// data. The error is a [*FileError].
func ParseCertificates(name string, data []byte) ([]*pki.Certificate, error) {
	certs, err := parseCertFile(data)
	if err == nil && len(certs) == 0 {
		err = ErrNoCertificate
	}
	if err != nil {
		return nil, named(name, WhatCertificates, err)
	}
	return certs, nil
}

func parseCertFile(data []byte) ([]*pki.Certificate, error) {
	if !isPEM(data) {
		return parseCertDER(append([]byte(nil), data...))
	}
	blocks, err := pemBlocks(data)
	if err != nil {
		return nil, err
	}
	var certs []*pki.Certificate
	for _, b := range blocks {
		found, err := parseCertBlock(b)
		if err != nil {
			return nil, err
		}
		if certs = append(certs, found...); len(certs) > maxObjects {
			return nil, &LimitError{"objects in a file"}
		}
	}
	return certs, nil
}

// parseCertBlock returns the certificates in a PEM block (RFC 7468, Sections 5
// to 9), none for a block of something else.
func parseCertBlock(b *pem.Block) ([]*pki.Certificate, error) {
	switch b.Type {
	case "CERTIFICATE", "X509 CERTIFICATE":
		return parseCertDER(b.Bytes)
	case "TRUSTED CERTIFICATE": // OpenSSL's, with more behind the certificate
		s := cryptobyte.String(b.Bytes)
		var element cryptobyte.String
		if !s.ReadASN1Element(&element, asn1.SEQUENCE) {
			return nil, malformed("certificate")
		}
		return parseCertDER(element)
	case "PKCS7", "CMS":
		return parsePKCS7(b.Bytes)
	}
	return nil, nil
}

// parseCertDER reads certificates one after the other, or PKCS#7.
func parseCertDER(data []byte) ([]*pki.Certificate, error) {
	s := cryptobyte.String(data)
	var certs []*pki.Certificate
	for !s.Empty() {
		var element cryptobyte.String
		if !s.ReadASN1Element(&element, asn1.SEQUENCE) {
			break
		}
		if what(element) != kindCertificate {
			break
		}
		c, err := pki.ParseCertificate(element)
		if err != nil {
			return nil, err
		}
		if certs = append(certs, c); len(certs) > maxObjects {
			return nil, &LimitError{"objects in a file"}
		}
	}
	if len(certs) > 0 {
		if !s.Empty() {
			return nil, malformed("data after a certificate")
		}
		return certs, nil
	}
	object, err := ber.Normalize(data, maxDepth)
	if err != nil {
		return nil, ErrFormat
	}
	switch what(object) {
	case kindPKCS7:
		return parsePKCS7(object)
	case kindCertificate:
		c, err := pki.ParseCertificate(object)
		if err != nil {
			return nil, err
		}
		return []*pki.Certificate{c}, nil
	case kindUnknown:
		return nil, ErrFormat
	}
	return nil, ErrNoCertificate
}

// parsePKCS7 returns the certificates of a SignedData in a ContentInfo.
// Attribute certificates and the like are passed over.
//
// RFC 5652, Section 5.1: SignedData ::= SEQUENCE { version, digestAlgorithms,
// encapContentInfo, certificates [0] IMPLICIT CertificateSet OPTIONAL, … }
func parsePKCS7(data []byte) ([]*pki.Certificate, error) {
	object, err := ber.Normalize(data, maxDepth)
	if err != nil {
		return nil, &SyntaxError{"PKCS#7", err}
	}
	s := cryptobyte.String(object)
	var info, content, signed, set cryptobyte.String
	var id oid.OID
	if !s.ReadASN1(&info, asn1.SEQUENCE) || !der.ReadOID(&info, &id) {
		return nil, malformed("PKCS#7")
	}
	if id != oid.SignedData {
		return nil, &UnsupportedError{"content of the PKCS#7 file", id}
	}
	var present bool
	if !info.ReadASN1(&content, der.Context(0, true)) || !content.ReadASN1(&signed, asn1.SEQUENCE) ||
		!signed.SkipASN1(asn1.INTEGER) || !signed.SkipASN1(asn1.SET) || !signed.SkipASN1(asn1.SEQUENCE) ||
		!signed.ReadOptionalASN1(&set, &present, der.Context(0, true)) {
		return nil, malformed("SignedData")
	}
	var certs []*pki.Certificate
	for !set.Empty() {
		var element cryptobyte.String
		var tag asn1.Tag
		if !set.ReadAnyASN1Element(&element, &tag) {
			return nil, malformed("CertificateSet")
		}
		if tag != asn1.SEQUENCE {
			continue
		}
		c, err := pki.ParseCertificate(element)
		if err != nil {
			return nil, err
		}
		if certs = append(certs, c); len(certs) > maxObjects {
			return nil, &LimitError{"objects in a file"}
		}
	}
	return certs, nil
}
