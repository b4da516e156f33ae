package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/postseal/postseal/internal/oid"
)

// A difference is a case in which another implementation answers otherwise.
type difference struct {
	t       *testing.T
	h       *hierarchy
	b       *verifyBatch
	chain   []*Certificate // when we accept
	ours    error
	theirs  int // 0, OpenSSL's number of the error, or an x509Code
	openssl string
}

// A disagreement explains differences. When holds what is odd in the
// certificates, and not in the seed alone, wherever that can be told.
type disagreement struct {
	why    string
	theirs int
	when   func(d *difference) bool
}

func marked(marks ...string) func(*difference) bool {
	return func(d *difference) bool {
		return slices.ContainsFunc(marks, func(m string) bool { return d.h.marks[m] })
	}
}

// because holds when we refuse a certificate for a reason.
func because(reason Reason, next func(d *difference, at *Certificate) bool) func(*difference) bool {
	return func(d *difference) bool {
		var fault *ChainError
		return errors.As(d.ours, &fault) && fault.Reason == reason && next(d, fault.Certificate)
	}
}

// some holds when we accept a chain that has a certificate of some kind.
func some(is func(c, issuer *Certificate) bool) func(*difference) bool {
	return func(d *difference) bool {
		for i, c := range d.chain {
			if issuer := d.chain[min(i+1, len(d.chain)-1)]; is(c, issuer) {
				return true
			}
		}
		return false
	}
}

// selfIssuedBelow holds when the chain has several keys of one name.
var selfIssuedBelow = some(func(c, issuer *Certificate) bool { return c != issuer && NamesEqual(c.RawSubject, c.RawIssuer) })

// otherPath holds when OpenSSL accepts the chain once it gets no other
// certificates than ours, or has one of opensslRules against it.
func otherPath(d *difference) bool {
	if len(d.chain) == 0 {
		return false
	}
	last := len(d.chain) - 1
	alone := &hierarchy{id: "alone-" + d.h.id, leaf: d.h.leaf, others: d.chain[1:last], roots: d.chain[last:]}
	again := *d
	again.theirs = opensslVerify(d.t, d.openssl, d.b, []*hierarchy{alone})[alone.id]
	return again.theirs == 0 || again.explainedBy(opensslRules) != nil
}

// explainedBy returns the first disagreement that holds, or nil.
func (d *difference) explainedBy(list []disagreement) *disagreement {
	for i := range list {
		if (list[i].theirs == d.theirs || list[i].theirs == anyCode && d.theirs != 0) && list[i].when(d) {
			return &list[i]
		}
	}
	return nil
}

func markedToo(mark string) func(*difference, *Certificate) bool {
	return func(d *difference, _ *Certificate) bool { return d.h.marks[mark] }
}

func hasExtension(c *Certificate, id oid.OID) bool {
	return slices.ContainsFunc(c.Extensions, func(e Extension) bool { return e.OID == id })
}

func isEC(c *Certificate) bool {
	_, ok := c.PublicKey.(*ecdsa.PublicKey)
	return ok
}

// Numbers of OpenSSL's errors.
const (
	opensslSignature  = 7
	opensslExpired    = 10
	opensslSelfSigned = 19
	opensslIssuer     = 20
	opensslPurpose    = 26
)

// anyCode is any error of theirs.
const anyCode = -1

// opensslDisagreements explains where OpenSSL 3 differs. In none of them is it
// right.
var opensslDisagreements = slices.Concat(opensslRules, opensslPaths)

// opensslPaths are about the way in which OpenSSL looks for a path: it builds
// one and judges that (RFC 4158 has others tried, too).
var opensslPaths = []disagreement{
	{"OpenSSL follows one path only, and not the good one", anyCode, otherPath},
	{"OpenSSL takes another key of the issuer's name when no key identifier fits", opensslSignature, selfIssuedBelow},
}

// opensslRules are about the rules by which OpenSSL judges a path.
var opensslRules = []disagreement{
	{"OpenSSL does not take anyExtendedKeyUsage for the protection of mail; RFC 8550, Section 4.4.4 does", opensslPurpose,
		some(func(c, _ *Certificate) bool { return slices.Equal(c.ExtKeyUsage, []oid.OID{oid.EKUAny}) })},
	{"OpenSSL wants key identifiers to match, which RFC 5280, Section 6.1 does not ask for", opensslIssuer,
		some(func(c, issuer *Certificate) bool { return c != issuer && keyMatch(c, issuer) < 0 })},
	{"OpenSSL takes the last second of validity for expired, which RFC 5280, Section 4.1.2.5 includes", opensslExpired,
		some(func(c, _ *Certificate) bool { return c.NotAfter.Equal(testTime) })},
	{"OpenSSL takes a self-issued certificate without key identifiers for a self-signed one", opensslSelfSigned,
		func(d *difference) bool {
			return selfIssuedBelow(d) && some(func(c, _ *Certificate) bool { return c.AuthorityKeyID == nil || c.SubjectKeyID == nil })(d)
		}},
	{"OpenSSL's smimeencrypt asks for keyEncipherment, which EC keys do not have (RFC 5753, Section 7.1 has keyAgreement)", opensslPurpose,
		func(d *difference) bool {
			return d.ours == nil && d.b.purpose == Encrypting && isEC(d.h.leaf) && d.h.leaf.KeyUsage&x509.KeyUsageKeyEncipherment == 0
		}},
	{"OpenSSL's smimeencrypt takes keyEncipherment for EC keys, which cannot do it", 0,
		because(WrongUsage, func(d *difference, at *Certificate) bool {
			return d.b.purpose == Encrypting && at == d.h.leaf && isEC(at) && at.KeyUsage&x509.KeyUsageKeyAgreement == 0
		})},
	{"OpenSSL takes the key usage keyCertSign for basicConstraints, which RFC 5280, Section 4.2.1.9 does not", 0,
		because(Constraint, func(_ *difference, at *Certificate) bool {
			return !hasExtension(at, oid.ExtBasicConstraints) && at.KeyUsage&x509.KeyUsageCertSign != 0
		})},
	{"OpenSSL passes over mappings, also of anyPolicy, where there are no policies (RFC 5280, Section 6.1.4 (a))", 0,
		because(Policy, func(d *difference, at *Certificate) bool {
			return hasExtension(at, extPolicyMappings) || d.h.marks["policy mapping"]
		})},
}

// x509Disagreements explains where crypto/x509 differs.
var x509Disagreements = []disagreement{
	{"crypto/x509 does not know constraints on directoryName, and refuses critical ones", x509Critical, marked("directory constraint")},
	{"crypto/x509 does not know constraints on directoryName, and passes over others", 0, because(Constraint, markedToo("directory constraint"))},
	{"crypto/x509 does not apply constraints to emailAddress in the subject (RFC 5280, Section 4.2.1.10)", 0,
		because(Constraint, markedToo("other names"))},
	{"crypto/x509 takes mappings of anyPolicy (RFC 5280, Section 6.1.4 (a))", 0, because(Policy, markedToo("policy mapping"))},
	{"crypto/x509 does not know constraints on directoryName, and tells what is wrong with another path", x509Other,
		func(d *difference) bool { return d.h.marks["directory constraint"] && d.h.marks["other path"] }},
	{"crypto/x509 excludes the hosts below an excluded host of mail or URIs, too (RFC 5280, Section 4.2.1.10)", x509Name,
		marked("email constraint", "other constraint")},
	{"crypto/x509 counts self-issued CAs for the length of the path (RFC 5280, Section 6.1.4 (l))", x509Length, marked("self-issued")},
}

// What crypto/x509 says, as a number.
const (
	x509Other = iota + 1
	x509Critical
	x509Name
	x509Length
)

func x509Code(err error) int {
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(x509.UnhandledCriticalExtension)):
		return x509Critical
	case errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName:
		return x509Name
	case errors.As(err, &invalid) && invalid.Reason == x509.TooManyIntermediates:
		return x509Length
	}
	return x509Other
}

// explain counts a difference under its explanation, or fails.
func explain(t *testing.T, list []disagreement, d *difference, counts map[string]int) {
	t.Helper()
	if known := d.explainedBy(list); known != nil {
		counts[known.why]++
		return
	}
	t.Errorf("hierarchy %s %v %v, %v: ours: %v; theirs: %d", d.h.id, slices.Sorted(maps.Keys(d.h.marks)), d.b.purpose, d.b.flags, d.ours, d.theirs)
}
