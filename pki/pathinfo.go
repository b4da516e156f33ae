package pki

import (
	"bytes"
	"math"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// Extensions that path validation alone reads (RFC 5280, Section 4.2.1).
const (
	extNameConstraints   oid.OID = "2.5.29.30"
	extPolicies          oid.OID = "2.5.29.32"
	extPolicyMappings    oid.OID = "2.5.29.33"
	extPolicyConstraints oid.OID = "2.5.29.36"
	extInhibitAnyPolicy  oid.OID = "2.5.29.54"
	anyPolicy            oid.OID = "2.5.29.32.0"
)

// pathInfo is what path validation has to know of a certificate besides the
// fields of [Certificate].
type pathInfo struct {
	// malformed is nil, or the first part that could not be read and without
	// which no judgement is possible.
	malformed  error
	selfIssued bool
	maxPath    int // pathLenConstraint, -1 when absent

	hasPolicies bool      // the certificatePolicies extension is there
	policies    []oid.OID // without anyPolicy
	anyPolicy   bool      // one of the policies is anyPolicy
	mappings    []policyMapping

	// SkipCerts of these extensions, -1 when absent.
	requireExplicit, inhibitMapping, inhibitAny int

	constraints *nameConstraints // nil when absent
	names       *certNames       // nil until asked for
}

// A policyMapping is an element of PolicyMappings.
type policyMapping struct{ issuer, subject oid.OID }

// fields are the parts of a certificate, by their names in [ParseError], that
// path validation has to read. Those of the key are told by KeyErr, and a
// subjectAltName matters where names are constrained.
var fields = []string{
	"version", "signatureAlgorithm", "signature", "notBefore", "notAfter", "uniqueIdentifier", "extensions",
	"extension " + string(oid.ExtBasicConstraints), "extension " + string(oid.ExtKeyUsage), "extension " + string(oid.ExtExtKeyUsage),
}

// fewExtensions are so many that looking for doubles needs no map.
const fewExtensions = 16

func newPathInfo(c *Certificate) *pathInfo {
	p := &pathInfo{maxPath: -1, requireExplicit: -1, inhibitMapping: -1, inhibitAny: -1}
	p.selfIssued = bytes.Equal(c.RawIssuer, c.RawSubject) || c.foldedIssuer() == c.foldedSubject()
	for _, problem := range c.Problems {
		if parse, ok := problem.(*ParseError); ok && slices.Contains(fields, parse.Field) {
			p.fail(parse)
		}
	}
	var seen map[oid.OID]bool
	if len(c.Extensions) > fewExtensions {
		seen = make(map[oid.OID]bool, len(c.Extensions))
	}
	for i, ext := range c.Extensions {
		// RFC 5280, Section 4.2: not more than one instance of an extension.
		double := seen[ext.OID]
		if seen == nil {
			double = slices.ContainsFunc(c.Extensions[:i], func(e Extension) bool { return e.OID == ext.OID })
		} else {
			seen[ext.OID] = true
		}
		if double || !p.read(ext) {
			p.fail(&ParseError{Field: "extension " + ext.OID.String()})
		}
	}
	return p
}

func (p *pathInfo) fail(err error) {
	if p.malformed == nil {
		p.malformed = err
	}
}

// read reads the value of an extension, if it is one of those it knows.
func (p *pathInfo) read(ext Extension) bool {
	v := cryptobyte.String(ext.Value)
	switch ext.OID {
	case oid.ExtBasicConstraints:
		return p.readBasicConstraints(v)
	case extNameConstraints:
		var ok bool
		p.constraints, ok = readNameConstraints(v)
		return ok
	case extPolicies:
		return p.readPolicies(v)
	case extPolicyMappings:
		return p.readMappings(v)
	case extPolicyConstraints:
		var seq cryptobyte.String
		return v.ReadASN1(&seq, asn1.SEQUENCE) && v.Empty() &&
			readSkip(&seq, &p.requireExplicit, der.Context(0, false)) &&
			readSkip(&seq, &p.inhibitMapping, der.Context(1, false)) && seq.Empty()
	case extInhibitAnyPolicy:
		return v.PeekASN1Tag(asn1.INTEGER) && readSkip(&v, &p.inhibitAny, asn1.INTEGER) && v.Empty()
	}
	return true
}

// readBasicConstraints reads the pathLenConstraint (RFC 5280, Section 4.2.1.9).
func (p *pathInfo) readBasicConstraints(v cryptobyte.String) bool {
	var seq, ca cryptobyte.String
	if !v.ReadASN1(&seq, asn1.SEQUENCE) || !v.Empty() || !seq.ReadOptionalASN1(&ca, nil, asn1.BOOLEAN) {
		return false
	}
	return readSkip(&seq, &p.maxPath, asn1.INTEGER) && seq.Empty()
}

// readSkip reads an optional INTEGER (0..MAX). Numbers that no path reaches are
// all the same.
func readSkip(s *cryptobyte.String, out *int, tag asn1.Tag) bool {
	var content cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&content, &present, tag) {
		return false
	}
	if !present {
		return true
	}
	if len(content) == 0 || content[0]&0x80 != 0 {
		return false
	}
	n := 0
	for _, b := range content {
		if n = n<<8 | int(b); n > math.MaxInt16 {
			n = math.MaxInt16
		}
	}
	*out = n
	return true
}

// readPolicies reads CertificatePolicies (RFC 5280, Section 4.2.1.4). The
// qualifiers say nothing to a program.
func (p *pathInfo) readPolicies(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !v.ReadASN1(&seq, asn1.SEQUENCE) || !v.Empty() || seq.Empty() {
		return false
	}
	p.hasPolicies = true
	seen := make(map[oid.OID]bool)
	for !seq.Empty() {
		var info cryptobyte.String
		var id oid.OID
		// RFC 5280, Section 4.2.1.4: a policy must not appear more than once.
		if !seq.ReadASN1(&info, asn1.SEQUENCE) || !der.ReadOID(&info, &id) || seen[id] {
			return false
		}
		seen[id] = true
		if id == anyPolicy {
			p.anyPolicy = true
			continue
		}
		p.policies = append(p.policies, id)
	}
	return true
}

// readMappings reads PolicyMappings (RFC 5280, Section 4.2.1.5).
func (p *pathInfo) readMappings(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !v.ReadASN1(&seq, asn1.SEQUENCE) || !v.Empty() || seq.Empty() {
		return false
	}
	for !seq.Empty() {
		var pair cryptobyte.String
		var m policyMapping
		if !seq.ReadASN1(&pair, asn1.SEQUENCE) || !der.ReadOID(&pair, &m.issuer) || !der.ReadOID(&pair, &m.subject) || !pair.Empty() {
			return false
		}
		p.mappings = append(p.mappings, m)
	}
	return true
}
