package policy

import (
	"bufio"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/mtasts"
)

// files writes a certificate, with the issuer that it is sent with, and its key.
func files(t *testing.T, c *cryptotls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var text []byte
	for _, raw := range c.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(cert, text, 0o644), os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func portOf(t *testing.T, addr string) uint16 {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(port)
}

// TestPeers connects to Postfix, Dovecot and OpenSSL by what a signed DNS and a web
// server say of them.
func TestPeers(t *testing.T) {
	a, w := newAuthority(t), newWeb(t)
	cert := a.issue(t, nil, "mx.peer.example", "imap.peer.example", "mx.sts.example")
	certFile, keyFile := files(t, cert)
	issuer := filepath.Join(t.TempDir(), "issuer.pem")
	if err := os.WriteFile(issuer, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Cert.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	dovecot := peers.StartDovecot(t, certFile, keyFile, "service imap-login {\n service_count = 0\n}\n")
	openssl := peers.StartSServer(t, certFile, keyFile, "-rev", "-cert_chain", issuer)
	postfix := peers.StartPostfix(t, certFile, keyFile, "")
	bare := peers.StartPostfix(t, certFile, keyFile, "smtpd_tls_security_level = none\n")
	z := &zone{}
	smtp, smtpBare, imap, imaps := portOf(t, postfix.Addr), portOf(t, bare.Addr), portOf(t, dovecot.IMAP), portOf(t, openssl.Addr)
	z.add(smtp, mx("peer.example", tlsa(3, 1, 1, cert.Leaf))...)
	z.add(smtp, mx("wrong.example", wrong)...)
	z.add(smtp, append(mx("sts.example"), "_mta-sts.sts.example. "+record)...)
	z.add(smtpBare, mx("bare.example", tlsa(3, 1, 1, cert.Leaf))...)
	z.add(smtpBare, append(mx("barests.example"), "_mta-sts.barests.example. "+record)...)
	z.add(imap, "imap.peer.example. A 127.0.0.1", "_@._tcp.imap.peer.example. "+tlsa(2, 0, 1, a.ca.Cert))
	z.add(imaps, "_imaps._tcp.peer.example. SRV 0 1 @ imap.peer.example.", "_@._tcp.imap.peer.example. "+tlsa(1, 1, 1, cert.Leaf))
	w.set("sts.example", mtasts.Enforce, "mx.sts.example")
	w.set("barests.example", mtasts.Enforce, "mx.barests.example")
	r := z.start(t)
	d, err := New(&Options{Policy: Policy{DANE: IfPublished, MTASTS: true, Base: Opportunistic}, Resolver: r, Roots: a.roots(),
		MTASTS: w.client(t, r, mtasts.NewMemoryCache(nil)), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		target    Target
		rule      Rule
		reason    Reason
		say, hear string
	}{
		{"Postfix, DANE", Target{MX: "peer.example", Port: smtp}, RuleDANE, 0, "EHLO me\r\n", "250 "},
		{"Postfix, another key", Target{MX: "wrong.example", Port: smtp}, 0, TLSAMismatch, "", ""},
		{"Postfix, MTA-STS", Target{MX: "sts.example", Port: smtp}, RuleMTASTS, 0, "EHLO me\r\n", "250 "},
		{"Postfix without TLS, DANE", Target{MX: "bare.example", Port: smtpBare}, 0, NoStartTLS, "", ""},
		{"Postfix without TLS, MTA-STS", Target{MX: "barests.example", Port: smtpBare}, 0, NoStartTLS, "", ""},
		{"Dovecot, DANE", Target{Protocol: tls.IMAP, Mode: tls.StartTLS, Host: "imap.peer.example", Port: imap}, RuleDANE, 0, "x LOGIN alice secret\r\n", "x OK"},
		{"OpenSSL, SRV and DANE", Target{Protocol: tls.IMAP, SRV: "peer.example"}, RuleDANE, 0, "olleh\n", "hello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range 2 {
				conn, dialErr := d.Dial(t.Context(), &c.target)
				if c.reason != 0 {
					e, ok := errors.AsType[*Error](dialErr)
					if !ok || e.Reason != c.reason {
						t.Errorf("%v, %v", conn, dialErr)
					}
					t.Log(dialErr)
					continue
				}
				if dialErr != nil {
					t.Fatal(dialErr)
				}
				if conn.Verdict.Rule != c.rule || !conn.Verdict.Authenticated || conn.State().DidResume != (i == 1) {
					t.Errorf("resumed %v: %v", conn.State().DidResume, conn.Verdict)
				}
				_ = conn.Conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(conn.Conn, c.say)
				for in := bufio.NewReader(conn.Conn); ; {
					line, readErr := in.ReadString('\n')
					if readErr != nil {
						t.Fatal(readErr)
					}
					if strings.Contains(line, c.hear) {
						break
					}
				}
				_ = conn.Close()
				t.Log(conn.Verdict)
			}
		})
	}
}

// TestConcurrent has one Dialer used by many.
func TestConcurrent(t *testing.T) {
	a := newAuthority(t)
	cert := a.issue(t, nil, "mx.many.example")
	port := serveTLS(t, tls.SMTP, tls.StartTLS, cert)
	z := &zone{}
	z.add(port, mx("many.example", tlsa(2, 1, 1, a.ca.Cert))...)
	d, err := New(&Options{Policy: Policy{DANE: Only}, Resolver: z.start(t), Roots: a.roots()})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			c, dialErr := d.Dial(t.Context(), &Target{MX: "many.example", Port: port})
			if dialErr != nil {
				t.Error(dialErr)
				return
			}
			if c.Verdict.Rule != RuleDANE || c.Verdict.Name != "mx.many.example" {
				t.Errorf("%v", c.Verdict)
			}
			_ = c.Close()
		})
	}
	group.Wait()
}
