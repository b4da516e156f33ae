package tlstool

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/tls"
)

// writePair writes a certificate with its issuer, its key, and what to trust.
func writePair(t *testing.T, ca *authority, cert *cryptotls.Certificate) (certFile, keyFile, caFile string) {
	t.Helper()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if writeErr := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); writeErr != nil {
			t.Fatal(writeErr)
		}
		return name
	}
	return write("cert.pem", "CERTIFICATE", cert.Leaf.Raw), write("key.pem", "PRIVATE KEY", key), write("ca.pem", "CERTIFICATE", ca.cert.Raw)
}

func parseTarget(t *testing.T, address, startTLS string) *Target {
	t.Helper()
	target, err := ParseTarget(address, startTLS)
	if err != nil {
		t.Fatal(err)
	}
	target.ServerName = "mx.example"
	return target
}

// talk has a conversation with a server, line by line as a person would: each line
// is typed when an answer to the one before has come.
func talk(t *testing.T, target *Target, opts *ConnectOptions, script ...string) (out, log *listing) {
	t.Helper()
	out, log = new(listing), new(listing)
	in, typed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Connect(t.Context(), target, &Streams{In: in, Out: out, Say: log.say, CRLF: true}, opts)
	}()
	for i := 0; i < len(script); i += 2 {
		if _, err := io.WriteString(typed, script[i]); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); !strings.Contains(out.String(), script[i+1]); time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("%q does not come after %q:\n%s%s", script[i+1], script[i], log, out)
			}
		}
	}
	if err := <-done; err != nil {
		t.Errorf("%v\n%s%s", err, log, out)
	}
	_ = typed.Close()
	return out, log
}

// TestConnectDovecot talks to IMAP, POP3 and ManageSieve servers, and shows a
// certificate.
func TestConnectDovecot(t *testing.T) {
	ca := newAuthority(t)
	cert, key, root := writePair(t, ca, ca.issue(t, nil))
	d := peers.StartDovecot(t, cert, key, "ssl_verify_client_cert = yes\nssl_ca = <"+root+"\n")
	imap := []string{"", "", "a LOGIN alice secret\n", "a OK", "b LOGOUT\n", "b OK"}
	for _, c := range []struct {
		address, startTLS string
		script            []string
	}{
		{d.IMAP, "imap", imap},
		{d.IMAPS, "", append([]string{"", "* OK"}, imap[2:]...)},
		{d.POP3, "pop3", []string{"USER alice\n", "+OK", "PASS secret\n", "Logged in", "QUIT\n", "Logging out"}},
		{d.POP3S, "", []string{"", "+OK", "QUIT\n", "Logging out"}},
		{d.Sieve, "sieve", []string{"", "OK", "LOGOUT\n", "Logout"}},
	} {
		opts := &ConnectOptions{Roots: ca.pool(), Verbose: true}
		if c.startTLS == "imap" {
			opts.Certificate = ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "alice" })
		}
		_, log := talk(t, parseTarget(t, c.address, c.startTLS), opts, c.script...)
		log.has(t, "TLS 1.3", "the peer closed the connection")
		if c.startTLS == "imap" {
			log.has(t, "STARTTLS", `it accepts those of "CN=Test Root"`)
		} else {
			log.has(t, "the server asked for a client certificate, and got none")
		}
	}
}

// TestConnectPostfix talks to an SMTP server, in a session that it resumes.
func TestConnectPostfix(t *testing.T) {
	ca := newAuthority(t)
	cert, key, _ := writePair(t, ca, ca.issue(t, nil))
	p := peers.StartPostfix(t, cert, key, "smtpd_tls_session_cache_timeout = 3600s\n")
	for _, c := range []struct{ address, startTLS, greeting string }{{p.Addr, "smtp", ""}, {p.SMTPS, "", "220 mail.example.test"}} {
		_, log := talk(t, parseTarget(t, c.address, c.startTLS), &ConnectOptions{Roots: ca.pool(), Verbose: true, Resume: true},
			"", c.greeting, "EHLO me.example\n", "250 CHUNKING", "QUIT\n", "221 2.0.0")
		log.has(t, "TLS 1.3", ", resumed")
		if c.startTLS != "" {
			log.has(t, "S: 220 mail.example.test", "C: STARTTLS", "begin with EHLO")
		}
	}
}

// TestServePeers serves openssl s_client, swaks and curl by hand.
func TestServePeers(t *testing.T) {
	ca := newAuthority(t)
	cert, key, root := writePair(t, ca, ca.issue(t, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "localhost") }))
	pair, err := cryptotls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		protocol tls.Protocol
		startTLS bool
		start    func(port string) *peers.Process
		script   []string // what comes, and what is typed
	}{
		{"openssl", tls.IMAP, true, func(port string) *peers.Process {
			p := peers.SClient(t, "127.0.0.1:"+port, "-starttls", "imap", "-CAfile", root, "-verify_return_error", "-quiet", "-crlf")
			_, _ = io.WriteString(p.Stdin, "a NOOP\n")
			return p
		}, []string{"a NOOP", "a OK by hand\n"}},
		{"swaks", tls.SMTP, true, func(port string) *peers.Process {
			return peers.StartProcess(t, "swaks", "swaks", "--server", "127.0.0.1", "--port", port, "--tls", "--tls-ca-path", root,
				"--from", "alice@example.test", "--to", "bob@example.test", "--helo", "me.example")
		}, []string{
			"EHLO me.example", "250 hello\n", "MAIL FROM:<alice@example.test>", "250 ok\n", "RCPT TO:<bob@example.test>", "250 ok\n",
			"DATA", "354 go on\n", "\r\n.\r\n", "250 taken\n", "QUIT", "221 bye\n",
		}},
		{"curl", tls.IMAP, false, func(port string) *peers.Process {
			return peers.StartProcess(t, "curl", "curl", "-sS", "-v", "--cacert", root, "imaps://localhost:"+port, "-X", "NOOP", "--ipv4")
		}, []string{"", "* OK ready\n", "A001 CAPABILITY", "* CAPABILITY IMAP4rev1\nA001 OK\n", "A002 NOOP", "A002 OK\n", "A003 LOGOUT", "A003 OK\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, typed := io.Pipe()
			ln, listenErr := net.Listen("tcp", "127.0.0.1:0")
			if listenErr != nil {
				t.Fatal(listenErr)
			}
			var out, log listing
			done := make(chan error, 1)
			go func() {
				done <- Serve(t.Context(), ln, &Streams{In: in, Out: &out, Say: log.say, CRLF: true},
					&ServeOptions{Certificates: []cryptotls.Certificate{pair}, Protocol: c.protocol, StartTLS: c.startTLS, Once: true, Verbose: true})
			}()
			p := c.start(strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
			for i := 0; i < len(c.script); i += 2 {
				for start := time.Now(); !strings.Contains(out.String(), c.script[i]); time.Sleep(10 * time.Millisecond) {
					if time.Since(start) > 10*time.Second {
						t.Fatalf("%q does not come:\n%s%s%s", c.script[i], &log, &out, p.Log())
					}
				}
				if _, err := io.WriteString(typed, c.script[i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if c.name == "openssl" {
				p.WaitLog(t, "a OK by hand")
				_ = p.Stdin.Close()
				p.Stop()
			}
			if serveErr := <-done; serveErr != nil {
				t.Errorf("%v\n%s", serveErr, &log)
			}
			_ = typed.Close()
			log.has(t, "offers: ", "TLS 1.3")
		})
	}
}
