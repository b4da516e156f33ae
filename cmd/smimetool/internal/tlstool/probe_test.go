package tlstool

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postseal/postseal/tls"
)

func accepted(list []Offer) []string {
	var names []string
	for _, o := range list {
		if o.Accepted {
			names = append(names, o.Name)
		}
	}
	return names
}

// severities counts the advice.
func severities(r *Report) map[Severity]int {
	out := make(map[Severity]int)
	for _, a := range r.Advice {
		out[a.Severity]++
	}
	return out
}

// TestProbeGood looks at servers with which all is well.
func TestProbeGood(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		protocol tls.Protocol
		startTLS bool
	}{{0, false}, {tls.IMAP, false}, {tls.SMTP, true}, {tls.POP3, true}, {tls.LMTP, true}} {
		target := serveTLS(t, c.protocol, c.startTLS, &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}})
		r, err := Probe(t.Context(), target, &Options{Roots: ca.pool()})
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		h := r.Handshake
		if h.Version != "TLS 1.3" || !h.PostQuantum || h.Group != "X25519MLKEM768" || h.ALPN != c.protocol.ALPN() || h.ClientCertificate.Requested {
			t.Errorf("%v: %+v", c, h)
		}
		if !r.Trust.Trusted || !r.Trust.NameOK || len(r.Trust.Path) != 2 || len(r.Certificates) != 2 || !r.Resumption.Resumed || r.OCSP.Stapled || r.DANE != nil {
			t.Errorf("%v: %+v", c, r)
		}
		if got := accepted(r.Versions); !slices.Equal(got, []string{"TLS 1.3", "TLS 1.2"}) || len(r.Versions) != 4 {
			t.Errorf("%v: versions %v", c, r.Versions)
		}
		if len(r.Suites) < 3 || len(accepted(r.Groups)) != 7 {
			t.Errorf("%v: %d suites, %d groups", c, len(r.Suites), len(accepted(r.Groups)))
		}
		if len(r.Advice) != 0 {
			t.Errorf("%v: advice %v", c, r.Advice)
		}
	}
}

// TestProbeOld looks at a server that takes everything.
func TestProbeOld(t *testing.T) {
	ca := newAuthority(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := ca.issue(t, nil)
	cert.PrivateKey = key
	cert.Leaf = sign(t, cert.Leaf, ca.cert, key, ca.key)
	cert.Certificate[0] = cert.Leaf.Raw
	target := serveTLS(t, 0, false, &cryptotls.Config{
		Certificates: []cryptotls.Certificate{*cert}, MinVersion: cryptotls.VersionTLS10, MaxVersion: cryptotls.VersionTLS12,
		CipherSuites: allSuites(), CurvePreferences: []cryptotls.CurveID{cryptotls.CurveP256}, SessionTicketsDisabled: true,
	})
	r, err := Probe(t.Context(), target, &Options{Roots: ca.pool()})
	if err != nil {
		t.Fatal(err)
	}
	if got := accepted(r.Versions); !slices.Equal(got, []string{"TLS 1.2", "TLS 1.1", "TLS 1.0"}) {
		t.Errorf("versions %v", got)
	}
	weak := slices.ContainsFunc(r.Suites, func(o Offer) bool { return o.Weak && o.Name == "TLS_RSA_WITH_3DES_EDE_CBC_SHA" })
	if !weak || r.Handshake.PostQuantum || r.Resumption.Ticket || !slices.Equal(accepted(r.Groups), []string{"CurveP256"}) {
		t.Errorf("%+v", r)
	}
	// Old versions, no TLS 1.3, weak suites; key exchange, tickets.
	if got := severities(r); got[Bad] != 0 || got[Warning] != 3 || got[Note] != 2 {
		t.Errorf("%v", r.Advice)
	}
	var text bytes.Buffer
	if err = r.WriteText(&text); err != nil || !strings.Contains(text.String(), "TLS 1.0 (weak)") {
		t.Errorf("%v: %s", err, text.String())
	}
}

// TestProbeCertificates looks at servers whose certificates are not good.
func TestProbeCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	day := 24 * time.Hour
	for _, c := range []struct {
		name    string
		change  func(*x509.Certificate)
		roots   *x509.CertPool
		want    any // a pointer to what errors.As finds, or nil for a good one
		bad     int
		warning int
	}{
		{"another name", func(c *x509.Certificate) { c.DNSNames = []string{"other.example", "mx.example\x1b[31m.example"} }, ca.pool(), new(x509.HostnameError), 1, 0},
		{"expired", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-9*day), time.Now().Add(-day) }, ca.pool(), new(x509.CertificateInvalidError), 1, 0},
		{"not yet", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(day) }, ca.pool(), new(x509.CertificateInvalidError), 1, 0},
		{"of somebody", nil, other.pool(), new(x509.UnknownAuthorityError), 1, 0},
		{"for mail", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }, ca.pool(), new(x509.CertificateInvalidError), 1, 0},
		{"soon over", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-60*day), time.Now().Add(5*day) }, ca.pool(), nil, 0, 1},
		{"short-lived", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(5 * day) }, ca.pool(), nil, 0, 0},
	} {
		cert := ca.issue(t, c.change)
		target := serveTLS(t, tls.IMAP, false, &cryptotls.Config{Certificates: []cryptotls.Certificate{*cert}})
		r, err := Probe(t.Context(), target, &Options{Roots: c.roots, Quick: true})
		if r == nil {
			t.Fatalf("%s: no report: %v", c.name, err)
		}
		trusted := !errors.As(err, new(*UntrustedError))
		if trusted != (c.want == nil) || c.want != nil && !errors.As(err, c.want) || r.Trust.Trusted != trusted {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := severities(r); got[Bad] != c.bad || got[Warning] != c.warning {
			t.Errorf("%s: %v", c.name, r.Advice)
		}
		var text bytes.Buffer
		encoded, jsonErr := json.Marshal(r)
		if writeErr := r.WriteText(&text); writeErr != nil || jsonErr != nil {
			t.Fatal(writeErr, jsonErr)
		}
		if bytes.ContainsRune(text.Bytes(), '\x1b') || bytes.Contains(encoded, []byte(`\u001b`)) {
			t.Errorf("%s: a control character is in the report", c.name)
		}
	}
}

// TestProbeClientCertificate looks at a server that wants to know its clients.
func TestProbeClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		target := serveTLS(t, tls.IMAP, false, &cryptotls.Config{
			Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, ClientCAs: ca.pool(), ClientAuth: cryptotls.RequireAndVerifyClientCert, MaxVersion: version,
		})
		r, err := Probe(t.Context(), target, &Options{Roots: ca.pool(), Quick: true})
		if version == cryptotls.VersionTLS12 {
			if !errors.As(err, new(*CertificateWantedError)) {
				t.Errorf("without a certificate: %v", err)
			}
		} else if err != nil || !r.Handshake.ClientCertificate.Required || !slices.Equal(r.Handshake.ClientCertificate.Authorities, []string{"CN=Test Root"}) {
			t.Errorf("without a certificate: %v, %+v", err, r)
		}
		if r, err = Probe(t.Context(), target, &Options{Roots: ca.pool(), Certificate: ca.issue(t, nil)}); err != nil {
			t.Fatal(err)
		}
		c := r.Handshake.ClientCertificate
		if !c.Requested || c.Required || !c.Sent || !r.Resumption.Resumed || len(accepted(r.Versions)) == 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestProbeStaple looks at stapled OCSP responses.
func TestProbeStaple(t *testing.T) {
	ca := newAuthority(t)
	demand := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, extension(mustStaple, []byte{0x30, 3, 2, 1, 5}))
	}
	for _, c := range []struct {
		name   string
		status int // -1 for none
		age    time.Duration
		want   string
		bad    int
		warn   int
	}{
		{"good", ocsp.Good, 0, "good", 0, 0}, {"revoked", ocsp.Revoked, 0, "revoked", 1, 0},
		{"old", ocsp.Good, 48 * time.Hour, "good", 0, 1}, {"none", -1, 0, "", 1, 0},
	} {
		cert := ca.issue(t, demand)
		if c.status >= 0 {
			var err error
			now := time.Now().Add(-c.age)
			cert.OCSPStaple, err = ocsp.CreateResponse(ca.cert, ca.cert, ocsp.Response{
				Status: c.status, SerialNumber: cert.Leaf.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour), RevokedAt: now,
			}, ca.key)
			if err != nil {
				t.Fatal(err)
			}
		}
		target := serveTLS(t, 0, false, &cryptotls.Config{Certificates: []cryptotls.Certificate{*cert}})
		r, err := Probe(t.Context(), target, &Options{Roots: ca.pool(), Quick: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := severities(r); !r.OCSP.MustStaple || r.OCSP.Stapled != (c.status >= 0) || r.OCSP.Status != c.want || got[Bad] != c.bad || got[Warning] != c.warn {
			t.Errorf("%s: %+v, %v", c.name, r.OCSP, r.Advice)
		}
	}
}

// TestProbeNobody looks at what is no TLS server.
func TestProbeNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := targetAt(t, ln.Addr(), 0, false)
	_ = ln.Close()
	if r, probeErr := Probe(t.Context(), target, nil); r != nil || !errors.As(probeErr, new(*DialError)) {
		t.Errorf("nobody: %v", probeErr)
	}
	plain := serveTLS(t, tls.SMTP, true, &cryptotls.Config{Certificates: []cryptotls.Certificate{*newAuthority(t).issue(t, nil)}})
	plain.StartTLS = false
	if r, probeErr := Probe(t.Context(), plain, nil); r != nil || !errors.As(probeErr, new(*tls.HandshakeError)) {
		t.Errorf("no TLS: %v", probeErr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, probeErr := Probe(ctx, plain, nil); r != nil || !errors.Is(probeErr, context.Canceled) {
		t.Errorf("cancelled: %v", probeErr)
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		address, startTLS string
		want              Target
	}{
		{"mx.example.:25", "", Target{Host: "mx.example", Port: 25, Protocol: tls.SMTP, StartTLS: true}},
		{"mx.example:465", "", Target{Host: "mx.example", Port: 465, Protocol: tls.SMTP}},
		{"mx.example:25", "none", Target{Host: "mx.example", Port: 25, Protocol: tls.SMTP}},
		{"[::1]:2525", "smtp", Target{Host: "::1", Port: 2525, Protocol: tls.SMTP, StartTLS: true}},
		{"mx.example:443", "", Target{Host: "mx.example", Port: 443}},
	} {
		if got, err := ParseTarget(c.address, c.startTLS); err != nil || *got != c.want {
			t.Errorf("%s: %+v, %v", c.address, got, err)
		}
	}
	for _, bad := range [][2]string{{"mx.example", ""}, {":25", ""}, {"mx.example:0", ""}, {"mx.example:70000", ""}, {"mx.example:x", ""}, {"mx.example:25", "gopher"}} {
		if _, err := ParseTarget(bad[0], bad[1]); !errors.As(err, new(*TargetError)) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
