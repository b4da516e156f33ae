package pki

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// An OCSPStatus is an OCSPResponseStatus (RFC 6960, Section 4.2.1).
type OCSPStatus int

// The statuses of responses that tell nothing (RFC 6960, Section 4.2.1).
const (
	OCSPMalformedRequest OCSPStatus = 1
	OCSPInternalError    OCSPStatus = 2
	OCSPTryLater         OCSPStatus = 3
	OCSPSigRequired      OCSPStatus = 5
	OCSPUnauthorized     OCSPStatus = 6
)

// String returns the status in words.
func (s OCSPStatus) String() string {
	switch s {
	case OCSPMalformedRequest:
		return "the request is malformed"
	case OCSPInternalError:
		return "internal error"
	case OCSPTryLater:
		return "try later"
	case OCSPSigRequired:
		return "the request has to be signed"
	case OCSPUnauthorized:
		return "not authorized"
	}
	return "status " + strconv.Itoa(int(s))
}

// An OCSPStatusError is a response that is not successful. It is not signed.
type OCSPStatusError struct{ Status OCSPStatus }

func (e *OCSPStatusError) Error() string { return "pki: OCSP responder: " + e.Status.String() }

// An OCSPResponse is a BasicOCSPResponse (RFC 6960, Section 4.2.1). It says what
// its octets say and nothing about trust: [Revocation] checks who signed it.
// Its slices point into the octets that were parsed and must not be modified.
// It is not changed after it was made, and may be used by several goroutines.
type OCSPResponse struct {
	// Raw is the whole OCSPResponse and RawTBS what is signed.
	Raw, RawTBS []byte

	// ResponderName is the responder's Name, a whole element, or nil. Then
	// ResponderKeyHash is the SHA-1 digest of its key.
	ResponderName, ResponderKeyHash []byte

	// ProducedAt is when the response was signed, in UTC.
	ProducedAt time.Time

	// Responses are the statuses of certificates.
	Responses []OCSPSingle

	// Nonce is the content of the nonce, or nil.
	Nonce []byte

	// SignatureAlgorithm and Signature are the responder's signature over RawTBS.
	SignatureAlgorithm der.Algorithm
	Signature          []byte

	// Certificates come with the response. They may be anyone's.
	Certificates []*Certificate

	// UnhandledCritical lists the critical extensions of the response that this
	// package does not understand.
	UnhandledCritical []oid.OID
}

// An OCSPSingle is the status of one certificate (RFC 6960, Section 4.2.1:
// SingleResponse).
type OCSPSingle struct {
	// HashAlgorithm, IssuerNameHash, IssuerKeyHash and Serial name the
	// certificate. Serial is as in [Certificate.Serial].
	HashAlgorithm                 der.Algorithm
	IssuerNameHash, IssuerKeyHash []byte
	Serial                        []byte

	// Status is RevocationGood, RevocationRevoked, or RevocationUnknown when the
	// responder does not know the certificate.
	Status RevocationStatus
	// Reason and RevokedAt are those of a revoked certificate.
	Reason    RevocationReason
	RevokedAt time.Time

	// ThisUpdate is when the status was known to be right, and NextUpdate when
	// there will be newer information, in UTC. NextUpdate is zero when absent:
	// then there always is.
	ThisUpdate, NextUpdate time.Time

	// UnhandledCritical lists the critical extensions that this package does not
	// understand.
	UnhandledCritical []oid.OID
}

// Bounds of what is read from one response.
const (
	maxOCSPSingles      = 1000
	maxOCSPCertificates = 20
)

func ocspError(field string) error { return &RevocationParseError{What: "OCSP response", Field: field} }

// ParseOCSPResponse reads an OCSPResponse in DER (RFC 6960, Section 4.2.1). The
// error is an [*OCSPStatusError] for one that is not successful, or else a
// [*RevocationParseError]. The response refers to raw.
func ParseOCSPResponse(raw []byte) (*OCSPResponse, error) {
	input := cryptobyte.String(raw)
	var element, seq, wrapped, inner, basic cryptobyte.String
	var status int
	if !input.ReadASN1Element(&element, asn1.SEQUENCE) || !input.Empty() {
		return nil, ocspError("OCSPResponse")
	}
	body := element
	if !body.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Enum(&status) {
		return nil, ocspError("responseStatus")
	}
	if status != 0 {
		return nil, &OCSPStatusError{OCSPStatus(status)}
	}
	var id oid.OID
	if !seq.ReadASN1(&wrapped, der.Context(0, true)) || !wrapped.ReadASN1(&inner, asn1.SEQUENCE) ||
		!der.ReadOID(&inner, &id) || !inner.ReadASN1(&basic, asn1.OCTET_STRING) {
		return nil, ocspError("responseBytes")
	}
	if id != ocspBasic {
		return nil, ocspError("responseType " + id.String())
	}
	r, err := parseBasicOCSP(basic)
	if err != nil {
		return nil, err
	}
	r.Raw = element
	return r, nil
}

// parseBasicOCSP reads a BasicOCSPResponse:
//
//	BasicOCSPResponse ::= SEQUENCE {
//	  tbsResponseData ResponseData, signatureAlgorithm AlgorithmIdentifier,
//	  signature BIT STRING, certs [0] EXPLICIT SEQUENCE OF Certificate OPTIONAL }
func parseBasicOCSP(raw cryptobyte.String) (*OCSPResponse, error) {
	r := &OCSPResponse{}
	var seq, tbs, wrapped, list cryptobyte.String
	if !raw.ReadASN1(&seq, asn1.SEQUENCE) || !raw.Empty() || !seq.ReadASN1Element(&tbs, asn1.SEQUENCE) {
		return nil, ocspError("tbsResponseData")
	}
	r.RawTBS = tbs
	if !der.ReadAlgorithm(&seq, &r.SignatureAlgorithm) {
		return nil, ocspError("signatureAlgorithm")
	}
	var ok bool
	if r.Signature, ok = readBits(&seq); !ok {
		return nil, ocspError("signature")
	}
	if !seq.Empty() {
		if !seq.ReadASN1(&wrapped, der.Context(0, true)) || !wrapped.ReadASN1(&list, asn1.SEQUENCE) || !seq.Empty() {
			return nil, ocspError("certs")
		}
		for !list.Empty() {
			var element cryptobyte.String
			var tag asn1.Tag
			if !list.ReadAnyASN1Element(&element, &tag) {
				return nil, ocspError("certs")
			}
			if len(r.Certificates) >= maxOCSPCertificates {
				break
			}
			if c, err := ParseCertificate(element); err == nil { // another one may be the responder's
				r.Certificates = append(r.Certificates, c)
			}
		}
	}
	return r, r.parseTBS(tbs)
}

// parseTBS reads a ResponseData:
//
//	ResponseData ::= SEQUENCE {
//	  version [0] EXPLICIT INTEGER DEFAULT v1, responderID ResponderID,
//	  producedAt GeneralizedTime, responses SEQUENCE OF SingleResponse,
//	  responseExtensions [1] EXPLICIT Extensions OPTIONAL }
func (r *OCSPResponse) parseTBS(tbs cryptobyte.String) error {
	var seq, responder, hash, list cryptobyte.String
	if !tbs.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipOptionalASN1(der.Context(0, true)) {
		return ocspError("tbsResponseData")
	}
	switch {
	case seq.PeekASN1Tag(der.Context(1, true)):
		if !seq.ReadASN1(&responder, der.Context(1, true)) || !responder.PeekASN1Tag(asn1.SEQUENCE) {
			return ocspError("responderID")
		}
		r.ResponderName = responder
	default:
		if !seq.ReadASN1(&responder, der.Context(2, true)) || !responder.ReadASN1(&hash, asn1.OCTET_STRING) {
			return ocspError("responderID")
		}
		r.ResponderKeyHash = hash
	}
	if !der.ReadTime(&seq, &r.ProducedAt) {
		return ocspError("producedAt")
	}
	if !seq.ReadASN1(&list, asn1.SEQUENCE) {
		return ocspError("responses")
	}
	for !list.Empty() {
		var item cryptobyte.String
		var single OCSPSingle
		if !list.ReadASN1(&item, asn1.SEQUENCE) || len(r.Responses) >= maxOCSPSingles {
			return ocspError("responses")
		}
		if field := single.parse(item); field != "" {
			return ocspError(field)
		}
		r.Responses = append(r.Responses, single)
	}
	var ok bool
	if r.UnhandledCritical, ok = r.parseExtensions(seq); !ok {
		return ocspError("responseExtensions")
	}
	return nil
}

// parseExtensions reads what is left of a ResponseData.
func (r *OCSPResponse) parseExtensions(s cryptobyte.String) ([]oid.OID, bool) {
	return readOCSPExtensions(s, func(e extension) (known, ok bool) {
		if e.id != ocspNonce {
			return false, true
		}
		var content cryptobyte.String
		nonce := e.value
		// QUIRK: some responders write the octets without an OCTET STRING.
		if e.value.ReadASN1(&content, asn1.OCTET_STRING) && e.value.Empty() {
			nonce = content
		}
		ok = r.Nonce == nil && len(nonce) <= maxNonce
		r.Nonce = append([]byte{}, nonce...) // an empty one is not an absent one
		return true, ok
	})
}

// readOCSPExtensions reads Extensions under the tag [1], if there are any, and
// returns the critical ones that are not known.
func readOCSPExtensions(s cryptobyte.String, known func(extension) (known, ok bool)) ([]oid.OID, bool) {
	if s.Empty() {
		return nil, true
	}
	var wrapped, list cryptobyte.String
	if !s.ReadASN1(&wrapped, der.Context(1, true)) || !s.Empty() || !wrapped.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, false
	}
	var unhandled []oid.OID
	for !list.Empty() {
		e, ok := readExtension(&list)
		if !ok {
			return nil, false
		}
		isKnown, ok := known(e)
		if !ok {
			return nil, false
		}
		if !isKnown && e.critical && len(unhandled) < maxCRLExtensions {
			unhandled = append(unhandled, e.id)
		}
	}
	return unhandled, true
}

// parse reads the content of a SingleResponse and returns the name of a field
// that cannot be read, or "":
//
//	SingleResponse ::= SEQUENCE {
//	  certID CertID, certStatus CertStatus, thisUpdate GeneralizedTime,
//	  nextUpdate [0] EXPLICIT GeneralizedTime OPTIONAL,
//	  singleExtensions [1] EXPLICIT Extensions OPTIONAL }
func (o *OCSPSingle) parse(s cryptobyte.String) string {
	var id, name, key, serial, status, next cryptobyte.String
	var tag asn1.Tag
	var hasNext bool
	if !s.ReadASN1(&id, asn1.SEQUENCE) || !der.ReadAlgorithm(&id, &o.HashAlgorithm) ||
		!id.ReadASN1(&name, asn1.OCTET_STRING) || !id.ReadASN1(&key, asn1.OCTET_STRING) ||
		!id.ReadASN1(&serial, asn1.INTEGER) || !id.Empty() {
		return "certID"
	}
	o.IssuerNameHash, o.IssuerKeyHash, o.Serial = name, key, serial
	if !s.ReadAnyASN1(&status, &tag) || !o.parseStatus(tag, status) {
		return "certStatus"
	}
	if !der.ReadTime(&s, &o.ThisUpdate) {
		return "thisUpdate"
	}
	if !s.ReadOptionalASN1(&next, &hasNext, der.Context(0, true)) || hasNext && !der.ReadTime(&next, &o.NextUpdate) {
		return "nextUpdate"
	}
	var ok bool
	o.UnhandledCritical, ok = readOCSPExtensions(s, func(extension) (known, ok bool) { return false, true })
	if !ok {
		return "singleExtensions"
	}
	return ""
}

// parseStatus reads a CertStatus:
//
//	CertStatus ::= CHOICE {
//	  good [0] IMPLICIT NULL,
//	  revoked [1] IMPLICIT SEQUENCE { revocationTime GeneralizedTime,
//	                                  revocationReason [0] EXPLICIT CRLReason OPTIONAL },
//	  unknown [2] IMPLICIT NULL }
func (o *OCSPSingle) parseStatus(tag asn1.Tag, content cryptobyte.String) bool {
	switch tag {
	case der.Context(0, false):
		o.Status = RevocationGood
		return content.Empty()
	case der.Context(2, false):
		o.Status = RevocationUnknown
		return content.Empty()
	case der.Context(1, true):
		var reason cryptobyte.String
		var present bool
		var code int
		o.Status = RevocationRevoked
		if !der.ReadTime(&content, &o.RevokedAt) || !content.ReadOptionalASN1(&reason, &present, der.Context(0, true)) {
			return false
		}
		if present && !reason.ReadASN1Enum(&code) {
			return false
		}
		o.Reason = RevocationReason(code)
		return content.Empty()
	}
	return false
}

// Find returns the status of c, a certificate by issuer, and whether there is
// one: hashes of the issuer's name and key, and the serial number, have to be
// right. The CertIDs may use any digest that this package knows.
func (r *OCSPResponse) Find(c, issuer *Certificate) (*OCSPSingle, bool) {
	key, ok := keyBits(issuer)
	if !ok {
		return nil, false
	}
	serial := trimInteger(c.Serial)
	for i := range r.Responses {
		o := &r.Responses[i]
		digest, known := alg.DigestByOID(o.HashAlgorithm.OID)
		if !known || !bytes.Equal(trimInteger(o.Serial), serial) || !bytes.Equal(o.IssuerKeyHash, sum(digest, key)) {
			continue
		}
		if bytes.Equal(o.IssuerNameHash, sum(digest, c.RawIssuer)) || bytes.Equal(o.IssuerNameHash, sum(digest, issuer.RawSubject)) {
			return o, true
		}
	}
	return nil, false
}
