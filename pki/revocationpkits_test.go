package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pkitsTime is when the tests are run: after 2003, when the complete CRL of
// deltaCRL CA3 has ended, and before 2011, when everything ends.
var pkitsTime = time.Date(2010, 6, 1, 12, 0, 0, 0, time.UTC)

// pkitsAllow is what the certificates and CRLs are signed with.
var pkitsAllow = []string{"sha1", "rsa1024", "dsa"}

// A pkitsCase is a test of NIST's PKITS. NIST's expected result, and the name of
// the file, begin with Valid or Invalid; want says how we come to it: "good",
// "revoked" or "unknown", and "no path" where it is not about revocation.
type pkitsCase struct{ number, name, want string }

var pkitsCases = []pkitsCase{
	{"4.4.1", "InvalidMissingCRLTest1", "unknown"},
	{"4.4.2", "InvalidRevokedCATest2", "revoked"},
	{"4.4.3", "InvalidRevokedEETest3", "revoked"},
	{"4.4.4", "InvalidBadCRLSignatureTest4", "unknown"},
	{"4.4.5", "InvalidBadCRLIssuerNameTest5", "unknown"},
	{"4.4.6", "InvalidWrongCRLTest6", "unknown"},
	{"4.4.7", "ValidTwoCRLsTest7", "good"},
	{"4.4.8", "InvalidUnknownCRLEntryExtensionTest8", "unknown"},
	{"4.4.9", "InvalidUnknownCRLExtensionTest9", "unknown"},
	{"4.4.10", "InvalidUnknownCRLExtensionTest10", "unknown"},
	{"4.4.11", "InvalidOldCRLnextUpdateTest11", "unknown"},
	{"4.4.12", "Invalidpre2000CRLnextUpdateTest12", "unknown"},
	{"4.4.13", "ValidGeneralizedTimeCRLnextUpdateTest13", "good"},
	{"4.4.14", "ValidNegativeSerialNumberTest14", "good"},
	{"4.4.15", "InvalidNegativeSerialNumberTest15", "revoked"},
	{"4.4.16", "ValidLongSerialNumberTest16", "good"},
	{"4.4.17", "ValidLongSerialNumberTest17", "good"},
	{"4.4.18", "InvalidLongSerialNumberTest18", "revoked"},
	{"4.4.19", "ValidSeparateCertificateandCRLKeysTest19", "good"},
	{"4.4.20", "InvalidSeparateCertificateandCRLKeysTest20", "revoked"},
	{"4.4.21", "InvalidSeparateCertificateandCRLKeysTest21", "unknown"},

	{"4.5.1", "ValidBasicSelfIssuedOldWithNewTest1", "good"},
	{"4.5.2", "InvalidBasicSelfIssuedOldWithNewTest2", "revoked"},
	{"4.5.3", "ValidBasicSelfIssuedNewWithOldTest3", "good"},
	{"4.5.4", "ValidBasicSelfIssuedNewWithOldTest4", "good"},
	{"4.5.5", "InvalidBasicSelfIssuedNewWithOldTest5", "revoked"},
	{"4.5.6", "ValidBasicSelfIssuedCRLSigningKeyTest6", "good"},
	{"4.5.7", "InvalidBasicSelfIssuedCRLSigningKeyTest7", "revoked"},
	{"4.5.8", "InvalidBasicSelfIssuedCRLSigningKeyTest8", "no path"},

	{"4.7.4", "InvalidkeyUsageCriticalcRLSignFalseTest4", "unknown"},
	{"4.7.5", "InvalidkeyUsageNotCriticalcRLSignFalseTest5", "unknown"},

	{"4.14.1", "ValiddistributionPointTest1", "good"},
	{"4.14.2", "InvaliddistributionPointTest2", "revoked"},
	{"4.14.3", "InvaliddistributionPointTest3", "unknown"},
	{"4.14.4", "ValiddistributionPointTest4", "good"},
	{"4.14.5", "ValiddistributionPointTest5", "good"},
	{"4.14.6", "InvaliddistributionPointTest6", "revoked"},
	{"4.14.7", "ValiddistributionPointTest7", "good"},
	{"4.14.8", "InvaliddistributionPointTest8", "unknown"},
	{"4.14.9", "InvaliddistributionPointTest9", "unknown"},
	{"4.14.10", "ValidNoissuingDistributionPointTest10", "good"},
	{"4.14.11", "InvalidonlyContainsUserCertsTest11", "unknown"},
	{"4.14.12", "InvalidonlyContainsCACertsTest12", "unknown"},
	{"4.14.13", "ValidonlyContainsCACertsTest13", "good"},
	{"4.14.14", "InvalidonlyContainsAttributeCertsTest14", "unknown"},
	{"4.14.15", "InvalidonlySomeReasonsTest15", "revoked"},
	{"4.14.16", "InvalidonlySomeReasonsTest16", "revoked"},
	{"4.14.17", "InvalidonlySomeReasonsTest17", "unknown"},
	{"4.14.18", "ValidonlySomeReasonsTest18", "good"},
	{"4.14.19", "ValidonlySomeReasonsTest19", "good"},
	{"4.14.20", "InvalidonlySomeReasonsTest20", "revoked"},
	{"4.14.21", "InvalidonlySomeReasonsTest21", "revoked"},
	{"4.14.22", "ValidIDPwithindirectCRLTest22", "good"},
	{"4.14.23", "InvalidIDPwithindirectCRLTest23", "revoked"},
	{"4.14.24", "ValidIDPwithindirectCRLTest24", "good"},
	{"4.14.25", "ValidIDPwithindirectCRLTest25", "good"},
	{"4.14.26", "InvalidIDPwithindirectCRLTest26", "unknown"},
	{"4.14.27", "InvalidcRLIssuerTest27", "unknown"},
	{"4.14.28", "ValidcRLIssuerTest28", "good"},
	{"4.14.29", "ValidcRLIssuerTest29", "good"},
	{"4.14.30", "ValidcRLIssuerTest30", "good"},
	{"4.14.31", "InvalidcRLIssuerTest31", "revoked"},
	{"4.14.32", "InvalidcRLIssuerTest32", "revoked"},
	{"4.14.33", "ValidcRLIssuerTest33", "good"},
	{"4.14.34", "InvalidcRLIssuerTest34", "revoked"},
	{"4.14.35", "InvalidcRLIssuerTest35", "unknown"},

	{"4.15.1", "InvaliddeltaCRLIndicatorNoBaseTest1", "unknown"},
	{"4.15.2", "ValiddeltaCRLTest2", "good"},
	{"4.15.3", "InvaliddeltaCRLTest3", "revoked"},
	{"4.15.4", "InvaliddeltaCRLTest4", "revoked"},
	{"4.15.5", "ValiddeltaCRLTest5", "good"},
	{"4.15.6", "InvaliddeltaCRLTest6", "revoked"},
	{"4.15.7", "ValiddeltaCRLTest7", "good"},
	{"4.15.8", "ValiddeltaCRLTest8", "good"},
	{"4.15.9", "InvaliddeltaCRLTest9", "revoked"},
	{"4.15.10", "InvaliddeltaCRLTest10", "unknown"},
}

// TestRevocationPKITS runs sections 4.4, 4.5, 4.7 (CRLs), 4.14 and 4.15 of PKITS,
// each test with the certificates and CRLs of all tests: once with paths that
// only follow names and signatures, so that revocation alone decides, and once
// with those of [Roots.Verify].
func TestRevocationPKITS(t *testing.T) {
	world := newPKITS(t)
	t.Run("simple paths", func(t *testing.T) { runPKITS(t, world) })
	world.build = world.verify
	t.Run("validated paths", func(t *testing.T) { runPKITS(t, world) })
}

func runPKITS(t *testing.T, world *pkits) {
	counts := make(map[string]int)
	for _, c := range pkitsCases {
		got, err := world.run(t, c.name)
		nist := "invalid"
		if strings.HasPrefix(c.name, "Valid") {
			nist = "valid"
		}
		ours := "invalid"
		if got == "good" {
			ours = "valid"
		}
		t.Logf("%-8s %-46s NIST: %-8s ours: %-8s (%s)", c.number, c.name, nist, ours, got)
		if ours != nist || got != c.want {
			t.Errorf("%s %s: %s, want %s: %v", c.number, c.name, got, c.want, err)
		}
		counts[nist]++
		counts[c.number[:strings.LastIndexByte(c.number, '.')]]++
	}
	t.Logf("counts: %v", counts)
	for what, want := range map[string]int{
		"4.4": 21, "4.5": 8, "4.7": 2, "4.14": 35, "4.15": 10, "valid": 29, "invalid": 47,
	} {
		if counts[what] != want {
			t.Errorf("%s: %d tests, want %d", what, counts[what], want)
		}
	}
}

type pkits struct {
	certs   map[string]*Certificate
	list    []*Certificate
	issuers []*Certificate // those that are not of end entities
	anchor  *Certificate
	crls    []*CRL
	build   func(leaf *Certificate, others []*Certificate, at time.Time) ([]*Certificate, error)
}

func newPKITS(t testing.TB) *pkits {
	p := &pkits{certs: readCerts(t, "pkits/certs/*.crt"), crls: readCRLs(t, "pkits/crls/*.crl")}
	if len(p.certs) != 405 || len(p.crls) != 173 {
		t.Fatalf("%d certificates, %d CRLs", len(p.certs), len(p.crls))
	}
	for name, c := range p.certs {
		p.list = append(p.list, c)
		if !strings.HasSuffix(name, "EE.crt") {
			p.issuers = append(p.issuers, c)
		}
	}
	p.anchor = p.certs["TrustAnchorRootCertificate.crt"]
	p.build = p.path
	return p
}

func readCRLs(t testing.TB, pattern string) []*CRL {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorsDir(t), pattern))
	if err != nil {
		t.Fatal(err)
	}
	var out []*CRL
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		crl, err := ParseCRL(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, crl)
	}
	return out
}

// run returns the outcome for the end entity of a test, as in pkitsCase.
func (p *pkits) run(t *testing.T, name string) (string, error) {
	t.Helper()
	leaf := p.certs[name+"EE.crt"]
	if leaf == nil {
		t.Fatalf("there is no certificate %s", name)
	}
	chain, err := p.build(leaf, nil, pkitsTime)
	if err != nil {
		return "no path", err
	}
	check := &Revocation{Time: pkitsTime, CRLs: p.crls, Certificates: p.issuers, Chain: p.build, Allow: pkitsAllow}
	statuses, err := check.Check(context.Background(), chain)
	if len(statuses) != len(chain)-1 {
		t.Errorf("%s: %d statuses for a chain of %d", name, len(statuses), len(chain))
	}
	var revoked *RevokedError
	var unknown *RevocationUnknownError
	switch {
	case err == nil:
		return "good", nil
	case errors.As(err, &revoked):
		return "revoked", err
	case errors.As(err, &unknown) && unknown.Certificate != nil && len(unknown.Errs) > 0:
		return "unknown", err
	}
	return "neither", err
}

var errNoPath = errors.New("no path")

// path follows names, signatures, times and the keyCertSign bit to the anchor:
// what these tests need of RFC 5280, Section 6.1.
func (p *pkits) path(leaf *Certificate, _ []*Certificate, at time.Time) ([]*Certificate, error) {
	s := newSession(context.Background(), &Revocation{Allow: pkitsAllow}, []*Certificate{leaf})
	var extend func(path []*Certificate) []*Certificate
	extend = func(path []*Certificate) []*Certificate {
		last := path[len(path)-1]
		if last == p.anchor {
			return path
		}
		if at.Before(last.NotBefore) || at.After(last.NotAfter) || len(path) > 6 {
			return nil
		}
		for _, ca := range append([]*Certificate{p.anchor}, p.issuers...) {
			usable := ca == p.anchor || ca.HasKeyUsage && ca.KeyUsage&x509.KeyUsageCertSign != 0
			if !usable || !NamesEqual(ca.RawSubject, last.RawIssuer) || contains(path, ca) || s.issuedBy(last, ca) != nil {
				continue
			}
			if found := extend(append(path[:len(path):len(path)], ca)); found != nil {
				return found
			}
		}
		return nil
	}
	if path := extend([]*Certificate{leaf}); path != nil {
		return path, nil
	}
	return nil, errNoPath
}

func contains(path []*Certificate, c *Certificate) bool {
	for _, o := range path {
		if o == c {
			return true
		}
	}
	return false
}

func (p *pkits) verify(leaf *Certificate, _ []*Certificate, at time.Time) ([]*Certificate, error) {
	return NewRoots([]*Certificate{p.anchor}).Verify(leaf, ChainOptions{
		Time: at, Intermediates: p.issuers, Allow: pkitsAllow, Purpose: AnyPurpose,
	})
}
