package smimea

import (
	"bytes"
	"slices"
	"time"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// The most that is taken from one answer, and from elsewhere, so that no answer
// makes much work.
const (
	maxRecords      = 64
	maxCertificates = 10
	maxOthers       = 100
)

// A set is the records of an address that can be used.
type set struct {
	address string
	records []dane.Record
	// leaves are the certificates in the records that may be those of the
	// address, and given all of them; nobody vouches for them here.
	leaves, given []*pki.Certificate
	now           time.Time
	allow         []string
}

// newSet takes the records of a secure answer that can be used.
func newSet(address string, records []dane.Record, now time.Time, allow []string) *set {
	// RFC 7671, Section 9: of several hashes, the strongest counts.
	s := &set{address: address, records: dane.Strongest(records), now: now, allow: allow}
	s.records = s.records[:min(len(s.records), maxRecords)]
	for _, r := range s.records {
		if r.Selector != dane.FullCert || r.MatchingType != dane.Full || len(s.given) == maxCertificates {
			continue
		}
		c, err := pki.ParseCertificate(r.Data)
		if err != nil || contains(s.given, c) {
			continue
		}
		s.given = append(s.given, c)
		if r.Usage == dane.DANEEE || r.Usage == dane.PKIXEE || !c.IsCA || hasAddress(c, address) {
			s.leaves = append(s.leaves, c)
		}
	}
	return s
}

func contains(certs []*pki.Certificate, c *pki.Certificate) bool {
	return slices.ContainsFunc(certs, func(o *pki.Certificate) bool { return bytes.Equal(o.Raw, c.Raw) })
}

// needsOthers reports whether there may be certificates that are not in the
// records.
func (s *set) needsOthers() bool {
	return slices.ContainsFunc(s.records, func(r dane.Record) bool {
		return r.Usage == dane.DANETA || r.Usage == dane.PKIXTA || r.Selector != dane.FullCert || r.MatchingType != dane.Full
	})
}

// A verdict is what the records say of a certificate.
type verdict struct {
	vouched, allowed bool
	usage            dane.Usage // of the record that decided
}

// detail is for people.
func (v verdict) detail() string {
	if !v.allowed {
		return ""
	}
	return v.usage.String()
}

// judge finds the record that says the most for a certificate. others are from
// where it was found.
func (s *set) judge(c *pki.Certificate, others []*pki.Certificate) verdict {
	if c == nil {
		return verdict{}
	}
	others = append(slices.Clone(others[:min(len(others), maxOthers)]), s.given...)
	switch {
	// RFC 7671, Section 5.1: the names in the certificate do not matter.
	case s.matches(c, dane.DANEEE):
		return verdict{vouched: true, allowed: true, usage: dane.DANEEE}
	// RFC 7671, Section 5.2: they do, and so does the path.
	case hasAddress(c, s.address) && s.signed(c, others, dane.DANETA):
		return verdict{vouched: true, allowed: true, usage: dane.DANETA}
	case s.matches(c, dane.PKIXEE):
		return verdict{allowed: true, usage: dane.PKIXEE}
	case s.signed(c, others, dane.PKIXTA):
		return verdict{allowed: true, usage: dane.PKIXTA}
	}
	return verdict{}
}

func (s *set) matches(c *pki.Certificate, usage dane.Usage) bool {
	return slices.ContainsFunc(s.records, func(r dane.Record) bool { return r.Usage == usage && r.Matches(c) })
}

// signed reports whether there is a path from c to a CA of the records of a usage.
func (s *set) signed(c *pki.Certificate, others []*pki.Certificate, usage dane.Usage) bool {
	var anchors []*pki.Certificate
	for _, r := range s.records {
		if r.Usage == usage {
			anchors = append(anchors, s.anchors(r, c, others)...)
		}
	}
	if len(anchors) == 0 {
		return false
	}
	_, err := pki.NewRoots(anchors).Verify(c, pki.ChainOptions{Time: s.now, Intermediates: others, Allow: s.allow})
	return err == nil
}

// anchors returns the certificates that a record for a CA is about. A whole key
// without a certificate is one, too, by the name of any issuer (RFC 7671, Section
// 5.2.3).
func (s *set) anchors(r dane.Record, c *pki.Certificate, others []*pki.Certificate) []*pki.Certificate {
	var out []*pki.Certificate
	all := append([]*pki.Certificate{c}, others...)
	for _, o := range all {
		if o != nil && r.Matches(o) {
			out = append(out, o)
		}
	}
	if len(out) > 0 || r.Selector != dane.SPKI || r.MatchingType != dane.Full {
		return out
	}
	var names [][]byte
	for _, o := range all {
		if o == nil || slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, o.RawIssuer) }) {
			continue
		}
		names = append(names, o.RawIssuer)
		if anchor, err := pki.NewAnchor(o.RawIssuer, r.Data); err == nil {
			out = append(out, anchor)
		}
	}
	return out
}
