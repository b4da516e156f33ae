package tlstool

import (
	"bytes"
	"crypto/sha256"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/pki/dane/dnsclient"
	"github.com/postseal/postseal/tls"
)

// files writes a certificate with its issuer, and its key, as PEM.
func files(t *testing.T, c *cryptotls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var certs []byte
	for _, raw := range c.Certificate {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(cert, certs, 0o644); err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// at is a target at an address of a peer, by a name.
func at(t *testing.T, address, name string, protocol tls.Protocol, startTLS bool) *Target {
	t.Helper()
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	target := targetAt(t, net.TCPAddrFromAddrPort(addr), protocol, startTLS)
	target.ServerName = name
	return target
}

func (r *Report) text(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestProbePeers looks at Dovecot, Postfix, OpenSSL, GnuTLS and OpenLDAP.
func TestProbePeers(t *testing.T) {
	ca := newAuthority(t)
	issued := ca.issue(t, nil)
	cert, key := files(t, issued)
	root, _ := files(t, &cryptotls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: issued.PrivateKey})
	// Each of Dovecot's processes has its own keys of tickets, and each serves one
	// connection unless it is told otherwise; then nothing is resumed, which is said.
	const one = "service imap-login {\n service_count = 0\n}\n"
	dovecot := peers.StartDovecot(t, cert, key, one)
	type peer struct {
		name, addr string
		protocol   tls.Protocol
		startTLS   bool
		resumes    bool
	}
	list := []peer{
		{"Dovecot", dovecot.IMAP, tls.IMAP, true, true}, {"Dovecot", dovecot.IMAPS, tls.IMAP, false, true}, {"Dovecot", dovecot.POP3, tls.POP3, true, false},
		{"Dovecot", dovecot.POP3S, tls.POP3, false, false}, {"Dovecot", dovecot.LMTP, tls.LMTP, true, true}, {"Dovecot", dovecot.Sieve, tls.ManageSieve, true, false},
		{"s_server", peers.StartSServer(t, cert, key, "-alpn", "imap", "-cert_chain", root).Addr, tls.IMAP, false, true},
		{"gnutls-serv", peers.StartGnuTLSServ(t, cert, key).Addr, 0, false, true},
	}
	slapd := peers.StartSlapd(t, cert, key, "")
	list = append(list, peer{"slapd", slapd.Addr, tls.LDAP, true, false}, peer{"slapd", slapd.LDAPS, tls.LDAP, false, false})
	if os.Getuid() == 0 {
		postfix := peers.StartPostfix(t, cert, key, "")
		list = append(list, peer{"Postfix", postfix.Addr, tls.SMTP, true, true}, peer{"Postfix", postfix.SMTPS, tls.SMTP, false, true})
	}
	for i, p := range list {
		t.Run(fmt.Sprintf("%s %v %v", p.name, p.protocol, p.startTLS), func(t *testing.T) {
			// The versions and ciphers are those of a library: one look at each is enough.
			quick := i > 0 && list[i-1].name == p.name
			r, err := Probe(t.Context(), at(t, p.addr, "mx.example", p.protocol, p.startTLS), &Options{Roots: ca.pool(), Quick: quick})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.text(t))
			if r.Handshake.Version != "TLS 1.3" || !r.Trust.Trusted || r.Resumption.Resumed != p.resumes || r.Resumption.Ticket == (p.name == "slapd") {
				t.Errorf("%+v", r)
			}
			if got := accepted(r.Versions); !quick && (!slices.Contains(got, "TLS 1.3") || !slices.Contains(got, "TLS 1.2") || len(r.Suites) == 0 || len(accepted(r.Groups)) == 0) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestProbePostfixDANE looks at Postfix with a signed DNS.
func TestProbePostfixDANE(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("postfix starts as root only")
	}
	ca := newAuthority(t)
	issued := ca.issue(t, nil)
	cert, key := files(t, issued)
	postfix := peers.StartPostfix(t, cert, key, "")
	_, port, err := net.SplitHostPort(postfix.Addr)
	if err != nil {
		t.Fatal(err)
	}
	spki := sha256.Sum256(issued.Leaf.RawSubjectPublicKeyInfo)
	w := dnstest.Start(t, &dnstest.Options{Signed: strings.ReplaceAll(fmt.Sprintf(`mail.example. 60 IN MX 10 mx.example.
mx.example. 60 IN A 127.0.0.1
_@._tcp.mx.example. 60 IN TLSA 3 1 1 %x
bad.example. 60 IN MX 10 mx2.bad.example.
mx2.bad.example. 60 IN A 127.0.0.1
_@._tcp.mx2.bad.example. 60 IN TLSA 2 0 1 %x
forged.example. 60 IN MX 10 mx.bogus.example.
`, spki, spki), "@", port), Bogus: strings.ReplaceAll("mx.bogus.example. 60 IN A 127.0.0.1\n_@._tcp.mx.bogus.example. 60 IN TLSA 3 1 1 00\n", "@", port),
		Damage: func([]dns.RR, *dns.RRSIG, func(*dns.RRSIG) error) (*dns.RRSIG, error) { return nil, nil }})
	resolver, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{w.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, domain string
		ok           bool
		reason       string
	}{{"mx.example", "mail.example", true, ""}, {"mx2.bad.example", "bad.example", false, "tlsa-mismatch"}, {"mx.bogus.example", "forged.example", false, "dnssec-invalid"}} {
		r, probeErr := Probe(t.Context(), at(t, postfix.Addr, c.name, tls.SMTP, true), &Options{Resolver: resolver, Domain: c.domain, Quick: true})
		if r == nil {
			t.Fatal(probeErr)
		}
		t.Log(r.text(t))
		if (probeErr == nil) != c.ok || r.Client.Connects != c.ok || r.Client.Authenticated != c.ok || r.Client.Reason != c.reason || !r.Mail.Listed || !r.Mail.Secure {
			t.Errorf("%s: %v, %+v", c.name, probeErr, r.Client)
		}
	}
}
