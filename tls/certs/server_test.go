package certs_test

import (
	"bytes"
	cryptotls "crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/certs"
)

// TestServer has a tls.Server for STARTTLS with a Manager's configuration, whose
// certificates and authorities change while it runs: ALPN, lowest version, accounts
// and resumption are those of the moment.
func TestServer(t *testing.T) {
	before, after := newCA(t, "Before"), newCA(t, "After")
	dir := t.TempDir()
	file, cas, secret := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret")
	write(t, secret, make([]byte, 48))
	put := func(ca *testpki.CA) {
		write(t, file, full(t, host(t, ca, testpki.P256, nil, "mail.example.test")))
		write(t, cas, testpki.CertPEM(ca.Cert))
	}
	put(before)
	m := open(t, &certs.Options{
		Files: []certs.File{{Certificate: file}}, Interval: -1, TicketSecrets: []string{secret},
		Clients: &certs.Clients{CAFiles: []string{cas}, Address: certs.SameAddress, Require: true},
	})
	server, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.SMTP, Mode: tls.StartTLS, TLS: m.Config(nil)})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failures := make(chan error, 10)
	l := server.Listen(inner, &tls.ListenerOptions{OnError: func(_ net.Addr, err error) { failures <- err }})
	defer func() { _ = l.Close() }()
	connect := func(ca *testpki.CA, cache cryptotls.ClientSessionCache) (*tls.Session, error) {
		cfg := &cryptotls.Config{ServerName: "mail.example.test", InsecureSkipVerify: true, ClientSessionCache: cache}
		alice := pair(client(t, ca, testpki.Profile{Name: "Alice", Email: "Alice@example.test"}))
		cfg.GetClientCertificate = func(*cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) { return &alice, nil } // whatever is asked for
		s, dialErr := tls.Dial(t.Context(), "tcp", l.Addr().String(), &tls.ClientConfig{Protocol: tls.SMTP, Mode: tls.StartTLS, TLS: cfg, ALPN: tls.ALPNRequire})
		if dialErr != nil {
			return nil, dialErr
		}
		_ = s.Conn.SetDeadline(time.Now().Add(10 * time.Second))
		return s, nil
	}
	for _, ca := range []*testpki.CA{before, after} {
		put(ca)
		if err = m.Reload(); err != nil {
			t.Fatal(err)
		}
		cache := cryptotls.NewLRUClientSessionCache(2)
		for i := range 2 {
			s, dialErr := connect(ca, cache)
			if dialErr != nil {
				t.Fatal(dialErr)
			}
			conn, acceptErr := l.Accept()
			if acceptErr != nil {
				t.Fatal(acceptErr)
			}
			state := conn.(*tls.ServerConn).Session().State()
			accounts, accountErr := m.Accounts(&state)
			if accountErr != nil || accounts[0] != "alice@example.test" || state.NegotiatedProtocol != "smtp" || state.DidResume != (i == 1) {
				t.Errorf("%d: %q, %v, %q, resumed %v", i, accounts, accountErr, state.NegotiatedProtocol, state.DidResume)
			}
			if got := s.State().PeerCertificates[0]; !bytes.Equal(got.RawIssuer, ca.Cert.RawSubject) {
				t.Errorf("%d: by %v", i, got.Issuer)
			}
			go func() { _, _ = io.WriteString(conn, "220 hi\r\n250 ok\r\n") }()
			if _, err = io.ReadFull(s.Conn, make([]byte, 8)); err != nil { // after the ticket
				t.Error(err)
			}
			_, _ = s.Close(), conn.Close()
		}
	}
	// Clients of the authority before are not let in any more.
	if s, dialErr := connect(before, nil); dialErr == nil {
		_, dialErr = s.Conn.Read(make([]byte, 1))
		if dialErr == nil {
			t.Error("let in")
		}
		_ = s.Close()
	}
	var failure *certs.ClientError
	if err = <-failures; !errors.As(err, &failure) {
		t.Errorf("%v", err)
	}
}
