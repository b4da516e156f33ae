package tlstool

import (
	"bytes"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/tls"
)

// has fails for each text that is not in a listing.
func (l *listing) has(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(l.String(), text) {
			t.Errorf("%q is not in:\n%s", text, l)
		}
	}
}

// TestVerbose has both sides tell what was said before TLS, and what there is to
// know.
func TestVerbose(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		protocol tls.Protocol
		dialogue []string
		step     string
	}{
		{tls.SMTP, []string{"S: 220 localhost ready", "C: EHLO ", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 2.0.0"}, "begin with EHLO"},
		{tls.IMAP, []string{"S: * OK localhost ready", "STARTTLS", "begin TLS now"}, "give a command"},
		{tls.POP3, []string{"S: +OK localhost ready", "C: CAPA", "C: STLS"}, "give a command"},
	} {
		cert := ca.issue(t, nil)
		s := startServe(t, nil, &ServeOptions{
			Certificates: []cryptotls.Certificate{*cert}, Protocol: c.protocol, StartTLS: true, Verbose: true, AskClient: true, Once: true,
		})
		var out, log listing
		err := Connect(t.Context(), s.target, &Streams{In: strings.NewReader("secret\n"), Out: &out, Say: log.say}, &ConnectOptions{
			Roots: ca.pool(), Verbose: true, PEM: true, Certificate: ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "a client" }),
		})
		if serveErr := <-s.done; err != nil || serveErr != nil {
			t.Error(err, serveErr)
		}
		log.has(t, append(c.dialogue, "certificate 0: CN=mx.example", "issuer: CN=Test Root", "names: mx.example", c.step)...)
		s.log.has(t, append(c.dialogue, "offers: server name mx.example; versions TLS 1.3, TLS 1.2", "certificate 0: CN=a client", "X25519MLKEM768", "tls-exporter: ")...)
		if c.protocol.ALPN() != "" {
			s.log.has(t, "ALPN "+c.protocol.ALPN())
		}
		for _, l := range []*listing{&log, &s.log} {
			if strings.Contains(l.String(), "secret") {
				t.Errorf("what was said over TLS is told:\n%s", l)
			}
		}
		block, _ := pem.Decode([]byte(log.String()[strings.Index(log.String(), "-----BEGIN"):]))
		if block == nil || !bytes.Equal(block.Bytes, cert.Leaf.Raw) {
			t.Error("the certificate is not in PEM")
		}
	}
}

// TestResume resumes sessions with servers that can and one that cannot.
func TestResume(t *testing.T) {
	ca := newAuthority(t)
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		for _, can := range []bool{true, false} {
			target := serveTLS(t, tls.SMTP, true, &cryptotls.Config{
				Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, MaxVersion: version, SessionTicketsDisabled: !can,
			})
			var out, log listing
			err := Connect(t.Context(), target, &Streams{In: strings.NewReader(""), Out: &out, Say: log.say}, &ConnectOptions{Roots: ca.pool(), Resume: true})
			if err != nil {
				t.Errorf("%x: %v", version, err)
			}
			if can {
				log.has(t, ", resumed")
			} else {
				log.has(t, "the session was not resumed")
			}
		}
	}
	target := serveTLS(t, 0, false, &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}})
	err := Connect(t.Context(), target, &Streams{Out: io.Discard, Say: new(listing).say}, &ConnectOptions{Resume: true})
	if !errors.As(err, new(*UntrustedError)) {
		t.Errorf("a stranger: %v", err)
	}
}

// TestUnchecked says what is wrong with a certificate that was not asked about.
func TestUnchecked(t *testing.T) {
	ca := newAuthority(t)
	target := serveTLS(t, 0, false, &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}})
	for _, c := range []struct {
		name  string
		roots *x509.CertPool
		want  []string
	}{
		{"mx.example", ca.pool(), []string{"would be trusted"}},
		{"mx.example", x509.NewCertPool(), []string{"unknown authority"}},
		{"other.example", ca.pool(), []string{"valid for mx.example, not other.example"}},
		{"other.example", x509.NewCertPool(), []string{"unknown authority", "valid for mx.example, not other.example"}},
	} {
		target.ServerName = c.name
		var log listing
		err := Connect(t.Context(), target, &Streams{In: strings.NewReader(""), Out: io.Discard, Say: log.say}, &ConnectOptions{NoTrust: true, Roots: c.roots})
		if err != nil || strings.Count(log.String(), "not checked:") != len(c.want) {
			t.Errorf("%v:\n%s", err, &log)
		}
		log.has(t, c.want...)
	}
}

// TestAuthorities tells whose certificates a server wants.
func TestAuthorities(t *testing.T) {
	ca := newAuthority(t)
	target := serveTLS(t, 0, false, &cryptotls.Config{
		Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, ClientCAs: ca.pool(), ClientAuth: cryptotls.VerifyClientCertIfGiven,
	})
	var log listing
	if err := Connect(t.Context(), target, &Streams{In: strings.NewReader(""), Out: io.Discard, Say: log.say}, &ConnectOptions{Roots: ca.pool()}); err != nil {
		t.Error(err)
	}
	log.has(t, "got none", `it accepts those of "CN=Test Root"`)
}

// TestKeyLog has both sides give the same secrets away.
func TestKeyLog(t *testing.T) {
	ca := newAuthority(t)
	var ours, theirs, log listing
	s := startServe(t, nil, &ServeOptions{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, KeyLog: &theirs, Echo: true, Once: true})
	err := Connect(t.Context(), s.target, &Streams{In: strings.NewReader("x"), Out: io.Discard, Say: log.say}, &ConnectOptions{Roots: ca.pool(), KeyLog: &ours})
	if serveErr := <-s.done; err != nil || serveErr != nil {
		t.Error(err, serveErr)
	}
	ours.has(t, "CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 ")
	if ours.String() != theirs.String() {
		t.Error("the secrets are not the same")
	}
}

// TestOffers tells what a client offers that fails, and asks for certificates.
func TestOffers(t *testing.T) {
	ca := newAuthority(t)
	s := startServe(t, nil, &ServeOptions{
		Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, MinVersion: cryptotls.VersionTLS13, AskClient: true, Echo: true,
	})
	var log listing
	err := Connect(t.Context(), s.target, &Streams{Out: io.Discard, Say: log.say}, &ConnectOptions{Roots: ca.pool(), MaxVersion: cryptotls.VersionTLS12, ALPN: []string{"imap"}})
	if !errors.As(err, new(*tls.HandshakeError)) {
		t.Errorf("%v", err)
	}
	for range 100 {
		if strings.Contains(s.log.String(), "offers") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.log.has(t, "offers: server name mx.example; versions TLS 1.2; ALPN imap; key exchanges ")
	if err = Connect(t.Context(), s.target, &Streams{In: strings.NewReader(""), Out: io.Discard, Say: log.say}, &ConnectOptions{Roots: ca.pool()}); err != nil {
		t.Error(err)
	}
	s.log.has(t, "the client has shown no certificate")
}

// TestTracer tells lines in pieces, long ones, and those of no protocol.
func TestTracer(t *testing.T) {
	var log listing
	tr := &tracer{say: log.say, mine: "C", theirs: "S"}
	for _, p := range []string{"22", "0 a\r", "\n250-b\n", "\x1b[2J\n", strings.Repeat("x", maxTraced+10), "\nrest"} {
		tr.tell("S", &tr.arrived, []byte(p))
	}
	tr.flush()
	tr.tell("C", &tr.sent, []byte("\x16\x03\x01"))
	tr.tell("S", &tr.arrived, []byte("over\n"))
	tr.flush()
	if want := "S: 220 a\nS: 250-b\nS: ?[2J\nS: " + strings.Repeat("x", maxTraced) + "\nS: \nS: rest\n"; log.String() != want {
		t.Errorf("%q", log.String())
	}
}
