package mailtest

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// A Host is localhost: its certificate and key as files, and the configurations of a
// server that has them and of its client.
type Host struct {
	testpki.Files
	Server, Client *cryptotls.Config
}

// NewHost makes a certificate of a new CA.
func NewHost(t testing.TB) *Host {
	t.Helper()
	ca, err := testpki.NewCA("TLS")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "localhost", Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses, c.ExtKeyUsage = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{}
	if h.Files, err = p.WriteFiles(t.TempDir(), "host"); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	h.Server = &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}}
	h.Client = &cryptotls.Config{RootCAs: pool, ServerName: "localhost"}
	return h
}

// Serve serves the connections of a listener until the test ends, waits for them
// then, and returns where it listens. serve closes its connection, and ends when ctx
// is done.
func Serve(t testing.TB, l net.Listener, serve func(ctx context.Context, conn net.Conn)) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

// Answer gives the connections of a listener to a function, closes them afterwards,
// and returns where it listens. Nobody waits for those that are left when the test
// ends.
func Answer(l net.Listener, answer func(conn net.Conn)) string {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				answer(conn)
			}()
		}
	}()
	return l.Addr().String()
}
