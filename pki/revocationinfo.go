package pki

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// ParseRevocationInfo reads one RevocationInfoChoice of a CMS message (RFC 5652,
// Section 10.2.1): a CRL, or an OCSP response (RFC 5940, Section 2.1). One of
// the results is not nil if and only if err is nil. The error is a
// [*RevocationParseError], in whose Field the identifier of a format that is not
// known follows "otherRevInfoFormat", or an [*OCSPStatusError].
//
//	RevocationInfoChoice ::= CHOICE {
//	  crl CertificateList, other [1] IMPLICIT OtherRevocationInfoFormat }
func ParseRevocationInfo(choice []byte) (*CRL, *OCSPResponse, error) {
	in := cryptobyte.String(choice)
	if !in.PeekASN1Tag(der.Context(1, true)) {
		crl, err := ParseCRL(choice)
		return crl, nil, err
	}
	var content cryptobyte.String
	if !in.ReadASN1(&content, der.Context(1, true)) || !in.Empty() {
		return nil, nil, infoError("other")
	}
	ocsp, err := parseOtherInfo(content)
	return nil, ocsp, err
}

// ParseOtherRevocationInfo reads an OtherRevocationInfoFormat of its own, a
// SEQUENCE with the identifier id-ri-ocsp-response (RFC 5940, Section 2.1).
// Errors are those of [ParseRevocationInfo].
func ParseOtherRevocationInfo(raw []byte) (*OCSPResponse, error) {
	in := cryptobyte.String(raw)
	var content cryptobyte.String
	if !in.ReadASN1(&content, asn1.SEQUENCE) || !in.Empty() {
		return nil, infoError("OtherRevocationInfoFormat")
	}
	return parseOtherInfo(content)
}

func parseOtherInfo(content cryptobyte.String) (*OCSPResponse, error) {
	var id oid.OID
	if !der.ReadOID(&content, &id) {
		return nil, infoError("otherRevInfoFormat")
	}
	if id != riOCSPResponse {
		return nil, infoError("otherRevInfoFormat " + id.String())
	}
	return ParseOCSPResponse(content)
}

func infoError(field string) error {
	return &RevocationParseError{What: "revocation information", Field: field}
}
