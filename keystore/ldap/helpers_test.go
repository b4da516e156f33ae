package ldap_test

import (
	"bytes"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/ldap"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	people   = "ou=people," + peers.DirectorySuffix
	hostName = "ldap.example.test"
)

// theCA issues for people and for servers.
var theCA = sync.OnceValues(func() (*testpki.CA, error) { return testpki.NewCA("Root") })

func issue(tb testing.TB, p testpki.Profile) *testpki.Person {
	tb.Helper()
	ca, err := theCA()
	if err != nil {
		tb.Fatal(err)
	}
	person, err := ca.Issue(p)
	if err != nil {
		tb.Fatal(err)
	}
	return person
}

func mailProfile(address string) testpki.Profile {
	return testpki.Profile{Name: address, Email: address, Key: testpki.P256}
}

// serverFiles writes a certificate for a server of a name.
func serverFiles(tb testing.TB, name string) testpki.Files {
	tb.Helper()
	server := issue(tb, testpki.Profile{Name: name, NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	files, err := server.WriteFiles(tb.TempDir(), "server")
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// trusting returns a TLS configuration that trusts theCA alone.
func trusting(tb testing.TB) *cryptotls.Config {
	tb.Helper()
	ca, err := theCA()
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	return &cryptotls.Config{RootCAs: roots, ServerName: hostName}
}

// entry returns an entry in LDIF.
func entry(uid, parent string, attributes ...string) string {
	return fmt.Sprintf("dn: uid=%[1]s,%[2]s\nobjectClass: inetOrgPerson\nobjectClass: user\nobjectClass: inetLocalMailRecipient\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\n%[3]s\n\n",
		uid, parent, strings.Join(attributes, "\n"))
}

func unit(name string) string {
	return "dn: ou=" + name + "," + peers.DirectorySuffix + "\nobjectClass: organizationalUnit\nou: " + name + "\n\n"
}

// binary returns an attribute in LDIF.
func binary(name string, value []byte) string {
	return name + ":: " + base64.StdEncoding.EncodeToString(value)
}

// signedObject makes a userSMIMECertificate.
func signedObject(tb testing.TB, signer cms.Signer, content []byte, detached bool) []byte {
	tb.Helper()
	var out bytes.Buffer
	if detached {
		s, err := cms.NewDetachedSigner([]cms.Signer{signer}, nil)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err = s.Write(content); err != nil {
			tb.Fatal(err)
		}
		if err = s.Finish(&out); err != nil {
			tb.Fatal(err)
		}
		return out.Bytes()
	}
	w, err := cms.Sign(&out, []cms.Signer{signer}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err = w.Write(content); err != nil {
		tb.Fatal(err)
	}
	if err = w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// options for a directory of peers.
func options(tb testing.TB, s *peers.Slapd, mode tls.Mode) *ldap.Options {
	tb.Helper()
	o := &ldap.Options{Address: s.Addr, Mode: mode, TLS: trusting(tb), Base: peers.DirectorySuffix}
	if mode == tls.Implicit {
		o.Address = s.LDAPS
	}
	return o
}

func finder(tb testing.TB, o *ldap.Options) *ldap.Finder {
	tb.Helper()
	f, err := ldap.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// isSourceError checks that nothing is passed off as "no certificate".
func isSourceError(tb testing.TB, found []keystore.Found, err error) {
	tb.Helper()
	var s *keystore.SourceError
	if !errors.As(err, &s) || s.Source == "" || len(found) > 0 {
		tb.Errorf("%d certificates, %v", len(found), err)
	}
}

func sameCert(c *pki.Certificate, p *testpki.Person) bool { return bytes.Equal(c.Raw, p.Cert.Raw) }

// fake is a server in plaintext that answers every connection with the same
// octets after the first octets that came, and then closes it or, with hang, does
// not.
func fake(tb testing.TB, answer []byte, hang bool) *ldap.Options {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, acceptErr := l.Accept()
			if acceptErr != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write(answer)
				if !hang {
					_ = conn.Close()
				}
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return &ldap.Options{Address: l.Addr().String(), Mode: tls.InsecurePlaintext, Base: peers.DirectorySuffix, Timeout: 5 * time.Second}
}

func parse(tb testing.TB, c *x509.Certificate) *pki.Certificate {
	tb.Helper()
	out, err := pki.ParseCertificate(c.Raw)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}
