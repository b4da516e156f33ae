package certs_test

import (
	"bytes"
	cryptotls "crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/fetch"
	"github.com/postseal/postseal/tls/certs"
)

// serve serves a line to everybody until the test ends.
func serve(t *testing.T, config *cryptotls.Config) string {
	t.Helper()
	ln, err := cryptotls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, acceptErr := ln.Accept()
			if acceptErr != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "hello to you\n")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// ended waits for a program to end by itself and returns what it printed.
func ended(t *testing.T, p *peers.Process) string {
	t.Helper()
	_ = p.Stdin.Close()
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatalf("it does not end:\n%s", p.Log())
	}
	return p.Log()
}

// TestPeersStaple has responses come over HTTP, and OpenSSL and GnuTLS judge what
// is stapled; the issuer's certificate comes over HTTP, too.
func TestPeersStaple(t *testing.T) {
	ca := newCA(t, "Root")
	r := &responder{ca: ca}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/issuer" {
			_, _ = w.Write(ca.Cert.Raw)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		raw, err := r.FetchOCSP(req.Context(), "http://ocsp.test/", &pki.OCSPRequest{Raw: body})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(raw)
	}))
	defer web.Close()
	p := host(t, ca, testpki.P256, func(c *x509.Certificate) {
		demandStaple(c)
		c.OCSPServer, c.IssuingCertificateURL = []string{web.URL + "/ocsp"}, []string{web.URL + "/issuer"}
	}, "localhost")
	files, err := p.WriteFiles(t.TempDir(), "server")
	if err != nil {
		t.Fatal(err)
	}
	fetcher := fetch.New(nil)
	defer fetcher.CloseIdle()
	m := open(t, &certs.Options{Files: []certs.File{{Certificate: files.Full}}, OCSP: fetcher})
	addr := serve(t, m.Config(nil))
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		c := peers.SClient(t, addr, version, "-status", "-CAfile", files.CA, "-verify_return_error", "-servername", "localhost")
		c.WaitLog(t, "hello to you")
		if text := ended(t, c); !strings.Contains(text, "OCSP Response Status: successful") || !strings.Contains(text, "Cert Status: good") {
			t.Errorf("%s:\n%s", version, text)
		}
	}
	// GnuTLS refuses a certificate that demands a response and has none.
	gnutls := func() string {
		return ended(t, peers.StartProcess(t, "gnutls-bin", "gnutls-cli", "--x509cafile", files.CA, "--port", port, "localhost"))
	}
	if text := gnutls(); !strings.Contains(text, "- Status: The certificate is trusted") || !strings.Contains(text, "OCSP status request") {
		t.Errorf("GnuTLS:\n%s", text)
	}
	m.Close()
	r.is(func() { r.edit = func(o *ocsp.Response) { o.Status, o.RevokedAt = ocsp.Revoked, time.Now() } })
	m = open(t, &certs.Options{Files: []certs.File{{Certificate: files.Full}}, OCSP: fetcher})
	addr = serve(t, m.Config(nil))
	if _, port, err = net.SplitHostPort(addr); err != nil {
		t.Fatal(err)
	}
	c := peers.SClient(t, addr, "-status", "-CAfile", files.CA, "-servername", "localhost")
	c.WaitLog(t, "hello to you")
	if text := ended(t, c); !strings.Contains(text, "OCSP response: no response sent") {
		t.Errorf("revoked:\n%s", text)
	}
	if text := gnutls(); strings.Contains(text, "- Status: The certificate is trusted") {
		t.Errorf("GnuTLS:\n%s", text)
	}
}

// TestPeersReused has OpenSSL and GnuTLS go from one server to another with the
// same secret: they must say that the session was reused.
func TestPeersReused(t *testing.T) {
	p := host(t, newCA(t, "Root"), testpki.P256, nil, "localhost")
	files, err := p.WriteFiles(t.TempDir(), "server")
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, bytes.Repeat([]byte("k"), 48))
	var addrs []string
	for range 2 {
		m := open(t, &certs.Options{Files: []certs.File{{Certificate: files.Full}}, TicketSecrets: []string{secret}})
		addrs = append(addrs, serve(t, m.Config(nil)))
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		ticket := filepath.Join(t.TempDir(), "session")
		for i, addr := range addrs {
			flag := []string{"-sess_out", "-sess_in"}[i]
			c := peers.SClient(t, addr, version, "-CAfile", files.CA, "-servername", "localhost", flag, ticket)
			c.WaitLog(t, "hello to you")
			if text := ended(t, c); !strings.Contains(text, []string{"New, TLS", "Reused, TLS"}[i]) {
				t.Errorf("%s, %d:\n%s", version, i, text)
			}
		}
	}
	c := peers.SClient(t, addrs[0], "-tls1_2", "-CAfile", files.CA, "-servername", "localhost", "-reconnect")
	c.WaitLog(t, "hello to you")
	if text := ended(t, c); strings.Count(text, "Reused, TLS") != 5 {
		t.Errorf("-reconnect:\n%s", text)
	}
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, priority := range []string{"NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"} {
		c = peers.StartProcess(t, "gnutls-bin", "gnutls-cli", "--x509cafile", files.CA, "--priority", priority, "--resume", "--waitresumption", "--port", port, "localhost")
		c.WaitLog(t, "This is a resumed session")
		ended(t, c)
	}
}
