package main

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// A liveWorld is a directory of OpenLDAP and zones of Knot DNS, with Unbound.
type liveWorld struct {
	ca    *testpki.CA
	files map[string][]byte
	slapd *peers.Slapd
	dns   *dnstest.World
}

func (w *liveWorld) issue(t *testing.T, p testpki.Profile) *testpki.Person {
	t.Helper()
	p.Key = testpki.P256
	person, err := w.ca.Issue(p)
	if err != nil {
		t.Fatal(err)
	}
	return person
}

func (w *liveWorld) mail(t *testing.T, base, address string) *testpki.Person {
	t.Helper()
	p := w.issue(t, testpki.Profile{Name: base, Email: address})
	if err := addFiles(w.files, base, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// record is the SMIMEA record of a certificate.
func (w *liveWorld) record(t *testing.T, address string, c *x509.Certificate) string {
	t.Helper()
	p, err := smimea.Publish(address, pki.FromX509(c), dane.DANEEE, dane.FullCert, dane.Full)
	if err != nil {
		t.Fatal(err)
	}
	return p.Zone(time.Hour)
}

func startLive(t *testing.T) *liveWorld {
	t.Helper()
	ca, err := testpki.NewCA("Live Root")
	if err != nil {
		t.Fatal(err)
	}
	w := &liveWorld{ca: ca, files: map[string][]byte{"live.pem": testpki.CertPEM(ca.Cert)}}
	server := w.issue(t, testpki.Profile{Name: "server", NoEmail: true, Edit: func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	pair, err := server.WriteFiles(t.TempDir(), "server")
	if err != nil {
		t.Fatal(err)
	}
	entry := func(ou, uid, address string) string {
		der := w.mail(t, uid, address).Cert.Raw
		return fmt.Sprintf("dn: uid=%[1]s,%[2]s\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nmail: %[3]s\nuserCertificate;binary:: %[4]s\n\n",
			uid, ou, address, base64.StdEncoding.EncodeToString(der))
	}
	w.slapd = peers.StartDirectory(t, pair.Cert, pair.Key, entry(peers.DirectorySuffix, "lars", "lars@example.org")+
		"dn: "+peers.DirectoryClosed+"\nobjectClass: organizationalUnit\nou: closed\n\n"+entry(peers.DirectoryClosed, "lena", "lena@example.org"))
	w.dns = dnstest.Start(t, &dnstest.Options{
		Signed:   w.record(t, "dora@example", w.mail(t, "dora", "dora@example").Cert),
		Unsigned: w.record(t, "ulla@unsigned.example", w.mail(t, "ulla", "ulla@unsigned.example").Cert),
		Bogus:    w.record(t, "bert@bogus.example", w.mail(t, "bert", "bert@bogus.example").Cert),
		Damage: func(set []dns.RR, sig *dns.RRSIG, _ func(*dns.RRSIG) error) (*dns.RRSIG, error) {
			if set[0].Header().Rrtype == dns.TypeSMIMEA {
				sig.Signature = "AAAA" + sig.Signature[4:]
			}
			return sig, nil
		}})
	return w
}

// TestLiveSources looks for certificates with real servers.
func TestLiveSources(t *testing.T) {
	w := startLive(t)
	_, port, _ := net.SplitHostPort(w.slapd.Addr)
	_, ports, _ := net.SplitHostPort(w.slapd.LDAPS)
	w.files["reader.txt"] = []byte(peers.DirectoryPassword + "\n")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/live",
		Setup: func(env *testscript.Env) error {
			if err := setup(env); err != nil {
				return err
			}
			for name, data := range w.files {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), data, 0o600); err != nil {
					return err
				}
			}
			env.Setenv("LDAP", "ldap://localhost:"+port)
			env.Setenv("LDAPS", "ldaps://localhost:"+ports)
			env.Setenv("SUFFIX", peers.DirectorySuffix)
			env.Setenv("BIND", "bindname=cn=reader%2cdc=example%2cdc=org")
			env.Setenv("RESOLVER", w.dns.Resolver.String())
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": cmdExits, "json": cmdJSON},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
