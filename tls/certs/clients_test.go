package certs_test

import (
	"context"
	"crypto/sha256"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/tls/certs"
)

// clientWorld has a server and what its clients may show.
type clientWorld struct {
	ca, strange *testpki.CA
	files       []certs.File
}

func newClientWorld(t *testing.T) *clientWorld {
	ca := newCA(t, "Clients")
	return &clientWorld{ca, newCA(t, "Strange"), []certs.File{{Certificate: save(t, host(t, ca, testpki.P256, nil, "a.test"))}}}
}

// TestClients shows certificates of all kinds to servers that ask in all ways.
func TestClients(t *testing.T) {
	w := newClientWorld(t)
	sub, err := w.ca.Intermediate("Below")
	if err != nil {
		t.Fatal(err)
	}
	mailCA, err := w.ca.IntermediateWith("Mail only", testpki.P256, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	})
	if err != nil {
		t.Fatal(err)
	}
	alice := client(t, w.ca, testpki.Profile{Name: "Alice", Email: "Alice@example.test"})
	people := map[string]*testpki.Person{
		"alice":    alice,
		"below":    client(t, sub, testpki.Profile{Name: "Below", Email: "below@example.test"}),
		"utf8":     client(t, w.ca, testpki.Profile{Name: "Jörg", Email: "jörg@example.test"}),
		"subject":  client(t, w.ca, testpki.Profile{Name: "Backup", NoEmail: true}),
		"old form": client(t, w.ca, testpki.Profile{Name: "Old", Email: "old@example.test", SubjectEmail: true}),
		"two": client(t, w.ca, testpki.Profile{Name: "Two", Edit: func(c *x509.Certificate) {
			c.EmailAddresses = []string{"two@example.test", "three@example.test", "two@elsewhere.test"}
		}}),
		"nobody":    client(t, w.ca, testpki.Profile{Name: "Nobody", NoEmail: true}),
		"elsewhere": client(t, w.ca, testpki.Profile{Name: "Elsewhere", Email: "x@elsewhere.test"}),
		"pinned":    client(t, w.strange, testpki.Profile{Name: "Pinned", Email: "alice@example.test"}),
		"strange":   client(t, w.strange, testpki.Profile{Name: "Alice", Email: "alice@example.test"}),
		"expired":   client(t, w.ca, testpki.Profile{Name: "Alice", Email: "alice@example.test", NotAfter: time.Now().Add(-time.Hour)}),
		"server": client(t, w.ca, testpki.Profile{Name: "Server", Email: "alice@example.test", Edit: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}}),
		"mail": client(t, mailCA, testpki.Profile{Name: "Mail", Email: "mail@example.test", Edit: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}}),
		"below mail": client(t, mailCA, testpki.Profile{Name: "Below mail", Email: "alice@example.test"}),
		"cipher": client(t, w.ca, testpki.Profile{Name: "Cipher", Email: "alice@example.test", Edit: func(c *x509.Certificate) {
			c.KeyUsage = x509.KeyUsageKeyAgreement
		}}),
		"none": nil,
	}
	print := sha256.Sum256(people["pinned"].Cert.Raw)
	asked := certs.Clients{
		Roots:        []*pki.Certificate{pki.FromX509(w.ca.Cert)},
		Fingerprints: map[string]string{strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", print), " ", ":")): "robot"},
		Subjects:     map[string]string{"CN=Backup,O=Test": "backup"},
		Address: func(address string) (string, bool) {
			local, domain, _ := strings.Cut(strings.ToLower(address), "@")
			return local, domain == "example.test"
		},
	}
	required, lenient, mail := asked, asked, asked
	required.Require, lenient.IgnoreBad, mail.MailCertificates = true, true, true
	for name, c := range map[string]struct {
		accounts []string
		err      error // of Accounts, and of the handshake if bad
		bad      bool
	}{
		"alice": {accounts: []string{"alice"}}, "below": {accounts: []string{"below"}}, "utf8": {accounts: []string{"jörg"}},
		"subject": {accounts: []string{"backup"}}, "old form": {accounts: []string{"old"}}, "two": {accounts: []string{"three", "two"}},
		"pinned": {accounts: []string{"robot"}},
		"nobody": {err: certs.ErrNoAccount}, "elsewhere": {err: certs.ErrNoAccount}, "none": {err: certs.ErrNoCertificate},
		"strange": {bad: true}, "expired": {bad: true}, "server": {err: certs.ErrPurpose, bad: true}, "mail": {err: certs.ErrPurpose, bad: true},
		"below mail": {err: certs.ErrPurpose, bad: true}, "cipher": {err: certs.ErrPurpose, bad: true},
	} {
		cfg := &cryptotls.Config{ServerName: "a.test", InsecureSkipVerify: true}
		if p := people[name]; p != nil {
			// Whatever the server's hints say.
			cfg.GetClientCertificate = func(*cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) {
				out := pair(p)
				for _, issuer := range p.Chain[:len(p.Chain)-1] {
					out.Certificate = append(out.Certificate, issuer.Raw)
				}
				return &out, nil
			}
		}
		for how, conf := range map[string]*certs.Clients{"asked": &asked, "required": &required, "lenient": &lenient, "mail": &mail} {
			for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
				m := open(t, &certs.Options{Files: w.files, Clients: conf, Interval: -1})
				cfg.MaxVersion = version
				want, wantErr, refused := c.accounts, c.err, c.bad && how != "lenient" || how == "required" && name == "none"
				if how == "mail" && (name == "mail" || name == "below mail") {
					want, wantErr, refused = []string{map[string]string{"mail": "mail", "below mail": "alice"}[name]}, nil, false
				}
				state, _, serverErr, _ := shake(t, m.Config(nil), cfg)
				if refused != (serverErr != nil) {
					t.Errorf("%s, %s, %x: %v", name, how, version, serverErr)
				}
				var clientErr *certs.ClientError
				if refused && name != "none" && !errors.As(serverErr, &clientErr) {
					t.Errorf("%s, %s, %x: %v", name, how, version, serverErr)
				}
				if serverErr != nil {
					continue
				}
				got, accountErr := m.Accounts(&state)
				if !slices.Equal(got, want) || len(want) == 0 && !errors.As(accountErr, &clientErr) || wantErr != nil && !errors.Is(accountErr, wantErr) {
					t.Errorf("%s, %s, %x: %q, %v", name, how, version, got, accountErr)
				}
				m.Close()
			}
		}
	}
}

// TestClientsResume judges the certificate again when a session is resumed, and
// follows files of authorities and revocations.
func TestClientsResume(t *testing.T) {
	w := newClientWorld(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, testpki.CertPEM(w.ca.Cert))
	alice := client(t, w.ca, testpki.Profile{Name: "Alice", Email: "alice@example.test"})
	var list []x509.RevocationListEntry
	source := crlSource(func() ([]byte, error) {
		return x509.CreateRevocationList(nil, &x509.RevocationList{
			Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
			RevokedCertificateEntries: list,
		}, w.ca.Cert, w.ca.Key)
	})
	bob := client(t, w.ca, testpki.Profile{Name: "Bob", Email: "bob@example.test", Edit: func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"http://crl.test/"}
	}})
	m := open(t, &certs.Options{Files: w.files, Interval: -1, Clients: &certs.Clients{
		Require: true, CAFiles: []string{file}, Address: certs.SameAddress, Revocation: &pki.Revocation{Fetcher: source, SoftFail: true},
	}})
	server := m.Config(nil)
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		for _, p := range []*testpki.Person{alice, bob} {
			list = nil
			write(t, file, testpki.CertPEM(w.ca.Cert))
			if err := m.Reload(); err != nil {
				t.Fatal(err)
			}
			cfg := &cryptotls.Config{
				ServerName: "a.test", InsecureSkipVerify: true, Certificates: []cryptotls.Certificate{pair(p)}, MaxVersion: version,
				ClientSessionCache: cryptotls.NewLRUClientSessionCache(2),
			}
			for i := range 2 {
				state, _, _, err := shake(t, server, cfg)
				if err != nil || state.DidResume != (i == 1) {
					t.Fatalf("%x, %d: %v", version, i, err)
				}
				if got, accountErr := m.Accounts(&state); accountErr != nil || got[0] != strings.ToLower(p.Cert.EmailAddresses[0]) {
					t.Errorf("%q, %v", got, accountErr)
				}
			}
			var failure *certs.ClientError
			if p == bob {
				list = []x509.RevocationListEntry{{SerialNumber: bob.Cert.SerialNumber, RevocationTime: time.Now().Add(-time.Second)}}
			} else {
				write(t, file, testpki.CertPEM(w.strange.Cert))
				if err := m.Reload(); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err, _ := shake(t, server, cfg); !errors.As(err, &failure) {
				t.Errorf("%x: %v", version, err)
			}
			if p == bob && !errors.As(failure, new(*pki.RevokedError)) {
				t.Errorf("%v", failure)
			}
		}
	}
	// The hints are those of the file as it is.
	var hints [][]byte
	cfg := &cryptotls.Config{ServerName: "a.test", InsecureSkipVerify: true, GetClientCertificate: func(info *cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) {
		hints = info.AcceptableCAs
		return new(cryptotls.Certificate), nil
	}}
	for _, ca := range []*testpki.CA{w.strange, w.ca} {
		write(t, file, testpki.CertPEM(ca.Cert))
		if err := m.Reload(); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := shake(t, server, cfg); err == nil || len(hints) != 1 || string(hints[0]) != string(ca.Cert.RawSubject) {
			t.Errorf("%q, %v", hints, err)
		}
	}
}

// crlSource gives one CRL.
type crlSource func() ([]byte, error)

func (f crlSource) FetchCRL(context.Context, string) ([]byte, error) { return f() }

func (f crlSource) FetchOCSP(context.Context, string, *pki.OCSPRequest) ([]byte, error) {
	return nil, errors.New("no OCSP")
}

// TestClientsConfig finds the caller's mistakes.
func TestClientsConfig(t *testing.T) {
	w := newClientWorld(t)
	for _, c := range []*certs.Clients{
		{Require: true}, {Fingerprints: map[string]string{"abc": "x"}}, {Fingerprints: map[string]string{strings.Repeat("ab", 20): "x"}},
	} {
		var config *certs.ConfigError
		if _, err := certs.Open(&certs.Options{Files: w.files, Clients: c}); !errors.As(err, &config) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	m := open(t, &certs.Options{Files: w.files})
	if _, err := m.Accounts(new(cryptotls.ConnectionState)); !errors.Is(err, certs.ErrNoCertificate) {
		t.Errorf("%v", err)
	}
}
