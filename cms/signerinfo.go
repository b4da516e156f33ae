package cms

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A signerInfo is what one signer wrote (RFC 5652, Section 5.3).
//
//	SignerInfo ::= SEQUENCE {
//	  version CMSVersion,
//	  sid SignerIdentifier,
//	  digestAlgorithm DigestAlgorithmIdentifier,
//	  signedAttrs [0] IMPLICIT SignedAttributes OPTIONAL,
//	  signatureAlgorithm SignatureAlgorithmIdentifier,
//	  signature SignatureValue,
//	  unsignedAttrs [1] IMPLICIT UnsignedAttributes OPTIONAL }
type signerInfo struct {
	id           CertificateID
	digest       AlgorithmIdentifier
	hasSigned    bool
	rawSigned    []byte // contents of signedAttrs
	signed       Attributes
	signatureAlg AlgorithmIdentifier
	signature    []byte
	unsigned     Attributes
}

func parseSignerInfo(raw []byte, limits *Limits) (*signerInfo, error) {
	si := &signerInfo{}
	s := cryptobyte.String(raw)
	var seq, attrs cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() || !seq.SkipASN1(asn1.INTEGER) || !si.id.read(&seq, false) ||
		!der.ReadAlgorithm(&seq, &si.digest) || !seq.ReadOptionalASN1(&attrs, &si.hasSigned, der.Context(0, true)) {
		return nil, malformed("SignerInfo")
	}
	var err error
	si.rawSigned = attrs
	if si.signed, err = parseAttributes(attrs, limits); err != nil {
		return nil, err
	}
	var hasUnsigned bool
	if !der.ReadAlgorithm(&seq, &si.signatureAlg) || !der.ReadOctets(&seq, &si.signature, -1) ||
		!seq.ReadOptionalASN1(&attrs, &hasUnsigned, der.Context(1, true)) || !seq.Empty() {
		return nil, malformed("SignerInfo")
	}
	if hasUnsigned {
		si.unsigned, err = parseAttributes(attrs, limits)
	}
	return si, err
}

func (si *signerInfo) add(b *der.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
		version := int64(1) // RFC 5652, Section 5.3: 3 with a key identifier
		if si.id.Issuer == nil {
			version = 3
		}
		b.AddASN1Int64(version)
		si.id.add(b, false)
		der.AddAlgorithm(b, si.digest)
		if si.hasSigned {
			b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddBytes(si.rawSigned) })
		}
		der.AddAlgorithm(b, si.signatureAlg)
		b.AddASN1OctetString(si.signature)
		if len(si.unsigned) > 0 {
			contents, err := si.unsigned.encode()
			if err != nil {
				b.SetError(err)
				return
			}
			b.AddASN1(der.Context(1, true), func(b *der.Builder) { b.AddBytes(contents) })
		}
	})
}

// checkAttributes checks the signed attributes against the content: RFC 5652,
// Sections 5.3, 5.6 and 11. contentType is "" in a countersignature, which has
// no such attribute.
func (si *signerInfo) checkAttributes(contentType OID, contentDigest []byte) *VerifyError {
	bad := func(what string) *VerifyError {
		return &VerifyError{Reason: ReasonAttributes, Err: attributeError(what)}
	}
	// RFC 5652, Sections 11.1 to 11.3: these MUST NOT be unsigned attributes.
	for _, t := range []OID{oid.AttrContentType, oid.AttrMessageDigest, oid.AttrSigningTime} {
		if si.unsigned.Has(t) {
			return bad("the attribute " + alg.Name(t) + " is not signed")
		}
	}
	if double, ok := si.signed.doubled(); ok {
		return bad("there are several attributes of type " + alg.Name(double))
	}
	// RFC 5652, Section 11.2: message-digest MUST be there, with one value.
	value, ok := si.signed.Get(oid.AttrMessageDigest)
	var digest []byte
	s := cryptobyte.String(value)
	if !ok || !der.ReadOctets(&s, &digest, -1) || !s.Empty() {
		return bad("the message digest is missing or malformed")
	}
	// RFC 5652, Section 11.1: content-type MUST be there, with one value, the
	// type of the content; Section 11.4: not in a countersignature.
	value, ok = si.signed.Get(oid.AttrContentType)
	if contentType == "" {
		if si.signed.Has(oid.AttrContentType) {
			return bad("a countersignature has a content type")
		}
	} else {
		var got OID
		s = value
		if !ok || !der.ReadOID(&s, &got) || !s.Empty() {
			return bad("the content type is missing or malformed")
		}
		if got != contentType {
			return bad("the content type is " + alg.Name(got) + " and the content is " + alg.Name(contentType))
		}
	}
	if si.signed.Has(oid.AttrSigningTime) && si.signed.SigningTime().IsZero() {
		return bad("the signing time is malformed")
	}
	if err := si.checkAlgorithmProtection(); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(digest, contentDigest) != 1 {
		return &VerifyError{Reason: ReasonDigest}
	}
	return nil
}

type attributeError string

func (e attributeError) Error() string { return string(e) }

// checkAlgorithmProtection compares the CMSAlgorithmProtection attribute with
// the algorithms in use, when it is there (RFC 6211, Section 2).
//
//	CMSAlgorithmProtection ::= SEQUENCE {
//	  digestAlgorithm DigestAlgorithmIdentifier,
//	  signatureAlgorithm [1] SignatureAlgorithmIdentifier OPTIONAL,
//	  macAlgorithm [2] MessageAuthenticationCodeAlgorithm OPTIONAL }
func (si *signerInfo) checkAlgorithmProtection() *VerifyError {
	if !si.signed.Has(oid.AttrAlgorithmProtection) {
		return nil
	}
	value, ok := si.signed.Get(oid.AttrAlgorithmProtection)
	s := cryptobyte.String(value)
	var seq cryptobyte.String
	var digest, signature AlgorithmIdentifier
	if !ok || !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() || !der.ReadAlgorithm(&seq, &digest) ||
		!der.ReadAlgorithmTagged(&seq, &signature, der.Context(1, true)) || !seq.Empty() {
		return &VerifyError{Reason: ReasonAttributes, Err: attributeError("the algorithm protection is malformed")}
	}
	if !digest.Equal(si.digest) || !signature.Equal(si.signatureAlg) {
		return &VerifyError{Reason: ReasonAttributes, Err: attributeError("the algorithms are not the protected ones")}
	}
	return nil
}

// checkSigningCertificate compares the signing certificate attributes with the
// certificate that is used, when they are there (RFC 5035, Section 5.4: the
// signature MUST be considered invalid when they differ).
func (si *signerInfo) checkSigningCertificate(cert *pki.Certificate) *VerifyError {
	for _, v2 := range []bool{false, true} {
		attrType := oid.AttrSigningCertificate
		if v2 {
			attrType = oid.AttrSigningCertV2
		}
		if !si.signed.Has(attrType) {
			continue
		}
		value, ok := si.signed.Get(attrType)
		digest, certHash, okRead := readESSCertID(value, v2)
		if !ok || !okRead {
			return &VerifyError{Reason: ReasonAttributes, Err: attributeError("the signing certificate attribute is malformed")}
		}
		if digest.Hash == 0 {
			return &VerifyError{Reason: ReasonUnsupported, Err: attributeError("the signing certificate attribute has an unknown hash")}
		}
		h := digest.New()
		h.Write(cert.Raw)
		if !bytes.Equal(h.Sum(nil), certHash) {
			return &VerifyError{Reason: ReasonAttributes, Err: attributeError("the certificate is not the one that signed")}
		}
	}
	return nil
}

// readESSCertID reads the first ESSCertID or ESSCertIDv2 of a SigningCertificate
// or SigningCertificateV2. An unknown hash has the number 0.
func readESSCertID(value []byte, v2 bool) (digest alg.Digest, certHash []byte, ok bool) {
	s := cryptobyte.String(value)
	var attr, certs, id cryptobyte.String
	if !s.ReadASN1(&attr, asn1.SEQUENCE) || !attr.ReadASN1(&certs, asn1.SEQUENCE) || !certs.ReadASN1(&id, asn1.SEQUENCE) {
		return digest, nil, false
	}
	digest, _ = alg.DigestByHash(crypto.SHA1)
	if v2 {
		digest, _ = alg.DigestByHash(crypto.SHA256)
		if id.PeekASN1Tag(asn1.SEQUENCE) {
			var a AlgorithmIdentifier
			if !der.ReadAlgorithm(&id, &a) {
				return digest, nil, false
			}
			digest, _ = alg.DigestByAlgorithm(a)
		}
	}
	return digest, certHash, der.ReadOctets(&id, &certHash, -1)
}

// addSigningCertificate appends a SigningCertificateV2 (RFC 5035, Section 3), with
// SHA-256.
func addSigningCertificate(b *der.Builder, cert *pki.Certificate) {
	hash := sha256.Sum256(cert.Raw)
	b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { // SigningCertificateV2
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { // certs
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { // ESSCertIDv2
				b.AddASN1OctetString(hash[:])
				b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { // IssuerSerial
					b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
						b.AddASN1(der.Context(4, true), func(b *der.Builder) { b.AddBytes(cert.RawIssuer) })
					})
					b.AddASN1(asn1.INTEGER, func(b *der.Builder) { b.AddBytes(cert.Serial) })
				})
			})
		})
	})
}
