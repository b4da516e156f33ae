package policy

import (
	"bufio"
	"crypto/sha256"
	"crypto/sha512"
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki/dane/dnsclient"
	"github.com/postseal/postseal/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An authority is a root and an intermediate authority.
type authority struct{ root, ca *testpki.CA }

var theAuthority = sync.OnceValues(func() (*authority, error) {
	root, err := testpki.NewCA("Policy root")
	if err != nil {
		return nil, err
	}
	ca, err := root.Intermediate("Policy authority")
	return &authority{root, ca}, err
})

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a, err := theAuthority()
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root.Cert)
	return pool
}

// issue makes a certificate for names; the first one has a key of its own.
func (a *authority) issue(tb testing.TB, edit func(*x509.Certificate), names ...string) *cryptotls.Certificate {
	tb.Helper()
	p, err := a.ca.Issue(testpki.Profile{Name: names[0], NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else if n != "" {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return &cryptotls.Certificate{Certificate: [][]byte{p.Cert.Raw, a.ca.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
}

// short leaves the issuer out of what is sent.
func short(c *cryptotls.Certificate) *cryptotls.Certificate {
	c.Certificate = c.Certificate[:1]
	return c
}

// tlsa is the text of a record for a part of a certificate.
func tlsa(usage, selector, matching int, c *x509.Certificate) string {
	part := c.Raw
	if selector == 1 {
		part = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(part)
		part = sum[:]
	case 2:
		sum := sha512.Sum512(part)
		part = sum[:]
	}
	return fmt.Sprintf("TLSA %d %d %d %x", usage, selector, matching, part)
}

// wrong is a record for no certificate.
const wrong = "TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

// listen takes connections until the test ends.
func listen(tb testing.TB, serve func(net.Conn)) uint16 {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, acceptErr := l.Accept()
			if acceptErr != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				serve(c)
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		group.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// serveTLS is a server with TLS, which says "250 hi" after it.
func serveTLS(tb testing.TB, p tls.Protocol, mode tls.Mode, cert *cryptotls.Certificate) uint16 {
	tb.Helper()
	s, err := tls.NewServer(&tls.ServerConfig{Protocol: p, Mode: mode, TLS: &cryptotls.Config{Certificates: []cryptotls.Certificate{*cert}}})
	if err != nil {
		tb.Fatal(err)
	}
	return listen(tb, func(c net.Conn) {
		session, handshakeErr := s.Handshake(tb.Context(), c)
		if handshakeErr == nil {
			// Unasked, which serves for a reply to EHLO, too.
			_, _ = io.WriteString(session.Conn, "250 hi\r\n")
			for in := bufio.NewReader(session.Conn); ; {
				if line, readErr := in.ReadString('\n'); readErr != nil {
					break
				} else if strings.HasPrefix(line, "QUIT") {
					_, _ = io.WriteString(session.Conn, "221 bye\r\n")
				}
			}
			_ = session.Close()
		}
	})
}

// servePlain is an SMTP server without STARTTLS, or one on the way to which
// somebody removes it.
func servePlain(tb testing.TB) uint16 {
	tb.Helper()
	return listen(tb, func(c net.Conn) {
		in := bufio.NewReader(c)
		_, _ = io.WriteString(c, "220 mail ESMTP\r\n")
		for {
			line, err := in.ReadString('\n')
			switch {
			case err != nil:
				return
			case strings.HasPrefix(line, "EHLO"):
				_, _ = io.WriteString(c, "250-mail\r\n250 SIZE 1000\r\n")
			case strings.HasPrefix(line, "QUIT"):
				_, _ = io.WriteString(c, "221 bye\r\n")
			default:
				_, _ = io.WriteString(c, "250 hi\r\n")
			}
		}
	})
}

// A zone collects records. In them @ stands for the port.
type zone struct {
	signed, unsigned, bogus strings.Builder
	port53                  bool
	resolver                netip.AddrPort // when it has been started
}

func (z *zone) add(port uint16, lines ...string) {
	for _, line := range lines {
		line = strings.ReplaceAll(line, "@", fmt.Sprint(port))
		name, _, _ := strings.Cut(line, " ")
		out := &z.signed
		switch {
		case strings.HasSuffix(name, dnstest.Bogus):
			out = &z.bogus
		case strings.HasSuffix(name, dnstest.Unsigned):
			out = &z.unsigned
		}
		_, rest, _ := strings.Cut(line, " ")
		fmt.Fprintf(out, "%s 60 IN %s\n", name, rest)
	}
}

// start starts the DNS, in whose bogus zone all records but those of names with
// "good" have a signature that does not hold, or with "bad2" none.
func (z *zone) start(t *testing.T) *dnsclient.Client {
	t.Helper()
	w := dnstest.Start(t, &dnstest.Options{Signed: z.signed.String(), Unsigned: z.unsigned.String(), Bogus: z.bogus.String(), Port53: z.port53,
		Damage: func(set []dns.RR, sig *dns.RRSIG, _ func(*dns.RRSIG) error) (*dns.RRSIG, error) {
			name := set[0].Header().Name
			if strings.Contains(name, "good") && !strings.HasPrefix(name, "_") || slices.Contains([]string{dnstest.Bogus, "ns." + dnstest.Bogus}, name) {
				return sig, nil
			}
			if strings.Contains(name, "bad2") {
				return nil, nil
			}
			damaged := *sig // is for other records, as if these were forged
			damaged.Signature = "AAAA" + damaged.Signature[4:]
			return &damaged, nil
		}})
	z.resolver = w.Resolver
	r, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{w.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
