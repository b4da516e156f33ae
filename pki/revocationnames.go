package pki

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// Extensions and access methods of revocation (RFC 5280, Sections 4.2.1.13,
// 4.2.1.15, 4.2.2.1 and 5.2; RFC 6960, Section 4).
const (
	extIssuerAltName      oid.OID = "2.5.29.18"
	extCRLNumber          oid.OID = "2.5.29.20"
	extDeltaCRLIndicator  oid.OID = "2.5.29.27"
	extIssuingPoint       oid.OID = "2.5.29.28"
	extDistributionPoints oid.OID = "2.5.29.31"
	extFreshestCRL        oid.OID = "2.5.29.46"
	extAuthorityInfo      oid.OID = "1.3.6.1.5.5.7.1.1"
	accessOCSP            oid.OID = "1.3.6.1.5.5.7.48.1"
	accessCAIssuers       oid.OID = "1.3.6.1.5.5.7.48.2"
	ocspBasic             oid.OID = "1.3.6.1.5.5.7.48.1.1"
	ocspNonce             oid.OID = "1.3.6.1.5.5.7.48.1.2"
	ocspNoCheck           oid.OID = "1.3.6.1.5.5.7.48.1.5"
	ekuOCSPSigning        oid.OID = "1.3.6.1.5.5.7.3.9"
	riOCSPResponse        oid.OID = "1.3.6.1.5.5.7.16.2"
)

// maxPoints bounds the distribution points, names and URLs that are taken from
// one extension.
const maxPoints = 20

// An altName is a GeneralName (RFC 5280, Section 4.2.1.6). The content of a
// directoryName is a whole Name.
type altName struct {
	tag     asn1.Tag
	content []byte
}

var (
	tagDirectoryName = der.Context(4, true)
	tagURI           = der.Context(6, false)
)

func (n altName) equal(m altName) bool {
	if n.tag != m.tag {
		return false
	}
	if n.tag == tagDirectoryName {
		return NamesEqual(n.content, m.content)
	}
	return bytes.Equal(n.content, m.content)
}

// readGeneralNames reads the content of GeneralNames.
func readGeneralNames(s cryptobyte.String) ([]altName, bool) {
	var out []altName
	for !s.Empty() {
		var content cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1(&content, &tag) {
			return nil, false
		}
		if len(out) < maxPoints {
			out = append(out, altName{tag, content})
		}
	}
	return out, len(out) > 0
}

// directoryNames returns the Names among names.
func directoryNames(names []altName) [][]byte {
	var out [][]byte
	for _, n := range names {
		if n.tag == tagDirectoryName {
			out = append(out, n.content)
		}
	}
	return out
}

// A pointName is a DistributionPointName (RFC 5280, Section 4.2.1.13): one of
// its fields is set, or none when it is absent.
type pointName struct {
	full     []altName
	relative []byte // the content of nameRelativeToCRLIssuer, a SET OF
}

func (p pointName) absent() bool { return p.full == nil && p.relative == nil }

// names returns the names of the point, made complete with those of the CRL
// issuer.
func (p pointName) names(issuers [][]byte) []altName {
	if p.relative == nil {
		return p.full
	}
	var out []altName
	for _, issuer := range issuers {
		in := cryptobyte.String(issuer)
		var rdns cryptobyte.String
		if !in.ReadASN1(&rdns, asn1.SEQUENCE) {
			continue
		}
		name, err := der.Marshal(func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				b.AddBytes(rdns)
				b.AddASN1(asn1.SET, func(b *der.Builder) { b.AddBytes(p.relative) })
			})
		})
		if err == nil {
			out = append(out, altName{tagDirectoryName, name})
		}
	}
	return out
}

// readPointName reads the content of an explicitly tagged DistributionPointName.
func readPointName(s cryptobyte.String) (pointName, bool) {
	var p pointName
	var content cryptobyte.String
	switch {
	case s.PeekASN1Tag(der.Context(0, true)):
		if !s.ReadASN1(&content, der.Context(0, true)) || !s.Empty() {
			return p, false
		}
		var ok bool
		p.full, ok = readGeneralNames(content)
		return p, ok
	case s.PeekASN1Tag(der.Context(1, true)):
		ok := s.ReadASN1(&content, der.Context(1, true)) && s.Empty() && len(content) > 0
		p.relative = content
		return p, ok
	}
	return p, false
}

// A reasonSet has a bit for every reason of ReasonFlags (RFC 5280, Section
// 4.2.1.13): bit n is the reason's bit in the BIT STRING.
type reasonSet uint16

// allReasons are keyCompromise (1) to aACompromise (8).
const allReasons reasonSet = 0x1fe

// readReasons reads the content of an implicitly tagged ReasonFlags.
func readReasons(content cryptobyte.String) (reasonSet, bool) {
	if len(content) == 0 || content[0] > 7 {
		return 0, false
	}
	var set reasonSet
	for n := range 9 {
		if 1+n/8 < len(content) && content[1+n/8]&(0x80>>(n%8)) != 0 {
			set |= 1 << n
		}
	}
	return set & allReasons, true
}

// A DistributionPoint says where, and from whom, revocation information is had
// (RFC 5280, Section 4.2.1.13).
type DistributionPoint struct {
	// URIs are those of the point's names, as received.
	URIs []string
	// CRLIssuers are the Names of the cRLIssuer field, whole elements. Without
	// them the certificate's issuer signs the CRL, too.
	CRLIssuers [][]byte

	name    pointName
	reasons reasonSet // allReasons when the field is absent
}

// readPoints reads CRLDistributionPoints.
func readPoints(s cryptobyte.String) ([]DistributionPoint, bool) {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return nil, false
	}
	var out []DistributionPoint
	for !list.Empty() {
		var seq cryptobyte.String
		if !list.ReadASN1(&seq, asn1.SEQUENCE) {
			return nil, false
		}
		p, ok := readPoint(seq)
		if !ok {
			return nil, false
		}
		if len(out) < maxPoints {
			out = append(out, p)
		}
	}
	return out, true
}

// readPoint reads the content of a DistributionPoint:
//
//	DistributionPoint ::= SEQUENCE {
//	  distributionPoint [0] DistributionPointName OPTIONAL,
//	  reasons           [1] ReasonFlags OPTIONAL,
//	  cRLIssuer         [2] GeneralNames OPTIONAL }
func readPoint(s cryptobyte.String) (DistributionPoint, bool) {
	p := DistributionPoint{reasons: allReasons}
	var name, reasons, issuer cryptobyte.String
	var hasName, hasReasons, hasIssuer bool
	ok := s.ReadOptionalASN1(&name, &hasName, der.Context(0, true)) &&
		s.ReadOptionalASN1(&reasons, &hasReasons, der.Context(1, false)) &&
		s.ReadOptionalASN1(&issuer, &hasIssuer, der.Context(2, true)) && s.Empty()
	if ok && hasName {
		p.name, ok = readPointName(name)
	}
	if ok && hasReasons {
		p.reasons, ok = readReasons(reasons)
	}
	if ok && hasIssuer {
		var names []altName
		names, ok = readGeneralNames(issuer)
		p.CRLIssuers = directoryNames(names)
		// RFC 5280, Section 4.2.1.13: the cRLIssuer has the issuer's DN.
		ok = ok && len(p.CRLIssuers) > 0
	}
	for _, n := range p.name.full {
		if n.tag == tagURI {
			p.URIs = append(p.URIs, string(n.content))
		}
	}
	return p, ok
}

// extensionOf returns the value of an extension of c, or nil. A certificate
// with two of them has none that can be relied upon.
func extensionOf(c *Certificate, id oid.OID) (cryptobyte.String, bool) {
	in := cryptobyte.String(c.RawTBS)
	var tbs, wrapped, list cryptobyte.String
	if !in.ReadASN1(&tbs, asn1.SEQUENCE) {
		return nil, false
	}
	for !tbs.Empty() && !tbs.PeekASN1Tag(der.Context(3, true)) {
		var skipped cryptobyte.String
		var tag asn1.Tag
		if !tbs.ReadAnyASN1(&skipped, &tag) {
			return nil, false
		}
	}
	if !tbs.ReadASN1(&wrapped, der.Context(3, true)) || !wrapped.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, false
	}
	var found cryptobyte.String
	count := 0
	for !list.Empty() {
		e, ok := readExtension(&list)
		if !ok {
			return nil, false
		}
		if e.id == id {
			found = e.value
			count++
		}
	}
	return found, count == 1
}

// An extension is an Extension (RFC 5280, Section 4.1).
type extension struct {
	id       oid.OID
	critical bool
	value    cryptobyte.String
}

// A rawExtension has the content of its identifier instead of the identifier:
// to read one costs no memory.
type rawExtension struct {
	id, value cryptobyte.String
	critical  bool
}

func readRawExtension(list *cryptobyte.String) (rawExtension, bool) {
	var e rawExtension
	var seq, critical cryptobyte.String
	var present bool
	if !list.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&e.id, asn1.OBJECT_IDENTIFIER) ||
		!seq.ReadOptionalASN1(&critical, &present, asn1.BOOLEAN) ||
		!seq.ReadASN1(&e.value, asn1.OCTET_STRING) || !seq.Empty() {
		return e, false
	}
	e.critical = present && len(critical) == 1 && critical[0] != 0
	return e, true
}

func readExtension(list *cryptobyte.String) (extension, bool) {
	raw, ok := readRawExtension(list)
	id, _ := oid.FromDER(raw.id) // one that is too long for us is not known
	return extension{id, raw.critical, raw.value}, ok
}

// CRLDistributionPoints returns the distribution points in c's extension of that
// name (RFC 5280, Section 4.2.1.13), at most 20. The error is a
// [*RevocationParseError]; without the extension there is none.
func CRLDistributionPoints(c *Certificate) ([]DistributionPoint, error) {
	return pointsOf(c, extDistributionPoints)
}

func pointsOf(c *Certificate, id oid.OID) ([]DistributionPoint, error) {
	value, present := extensionOf(c, id)
	if !present {
		return nil, nil
	}
	points, ok := readPoints(value)
	if !ok {
		return nil, &RevocationParseError{What: "certificate", Field: "extension " + id.String()}
	}
	return points, nil
}

// OCSPServers returns the URLs of the OCSP responders that c names (RFC 5280,
// Section 4.2.2.1), as received, at most 20.
func OCSPServers(c *Certificate) []string { return accessOf(c, accessOCSP) }

// IssuerURLs returns the URLs of certificates of c's issuer (RFC 5280, Section
// 4.2.2.1: id-ad-caIssuers), as received, at most 20.
func IssuerURLs(c *Certificate) []string { return accessOf(c, accessCAIssuers) }

// accessOf reads AuthorityInfoAccessSyntax.
func accessOf(c *Certificate, method oid.OID) []string {
	value, present := extensionOf(c, extAuthorityInfo)
	var list cryptobyte.String
	if !present || !value.ReadASN1(&list, asn1.SEQUENCE) {
		return nil
	}
	var out []string
	for !list.Empty() && len(out) < maxPoints {
		var seq, content cryptobyte.String
		var id oid.OID
		var tag asn1.Tag
		if !list.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadOID(&seq, &id) || !seq.ReadAnyASN1(&content, &tag) {
			return out
		}
		if id == method && tag == tagURI {
			out = append(out, string(content))
		}
	}
	return out
}

// webURLs returns those of urls that begin with http:// or https://, without
// doubles.
func webURLs(urls []string) []string {
	var out []string
	for _, u := range urls {
		scheme, _, ok := strings.Cut(u, "://")
		scheme = lowerASCII(scheme)
		if ok && (scheme == "http" || scheme == "https") && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}
