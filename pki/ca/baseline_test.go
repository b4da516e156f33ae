package ca_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// A requirement is one line of the check list.
type requirement struct {
	section string
	what    string
	ok      func(c *x509.Certificate, want *baseline) bool
}

// A baseline is what a certificate was asked to be.
type baseline struct {
	policy  string // the one policy
	days    int    // at most
	address string
	named   bool
	issuer  *x509.Certificate
}

func httpOnly(urls []string) bool {
	return len(urls) > 0 && !slices.ContainsFunc(urls, func(u string) bool { return !strings.HasPrefix(u, "http://") })
}

func extension(c *x509.Certificate, id ...int) (found, critical bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return true, e.Critical
		}
	}
	return false, false
}

func attribute(c *x509.Certificate, id ...int) bool {
	return slices.ContainsFunc(c.Subject.Names, func(a pkix.AttributeTypeAndValue) bool { return a.Type.Equal(id) })
}

// subscriber is what the baseline requirements ask of certificates for people.
var subscriber = []requirement{
	{"6.3.2", "the validity is no longer than the generation allows", func(c *x509.Certificate, w *baseline) bool {
		return c.NotAfter.Sub(c.NotBefore).Hours() <= float64(24*w.days)
	}},
	{"7.1", "the serial number has 64 bits of noise, and is positive", func(c *x509.Certificate, _ *baseline) bool {
		return c.SerialNumber.Sign() > 0 && c.SerialNumber.BitLen() > 64 && c.SerialNumber.BitLen() < 160
	}},
	{"7.1.1", "the version is 3", func(c *x509.Certificate, _ *baseline) bool { return c.Version == 3 }},
	{"7.1.2.3 (a)", "certificatePolicies has the one policy of its kind, not critical", func(c *x509.Certificate, w *baseline) bool {
		_, critical := extension(c, 2, 5, 29, 32)
		return len(c.Policies) == 1 && c.Policies[0].String() == w.policy && !critical
	}},
	{"7.1.2.3 (b)", "cRLDistributionPoints are of HTTP, not critical", func(c *x509.Certificate, _ *baseline) bool {
		_, critical := extension(c, 2, 5, 29, 31)
		return httpOnly(c.CRLDistributionPoints) && !critical
	}},
	{"7.1.2.3 (c)", "authorityInformationAccess is of HTTP", func(c *x509.Certificate, _ *baseline) bool {
		return httpOnly(c.OCSPServer) && httpOnly(c.IssuingCertificateURL)
	}},
	{"7.1.2.3 (d)", "it is not that of a CA", func(c *x509.Certificate, _ *baseline) bool { return !c.IsCA }},
	{"7.1.2.3 (e)", "keyUsage is critical and has what mail needs alone", func(c *x509.Certificate, _ *baseline) bool {
		_, critical := extension(c, 2, 5, 29, 15)
		const may = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
		return critical && c.KeyUsage != 0 && c.KeyUsage&^may == 0
	}},
	{"7.1.2.3 (f)", "extKeyUsage has emailProtection, and neither what servers nor what everybody may", func(c *x509.Certificate, w *baseline) bool {
		may := []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		if strings.HasSuffix(w.policy, ".2") {
			may = append(may, x509.ExtKeyUsageClientAuth)
		}
		return slices.Equal(c.ExtKeyUsage, may) && len(c.UnknownExtKeyUsage) == 0
	}},
	{"7.1.2.3 (g)", "authorityKeyIdentifier is the issuer's key identifier", func(c *x509.Certificate, w *baseline) bool {
		return len(c.AuthorityKeyId) > 0 && bytes.Equal(c.AuthorityKeyId, w.issuer.SubjectKeyId)
	}},
	{"7.1.2.3 (h)", "subjectAltName has the address", func(c *x509.Certificate, w *baseline) bool {
		return slices.Equal(c.EmailAddresses, []string{w.address})
	}},
	{"7.1.2.4", "no other extension is there but subjectKeyIdentifier", func(c *x509.Certificate, _ *baseline) bool {
		known := [][]int{{2, 5, 29, 14}, {2, 5, 29, 15}, {2, 5, 29, 17}, {2, 5, 29, 31}, {2, 5, 29, 32}, {2, 5, 29, 35}, {2, 5, 29, 37}, {1, 3, 6, 1, 5, 5, 7, 1, 1}}
		return len(c.Extensions) == len(known) && !slices.ContainsFunc(known, func(id []int) bool { found, _ := extension(c, id...); return !found })
	}},
	{"7.1.3.2", "the digest of the signature is of SHA-2", func(c *x509.Certificate, _ *baseline) bool {
		return strings.Contains(c.SignatureAlgorithm.String(), "SHA256") || strings.Contains(c.SignatureAlgorithm.String(), "SHA384")
	}},
	{"7.1.4.2.2 (a)", "the common name is the address, or the name of the person", func(c *x509.Certificate, w *baseline) bool {
		return c.Subject.CommonName == w.address || w.named && c.Subject.CommonName == "Ann B. Smith"
	}},
	{"7.1.4.2.3 and 5", "who is named has a given name or a surname, and a mailbox alone has neither", func(c *x509.Certificate, w *baseline) bool {
		return (attribute(c, 2, 5, 4, 42) || attribute(c, 2, 5, 4, 4)) == w.named && len(c.Subject.Organization) == 0
	}},
}

// TestBaseline goes through the S/MIME baseline requirements of the CA/Browser
// Forum for every profile, with a name and without, and every usage.
func TestBaseline(t *testing.T) {
	root, issuing := baselineHierarchy(t)
	issuer := issuing.Certificate.X509
	checked := 0
	keys := map[ca.KeyType]crypto.PublicKey{}
	for _, kind := range []ca.KeyType{ca.RSA3072, ca.P256} {
		keys[kind] = public(t, must[crypto.PrivateKey](t)(ca.GenerateKey(kind)))
	}
	for profile, arc := range map[ca.Profile]string{ca.Strict: "3", ca.Multipurpose: "2", ca.Legacy: "1"} {
		for _, person := range []string{"", "Ann B. Smith"} {
			for kind, key := range keys {
				for _, usage := range []ca.Usage{ca.SignAndEncrypt, ca.SignOnly, ca.EncryptOnly} {
					c := must[*pki.Certificate](t)(issuing.Issue(&ca.Request{Emails: []string{"ann@example.test"}, Name: person, Key: key, Usage: usage,
						Profile: profile, Days: profile.MaxDays(), URLs: ca.URLs{CRL: "http://x.test/crl", OCSP: "http://x.test/ocsp", Issuer: "http://x.test/ca"}}, now))
					want := &baseline{policy: "2.23.140.1.5.1." + arc, days: profile.MaxDays(), address: "ann@example.test", named: person != "", issuer: issuer}
					if person != "" {
						want.policy = "2.23.140.1.5.4." + arc
					}
					for _, r := range subscriber {
						checked++
						if !r.ok(c.X509, want) {
							t.Errorf("%v, %q, %v, %v: Section %s: %s", profile, person, kind, usage, r.section, r.what)
						}
					}
				}
			}
		}
	}
	if checked != 3*2*2*3*len(subscriber) {
		t.Errorf("%d checks", checked)
	}
	for _, r := range authorities {
		checked++
		if !r.ok(issuer, &baseline{issuer: root.Certificate.X509}) {
			t.Errorf("issuing CA: Section %s: %s", r.section, r.what)
		}
	}
	t.Logf("%d requirements of people and %d of CAs, checked %d times", len(subscriber), len(authorities), checked)
}

// authorities is what they ask of CAs below a root.
var authorities = []requirement{
	{"7.1.2.2 (a)", "certificatePolicies are there", func(c *x509.Certificate, _ *baseline) bool { return len(c.Policies) > 0 }},
	{"7.1.2.2 (b)", "cRLDistributionPoints are of HTTP", func(c *x509.Certificate, _ *baseline) bool { return httpOnly(c.CRLDistributionPoints) }},
	{"7.1.2.2 (c)", "authorityInformationAccess is of HTTP", func(c *x509.Certificate, _ *baseline) bool { return httpOnly(c.IssuingCertificateURL) }},
	{"7.1.2.2 (d)", "basicConstraints are critical", func(c *x509.Certificate, _ *baseline) bool {
		_, critical := extension(c, 2, 5, 29, 19)
		return critical && c.IsCA && c.MaxPathLenZero
	}},
	{"7.1.2.2 (e)", "keyUsage is critical, for certificates and CRLs", func(c *x509.Certificate, _ *baseline) bool {
		_, critical := extension(c, 2, 5, 29, 15)
		return critical && c.KeyUsage == x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}},
	{"7.1.2.2 (g)", "extKeyUsage has emailProtection, and not what servers, programs and time stamps may", func(c *x509.Certificate, _ *baseline) bool {
		may := []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageOCSPSigning}
		return slices.Contains(c.ExtKeyUsage, may[0]) && !slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool { return !slices.Contains(may, u) })
	}},
	{"7.1.2.2 (h)", "authorityKeyIdentifier is the issuer's", func(c *x509.Certificate, w *baseline) bool {
		return bytes.Equal(c.AuthorityKeyId, w.issuer.SubjectKeyId)
	}},
	{"7.1.4.3.1", "the subject has a common name, an organisation and a country", func(c *x509.Certificate, _ *baseline) bool {
		return c.Subject.CommonName != "" && len(c.Subject.Organization) == 1 && len(c.Subject.Country) == 1
	}},
}

func baselineHierarchy(t *testing.T) (root, issuing *ca.Authority) {
	t.Helper()
	subject := ca.Subject{Country: "DE", Organization: "Example", Name: "Root"}
	root = must[*ca.Authority](t)(ca.NewRoot(subject, must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P384)), now))
	subject.Name = "Issuing"
	issuing = must[*ca.Authority](t)(root.NewIssuing(subject, must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P384)),
		ca.URLs{CRL: "http://x.test/root.crl", Issuer: "http://x.test/root.crt"}, now))
	return root, issuing
}
