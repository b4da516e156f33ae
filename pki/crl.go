package pki

import (
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A CRL is a certificate revocation list of version 1 or 2 (RFC 5280, Section
// 5). It says what its octets say and nothing about trust: [Revocation] checks
// who signed it. Its slices point into the octets that were parsed and must not
// be modified. It is not changed after it was made, and may be used by several
// goroutines.
type CRL struct {
	// Raw is the whole list, RawTBS what is signed and RawIssuer the issuer's
	// Name: whole elements, as received.
	Raw, RawTBS, RawIssuer []byte

	// Version is 1 or 2.
	Version int

	// ThisUpdate is when the list was made and NextUpdate when the next one will
	// be there at the latest, in UTC. NextUpdate is zero when absent.
	ThisUpdate, NextUpdate time.Time

	// SignatureAlgorithm and Signature are the issuer's signature over RawTBS.
	SignatureAlgorithm der.Algorithm
	Signature          []byte

	// Number is the cRLNumber, or nil (RFC 5280, Section 5.2.3).
	Number *big.Int

	// BaseNumber is the number of the list that a delta CRL adds to, and nil in
	// a complete CRL (RFC 5280, Section 5.2.4).
	BaseNumber *big.Int

	// AuthorityKeyID is the identifier of the issuer's key, or nil.
	AuthorityKeyID []byte

	// Scope is the issuingDistributionPoint, or nil (RFC 5280, Section 5.2.5).
	Scope *CRLScope

	// Freshest are the points where delta CRLs are (RFC 5280, Section 5.2.6).
	Freshest []DistributionPoint

	// UnhandledCritical lists the critical extensions, of the list or of its
	// entries, that this package does not understand, each once. Such a list
	// says nothing that can be relied upon.
	UnhandledCritical []oid.OID

	// Entries is the number of entries.
	Entries int

	revoked  cryptobyte.String // the content of revokedCertificates
	named    bool              // entries have a certificateIssuer
	rawAKI   []byte            // the value of the authorityKeyIdentifier
	rawScope []byte            // the value of the issuingDistributionPoint
}

// A CRLScope says which certificates, and which reasons, a CRL covers (RFC 5280,
// Section 5.2.5: IssuingDistributionPoint).
type CRLScope struct {
	OnlyUser, OnlyCA, OnlyAttribute bool
	// Indirect says that the list may have certificates of other issuers.
	Indirect bool

	name    pointName
	reasons reasonSet // allReasons when the field is absent
}

// maxCRLNumber bounds cRLNumber, in octets. RFC 5280, Section 5.2.3 allows 20.
const maxCRLNumber = 64

func crlError(field string) error { return &RevocationParseError{What: "CRL", Field: field} }

// ParseCRL reads a DER CRL. It walks through all entries once, which costs no
// memory, and fails, with a [*RevocationParseError], when one has not the shape
// of an entry: what follows it might be missed. Unreadable dates and
// non-critical extensions of entries do no harm. The CRL refers to raw, which
// may have millions of entries; they are not copied.
func ParseCRL(raw []byte) (*CRL, error) {
	input := cryptobyte.String(raw)
	var element, body, tbs cryptobyte.String
	if !input.ReadASN1Element(&element, asn1.SEQUENCE) {
		return nil, crlError("CertificateList")
	}
	if !input.Empty() {
		return nil, crlError("data after the list")
	}
	c := &CRL{Raw: element, Version: 1}
	if !element.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1Element(&tbs, asn1.SEQUENCE) {
		return nil, crlError("tbsCertList")
	}
	c.RawTBS = tbs
	if !der.ReadAlgorithm(&body, &c.SignatureAlgorithm) {
		return nil, crlError("signatureAlgorithm")
	}
	var ok bool
	if c.Signature, ok = readBits(&body); !ok || !body.Empty() {
		return nil, crlError("signatureValue")
	}
	if err := c.parseTBS(tbs); err != nil {
		return nil, err
	}
	return c, c.walk()
}

// parseTBS reads a TBSCertList (RFC 5280, Section 5.1.2).
func (c *CRL) parseTBS(tbs cryptobyte.String) error {
	var issuer cryptobyte.String
	var inner der.Algorithm
	if !tbs.ReadASN1(&tbs, asn1.SEQUENCE) {
		return crlError("tbsCertList")
	}
	if tbs.PeekASN1Tag(asn1.INTEGER) {
		var version int
		if !tbs.ReadASN1Integer(&version) || version < 0 || version > 1 {
			return crlError("version")
		}
		c.Version = version + 1
	}
	// RFC 5280, Section 5.1.1.2: the same algorithm inside and outside.
	if !der.ReadAlgorithm(&tbs, &inner) || !inner.Equal(c.SignatureAlgorithm) {
		return crlError("signature")
	}
	if !tbs.ReadASN1Element(&issuer, asn1.SEQUENCE) {
		return crlError("issuer")
	}
	c.RawIssuer = issuer
	if !der.ReadTime(&tbs, &c.ThisUpdate) {
		return crlError("thisUpdate")
	}
	if tbs.PeekASN1Tag(asn1.UTCTime) || tbs.PeekASN1Tag(asn1.GeneralizedTime) {
		if !der.ReadTime(&tbs, &c.NextUpdate) {
			return crlError("nextUpdate")
		}
	}
	if tbs.PeekASN1Tag(asn1.SEQUENCE) && !tbs.ReadASN1(&c.revoked, asn1.SEQUENCE) {
		return crlError("revokedCertificates")
	}
	if tbs.Empty() {
		return nil
	}
	var wrapped, list cryptobyte.String
	if !tbs.ReadASN1(&wrapped, der.Context(0, true)) || !wrapped.ReadASN1(&list, asn1.SEQUENCE) ||
		!wrapped.Empty() || !tbs.Empty() {
		return crlError("crlExtensions")
	}
	return c.parseExtensions(list)
}

// maxCRLExtensions bounds the extensions of a list.
const maxCRLExtensions = 100

func (c *CRL) parseExtensions(list cryptobyte.String) error {
	seen := make(map[oid.OID]bool)
	for !list.Empty() {
		e, ok := readExtension(&list)
		if !ok || len(seen) >= maxCRLExtensions {
			return crlError("crlExtensions")
		}
		// RFC 5280, Section 4.2: not more than one instance of an extension.
		if e.id != "" && seen[e.id] || !c.parseExtension(e) {
			return crlError("extension " + e.id.String())
		}
		seen[e.id] = true
	}
	return nil
}

// parseExtension reads one extension. It returns false for one that has to be
// read and cannot be.
func (c *CRL) parseExtension(e extension) bool {
	v := e.value
	switch e.id {
	case oid.ExtAuthorityKeyID:
		var seq, keyID cryptobyte.String
		var present bool
		c.rawAKI = e.value
		if v.ReadASN1(&seq, asn1.SEQUENCE) && seq.ReadOptionalASN1(&keyID, &present, der.Context(0, false)) && present {
			c.AuthorityKeyID = keyID
		}
	case extCRLNumber:
		c.Number, _ = readNumber(v)
	case extDeltaCRLIndicator:
		var ok bool
		c.BaseNumber, ok = readNumber(v)
		return ok
	case extIssuingPoint:
		c.rawScope = e.value
		var ok bool
		c.Scope, ok = readScope(v)
		return ok
	case extFreshestCRL:
		c.Freshest, _ = readPoints(v)
	case extIssuerAltName, extAuthorityInfo:
	default:
		// RFC 5280, Section 5.2: a list with such an extension must not be used.
		if e.critical {
			c.addUnhandled(e.id)
		}
	}
	return true
}

func (c *CRL) addUnhandled(id oid.OID) {
	for _, known := range c.UnhandledCritical {
		if known == id {
			return
		}
	}
	if len(c.UnhandledCritical) < maxCRLExtensions {
		c.UnhandledCritical = append(c.UnhandledCritical, id)
	}
}

func readNumber(v cryptobyte.String) (*big.Int, bool) {
	n := new(big.Int)
	if len(v) > maxCRLNumber || !v.ReadASN1Integer(n) || !v.Empty() || n.Sign() < 0 {
		return nil, false
	}
	return n, true
}

// readScope reads an IssuingDistributionPoint:
//
//	IssuingDistributionPoint ::= SEQUENCE {
//	  distributionPoint          [0] DistributionPointName OPTIONAL,
//	  onlyContainsUserCerts      [1] BOOLEAN DEFAULT FALSE,
//	  onlyContainsCACerts        [2] BOOLEAN DEFAULT FALSE,
//	  onlySomeReasons            [3] ReasonFlags OPTIONAL,
//	  indirectCRL                [4] BOOLEAN DEFAULT FALSE,
//	  onlyContainsAttributeCerts [5] BOOLEAN DEFAULT FALSE }
func readScope(v cryptobyte.String) (*CRLScope, bool) {
	s := &CRLScope{reasons: allReasons}
	var seq, name, reasons cryptobyte.String
	var hasName, hasReasons bool
	ok := v.ReadASN1(&seq, asn1.SEQUENCE) && v.Empty() &&
		seq.ReadOptionalASN1(&name, &hasName, der.Context(0, true)) &&
		readFlag(&seq, &s.OnlyUser, 1) && readFlag(&seq, &s.OnlyCA, 2) &&
		seq.ReadOptionalASN1(&reasons, &hasReasons, der.Context(3, false)) &&
		readFlag(&seq, &s.Indirect, 4) && readFlag(&seq, &s.OnlyAttribute, 5) && seq.Empty()
	if ok && hasName {
		s.name, ok = readPointName(name)
	}
	if ok && hasReasons {
		s.reasons, ok = readReasons(reasons)
	}
	return s, ok
}

func readFlag(s *cryptobyte.String, out *bool, tag uint8) bool {
	var content cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&content, &present, der.Context(tag, false)) || present && len(content) != 1 {
		return false
	}
	*out = present && content[0] != 0
	return true
}
