package certs_test

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/tls/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCA(t testing.TB, name string) *testpki.CA {
	t.Helper()
	ca, err := testpki.NewCA(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// host makes a certificate of a server.
func host(t testing.TB, ca *testpki.CA, kind testpki.KeyType, edit func(*x509.Certificate), names ...string) *testpki.Person {
	t.Helper()
	p, err := ca.Issue(testpki.Profile{Name: names[0], NoEmail: true, Key: kind, Edit: func(c *x509.Certificate) {
		c.DNSNames = names
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// client makes a certificate of a client.
func client(t testing.TB, ca *testpki.CA, p testpki.Profile) *testpki.Person {
	t.Helper()
	edit := p.Edit
	p.Key = testpki.P256
	p.Edit = func(c *x509.Certificate) {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if edit != nil {
			edit(c)
		}
	}
	out, err := ca.Issue(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pair(p *testpki.Person) cryptotls.Certificate {
	return cryptotls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
}

// write writes a file whole, as a careful program does.
func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// full returns a certificate, its issuers without the root, and its key.
func full(t testing.TB, p *testpki.Person) []byte {
	t.Helper()
	key, err := p.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return append(testpki.CertPEM(append([]*x509.Certificate{p.Cert}, p.Chain[:len(p.Chain)-1]...)...), key...)
}

// withRoot is full with the root, for who needs the issuer.
func withRoot(t testing.TB, p *testpki.Person) []byte {
	t.Helper()
	return append(testpki.CertPEM(p.Chain...), full(t, p)...)
}

// save writes a certificate and its key into a new file.
func save(t testing.TB, p *testpki.Person) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cert.pem")
	write(t, name, full(t, p))
	return name
}

// events are what a Manager has reported.
type events struct {
	mu   sync.Mutex
	list []certs.Event
}

func (e *events) report(event certs.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// count returns how many events of a kind there are.
func (e *events) count(kind certs.Kind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, event := range e.list {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

// take returns the events of a kind, and forgets all.
func (e *events) take(kind certs.Kind) []certs.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(e.list), func(event certs.Event) bool { return event.Kind != kind })
	e.list = nil
	return out
}

func open(t testing.TB, opts *certs.Options) *certs.Manager {
	t.Helper()
	m, err := certs.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// shake makes a handshake on loopback, and returns what both sides know.
func shake(t testing.TB, server, client *cryptotls.Config) (s, c cryptotls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	done := make(chan struct{})
	srv := cryptotls.Server(far, server)
	go func() {
		defer close(done)
		if serverErr = srv.HandshakeContext(context.Background()); serverErr == nil {
			_, serverErr = srv.Write([]byte("x")) // after the tickets
		}
		if serverErr != nil {
			_ = far.(*net.TCPConn).CloseWrite() // the alert is to be read
		}
	}()
	cli := cryptotls.Client(near, client)
	if clientErr = cli.HandshakeContext(context.Background()); clientErr == nil {
		_, clientErr = cli.Read(make([]byte, 1))
	}
	_ = near.Close()
	<-done
	_ = far.Close()
	return srv.ConnectionState(), cli.ConnectionState(), serverErr, clientErr
}

// ask returns the certificate and the response that a client gets for a name.
func ask(t testing.TB, m *certs.Manager, name string) (leaf *x509.Certificate, staple []byte) {
	t.Helper()
	_, c, _, err := shake(t, m.Config(nil), &cryptotls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return c.PeerCertificates[0], c.OCSPResponse
}
