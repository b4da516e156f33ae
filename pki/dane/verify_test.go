package dane

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// A trio is a root, an authority below it, and a server.
type trio struct{ root, ca, leaf *x509.Certificate }

func newTrio(t *testing.T, edit func(*x509.Certificate)) (*trio, *testpki.Person) {
	t.Helper()
	root, err := testpki.NewCA("DANE root")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := root.Intermediate("DANE authority")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "mx", NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames = []string{"mx.example"}
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &trio{root.Cert, ca.Cert, p.Cert}, p
}

func recordOf(t *testing.T, u Usage, s Selector, m MatchingType, c *x509.Certificate) Record {
	t.Helper()
	parsed, err := pki.ParseCertificate(c.Raw)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(parsed, u, s, m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mxExample(c *x509.Certificate) error { return c.VerifyHostname("mx.example") }

// TestVerifyLikeOpenSSL has OpenSSL judge the same records and the same certificates,
// in a handshake.
func TestVerifyLikeOpenSSL(t *testing.T) {
	good, goodServer := newTrio(t, nil)
	expired, expiredServer := newTrio(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	})
	named, namedServer := newTrio(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })
	dir := t.TempDir()
	type server struct {
		trio  *trio
		chain []*x509.Certificate // that is sent
		addr  string
		root  string
	}
	start := func(name string, tr *trio, p *testpki.Person, chain ...*x509.Certificate) *server {
		f, err := p.WriteFiles(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		more := filepath.Join(dir, name+".chain.pem")
		if err = os.WriteFile(more, testpki.CertPEM(chain...), 0o600); err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(dir, name+".root.pem")
		if err = os.WriteFile(root, testpki.CertPEM(tr.root), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-rev"}
		if len(chain) > 0 {
			args = append(args, "-cert_chain", more)
		}
		return &server{tr, append([]*x509.Certificate{tr.leaf}, chain...), peers.StartSServer(t, f.Cert, f.Key, args...).Addr, root}
	}
	all := []*server{
		start("good", good, goodServer, good.ca), start("root", good, goodServer, good.ca, good.root), start("bare", good, goodServer),
		start("expired", expired, expiredServer, expired.ca), start("named", named, namedServer, named.ca),
	}
	verdicts := map[bool]int{}
	for _, s := range all {
		roots := x509.NewCertPool()
		roots.AddCert(s.trio.root)
		for u := PKIXTA; u <= DANEEE; u++ {
			for _, c := range []*x509.Certificate{s.trio.leaf, s.trio.ca, s.trio.root} {
				for _, kind := range []struct {
					s Selector
					m MatchingType
				}{{FullCert, Full}, {FullCert, SHA256}, {SPKI, Full}, {SPKI, SHA512}} {
					r := recordOf(t, u, kind.s, kind.m, c)
					_, err := Verify([]Record{r}, s.chain, &VerifyOptions{Name: mxExample, Roots: roots})
					theirs := opensslTakes(t, s.addr, s.root, r)
					verdicts[err == nil]++
					if (err == nil) != theirs {
						t.Errorf("%s: %v %v %v of %v: %v, and OpenSSL says %v", filepath.Base(s.root), u, kind.s, kind.m, c.Subject, err, theirs)
					}
				}
			}
		}
	}
	t.Logf("%d good, %d bad", verdicts[true], verdicts[false])
	if verdicts[true] < 40 || verdicts[false] < 40 {
		t.Error("too few of a kind")
	}
}

// opensslTakes runs "openssl s_client" with a record.
func opensslTakes(t *testing.T, addr, root string, r Record) bool {
	t.Helper()
	cmd := exec.Command("openssl", "s_client", "-connect", addr, "-CAfile", root, "-verify_return_error", "-brief",
		"-dane_ee_no_namechecks", "-dane_tlsa_domain", "mx.example", "-dane_tlsa_rrdata", fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.MatchingType, hex.EncodeToString(r.Data)))
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	if err == nil != strings.Contains(string(out), "Verification: OK") {
		t.Fatalf("%v: %s", err, out)
	}
	return err == nil
}

// TestVerifyFaults says why not, and of several records which came farthest.
func TestVerifyFaults(t *testing.T) {
	good, _ := newTrio(t, nil)
	expired, _ := newTrio(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	})
	named, _ := newTrio(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })
	mail, _ := newTrio(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
	chain := func(t *trio) []*x509.Certificate { return []*x509.Certificate{t.leaf, t.ca} }
	none := x509.NewCertPool()
	wrong := Record{DANEEE, SPKI, SHA256, make([]byte, 32)}
	for _, c := range []struct {
		name    string
		records []Record
		chain   []*x509.Certificate
		usages  []Usage
		fault   Fault
	}{
		{"no records", nil, chain(good), nil, NoUsable},
		{"unknown", []Record{{9, 1, 1, wrong.Data}}, chain(good), nil, NoUsable},
		{"another usage", []Record{recordOf(t, PKIXEE, SPKI, SHA256, good.leaf)}, chain(good), []Usage{DANETA, DANEEE}, NoUsable},
		{"no certificates", []Record{wrong}, nil, nil, NoMatch},
		{"another key", []Record{wrong}, chain(good), nil, NoMatch},
		{"anchor of another", []Record{recordOf(t, DANETA, FullCert, Full, named.ca)}, chain(good), nil, UntrustedCA},
		{"key of another", []Record{recordOf(t, DANETA, SPKI, Full, named.ca)}, chain(good), nil, NoMatch},
		{"not a key", []Record{{DANETA, SPKI, Full, []byte{0x30, 1, 0}}}, chain(good), nil, NoMatch},
		{"no root", []Record{recordOf(t, PKIXEE, SPKI, SHA256, good.leaf)}, chain(good), nil, UntrustedCA},
		{"not sent", []Record{recordOf(t, DANETA, SPKI, SHA256, good.ca)}, chain(good)[:1], nil, NoMatch},
		{"expired", []Record{wrong, recordOf(t, DANETA, SPKI, SHA256, expired.ca)}, chain(expired), nil, Expired},
		{"another name", []Record{recordOf(t, DANETA, SPKI, SHA256, named.ca), wrong}, chain(named), nil, WrongName},
		{"for another use", []Record{recordOf(t, DANETA, SPKI, SHA256, mail.ca)}, chain(mail), nil, UntrustedCA},
		{"the name counts most", []Record{recordOf(t, PKIXEE, SPKI, SHA256, named.leaf), recordOf(t, DANETA, SPKI, SHA256, named.ca)}, chain(named), nil, WrongName},
	} {
		m, err := Verify(c.records, c.chain, &VerifyOptions{Usages: c.usages, Name: mxExample, Roots: none})
		e, ok := errors.AsType[*VerifyError](err)
		if m != nil || !ok || e.Fault != c.fault || e.Error() == "" {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
	}
	m, err := Verify([]Record{wrong, recordOf(t, DANETA, SPKI, SHA512, good.ca)}, chain(good), &VerifyOptions{Name: mxExample})
	if err != nil || m.Record.Usage != DANETA || len(m.Path) != 2 || m.Path[1] != good.ca {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestVerifyWork has a server and its zone conspire to keep a client busy.
func TestVerifyWork(t *testing.T) {
	good, _ := newTrio(t, nil)
	var records []Record
	for range 200 {
		other, _ := newTrio(t, nil)
		records = append(records, recordOf(t, DANETA, FullCert, Full, other.ca))
	}
	_, err := Verify(records, []*x509.Certificate{good.leaf, good.ca}, &VerifyOptions{Name: mxExample})
	if e, ok := errors.AsType[*VerifyError](err); !ok || e.Fault != UntrustedCA {
		t.Errorf("got %v", err)
	}
	v := &verifier{chain: []*x509.Certificate{good.leaf, good.ca}, opts: &VerifyOptions{Name: mxExample}, parsed: make(map[*x509.Certificate]*pki.Certificate)}
	for i, r := range records {
		if _, err = v.verify(r); errors.Is(err, errTooMuch) != (i >= maxBuilt) {
			t.Fatalf("%d: %v", i, err)
		}
	}
}
