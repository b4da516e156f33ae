package ca

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

const ocspNonce oid.OID = "1.3.6.1.5.5.7.48.1.2"

// Bounds on requests: octets of a nonce (RFC 9654, Section 2.1), and
// certificates.
const (
	maxNonce    = 128
	maxRequests = 20
)

// MaxOCSPRequest is the size of the largest OCSP request that is answered, in
// octets.
const MaxOCSPRequest = 16 << 10

// A certID names a certificate (RFC 6960, Section 4.1.1).
type certID struct {
	raw                   []byte // whole element
	hash                  oid.OID
	nameHash, keyHash, sn cryptobyte.String
}

// An ocspRequest is what is read of a request. It is not signed for us.
type ocspRequest struct {
	ids   []certID
	nonce []byte // the value of the extension as received, or nil
}

// parseOCSPRequest reads:
//
//	OCSPRequest ::= SEQUENCE { tbsRequest TBSRequest, optionalSignature [0] EXPLICIT Signature OPTIONAL }
//	TBSRequest ::= SEQUENCE {
//	  version [0] EXPLICIT Version DEFAULT v1, requestorName [1] EXPLICIT GeneralName OPTIONAL,
//	  requestList SEQUENCE OF Request, requestExtensions [2] EXPLICIT Extensions OPTIONAL }
func parseOCSPRequest(raw []byte) (*ocspRequest, bool) {
	s := cryptobyte.String(raw)
	var req, tbs, list cryptobyte.String
	if len(raw) > MaxOCSPRequest || !s.ReadASN1(&req, asn1.SEQUENCE) || !s.Empty() ||
		!req.ReadASN1(&tbs, asn1.SEQUENCE) || !req.SkipOptionalASN1(der.Context(0, true)) || !req.Empty() {
		return nil, false
	}
	if !tbs.SkipOptionalASN1(der.Context(0, true)) || !tbs.SkipOptionalASN1(der.Context(1, true)) ||
		!tbs.ReadASN1(&list, asn1.SEQUENCE) || list.Empty() {
		return nil, false
	}
	r := &ocspRequest{}
	for !list.Empty() {
		id, ok := readOCSPSingle(&list)
		if !ok || len(r.ids) == maxRequests {
			return nil, false
		}
		r.ids = append(r.ids, id)
	}
	if tbs.Empty() {
		return r, true
	}
	var extensions cryptobyte.String
	if !tbs.ReadASN1(&extensions, der.Context(2, true)) || !tbs.Empty() {
		return nil, false
	}
	var ok bool
	r.nonce, ok = readOCSPExtensions(extensions)
	return r, ok
}

// readOCSPSingle reads one Request.
func readOCSPSingle(list *cryptobyte.String) (certID, bool) {
	var id certID
	var one, extensions cryptobyte.String
	var present bool
	if !list.ReadASN1(&one, asn1.SEQUENCE) {
		return id, false
	}
	var element cryptobyte.String
	if !one.ReadASN1Element(&element, asn1.SEQUENCE) ||
		!one.ReadOptionalASN1(&extensions, &present, der.Context(0, true)) || !one.Empty() {
		return id, false
	}
	if present {
		if _, ok := readOCSPExtensions(extensions); !ok {
			return id, false
		}
	}
	id.raw = element
	var content cryptobyte.String
	var algorithm der.Algorithm
	if !element.ReadASN1(&content, asn1.SEQUENCE) || !der.ReadAlgorithm(&content, &algorithm) ||
		!content.ReadASN1(&id.nameHash, asn1.OCTET_STRING) || !content.ReadASN1(&id.keyHash, asn1.OCTET_STRING) ||
		!content.ReadASN1(&id.sn, asn1.INTEGER) || len(id.sn) == 0 || !content.Empty() {
		return id, false
	}
	id.hash = algorithm.OID
	return id, true
}

// readOCSPExtensions returns the nonce. A critical extension that is not known
// makes a request one that cannot be answered (RFC 6960, Section 4.4).
func readOCSPExtensions(s cryptobyte.String) (nonce []byte, ok bool) {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var e, value cryptobyte.String
		var id oid.OID
		critical := false
		if !list.ReadASN1(&e, asn1.SEQUENCE) || !der.ReadOID(&e, &id) ||
			e.PeekASN1Tag(asn1.BOOLEAN) && !e.ReadASN1Boolean(&critical) ||
			!e.ReadASN1(&value, asn1.OCTET_STRING) || !e.Empty() {
			return nil, false
		}
		switch {
		case id == ocspNonce:
			if nonce != nil || !goodNonce(value) {
				return nil, false
			}
			nonce = value
		case critical:
			return nil, false
		}
	}
	return nonce, true
}

// goodNonce reports whether a nonce may be answered.
//
// RFC 9654, Section 2.1: one without octets, or with more than 128, is a
// malformed request. Old clients leave out the inner OCTET STRING.
func goodNonce(value cryptobyte.String) bool {
	rest := value
	var inner cryptobyte.String
	if rest.ReadASN1(&inner, asn1.OCTET_STRING) && rest.Empty() {
		return len(inner) > 0 && len(inner) <= maxNonce
	}
	return len(value) > 0 && len(value) <= maxNonce
}
