package fetch_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/fetch"
)

// Hosts in the certificates of the tests; client leads them to loopback.
const (
	ocspURL = "http://ocsp.example.test/"
	crlURL  = "http://crl.example.test/ca.crl"
)

// opensslCA is a CA whose books are kept by "openssl ca".
type opensslCA struct {
	t   *testing.T
	ca  *testpki.CA
	dir string
}

const opensslConfig = `
[ca]
default_ca = books
[books]
database = index.txt
crlnumber = crlnumber
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 7
policy = any
[any]
commonName = supplied
[numbered]
authorityKeyIdentifier = keyid:always
[users]
authorityKeyIdentifier = keyid:always
issuingDistributionPoint = critical, @scope
[scope]
fullname = URI:http://crl.example.test/ca.crl
onlyuser = TRUE
`

func newOpenSSL(t *testing.T) *opensslCA {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ca, err := testpki.NewCA("OpenSSL Books CA")
	if err != nil {
		t.Fatal(err)
	}
	o := &opensslCA{t: t, ca: ca, dir: t.TempDir()}
	key, err := x509.MarshalPKCS8PrivateKey(ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	o.write("ca.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	o.write("ca.pem", testpki.CertPEM(ca.Cert))
	o.write("openssl.cnf", []byte(opensslConfig))
	o.write("v1.cnf", []byte(strings.Replace(opensslConfig, "crlnumber = crlnumber\n", "", 1)))
	o.write("index.txt", nil)
	o.write("index.txt.attr", []byte("unique_subject = no\n"))
	o.write("crlnumber", []byte("01\n"))
	return o
}

func (o *opensslCA) write(name string, data []byte) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), data, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *opensslCA) read(name string) []byte {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		o.t.Fatal(err)
	}
	return data
}

// run runs openssl in the folder of the books.
func (o *opensslCA) run(args ...string) {
	o.t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = o.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// issue makes a certificate, writes it down in the books unless unlisted, and
// returns its chain.
func (o *opensslCA) issue(name string, unlisted bool, edit func(*x509.Certificate)) []*pki.Certificate {
	o.t.Helper()
	p, err := o.ca.Issue(testpki.Profile{Name: name, Email: name + "@example.test", Edit: func(c *x509.Certificate) {
		c.OCSPServer, c.CRLDistributionPoints = []string{ocspURL}, []string{crlURL}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		o.t.Fatal(err)
	}
	o.write(name+".pem", testpki.CertPEM(p.Cert))
	key, err := p.KeyPEM()
	if err != nil {
		o.t.Fatal(err)
	}
	o.write(name+".key", key)
	if !unlisted {
		o.run("ca", "-config", "openssl.cnf", "-valid", name+".pem")
	}
	return []*pki.Certificate{pki.FromX509(p.Cert), pki.FromX509(o.ca.Cert)}
}

func (o *opensslCA) revoke(name string, args ...string) {
	o.t.Helper()
	o.run(append([]string{"ca", "-config", "openssl.cnf", "-revoke", name + ".pem"}, args...)...)
}

// crl makes a CRL with an extension section and a number, or of version 1 for
// no section, and returns it in DER.
func (o *opensslCA) crl(name, section string) []byte {
	o.t.Helper()
	args := []string{"ca", "-gencrl", "-out", name + ".crl", "-config"}
	if section == "" {
		args = append(args, "v1.cnf")
	} else {
		args = append(args, "openssl.cnf", "-crlexts", section)
	}
	o.run(args...)
	o.run("crl", "-in", name+".crl", "-outform", "DER", "-out", name+".der")
	return o.read(name + ".der")
}

var accepting = regexp.MustCompile(`^ACCEPT .*:([0-9]+) `)

// serve starts "openssl ocsp" as a responder, on a port that it chooses, and
// returns where it is. It is stopped at the end of the test.
func (o *opensslCA) serve(args ...string) map[string]string {
	o.t.Helper()
	cmd := exec.Command("openssl", append([]string{
		"ocsp", "-port", "0", "-index", "index.txt", "-CA", "ca.pem", "-nmin", "10", "-ignore_err",
	}, args...)...)
	cmd.Dir = o.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := accepting.FindStringSubmatch(lines.Text()); m != nil {
			return map[string]string{"ocsp.example.test:80": net.JoinHostPort("127.0.0.1", m[1])}
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	o.t.Fatalf("openssl ocsp did not start: %s", stderr.String())
	return nil
}

// errNobody is the error of connections to hosts that are not there.
var errNobody = errors.New("there is no such host")

// client returns a client for whom a host of the tests has an address, and
// which counts its connections.
func client(t *testing.T, hosts map[string]string, cache *fetch.Cache) (*fetch.Client, *atomic.Int64) {
	t.Helper()
	var dials atomic.Int64
	c := fetch.New(&fetch.Options{Cache: cache, Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, host string) (net.Conn, error) {
			address, ok := hosts[host]
			if !ok {
				return nil, errNobody
			}
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}})
	t.Cleanup(c.CloseIdle)
	return c, &dials
}
