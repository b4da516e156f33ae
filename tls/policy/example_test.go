package policy_test

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// imapServer serves one connection with a certificate of its own for a name.
func imapServer(name string) (port uint16, cert *x509.Certificate) {
	ca, err := testpki.NewCA("Example root")
	if err != nil {
		log.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: name, NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames = []string{name}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		log.Fatal(err)
	}
	server, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.IMAP,
		TLS: &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer func() { _ = l.Close() }()
		conn, acceptErr := l.Accept()
		if acceptErr != nil {
			return
		}
		if s, handshakeErr := server.Handshake(context.Background(), conn); handshakeErr == nil {
			_ = s.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), p.Cert
}

// A server whose key is known beforehand needs nobody else's word.
func ExampleDialer_Dial() {
	port, cert := imapServer("mail.internal")
	d, err := policy.New(&policy.Options{Policy: policy.Policy{Base: policy.Pinned, Pins: []policy.Pin{policy.PinKey(cert)}}})
	if err != nil {
		log.Fatal(err)
	}
	c, err := d.Dial(context.Background(), &policy.Target{Protocol: tls.IMAP, Host: "127.0.0.1", Port: port})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fmt.Println(c.Verdict.Rule, c.Verdict.Authenticated)
	fmt.Println(c.Verdict.Why[0])
	// Output:
	// pinned true
	// the policy has pins, and nothing else counts
}

// Without a pin, the certificate has to be for the name, and somebody trusted has to
// vouch for it. The error says which rule was broken.
func ExampleError() {
	port, cert := imapServer("mail.internal")
	roots := x509.NewCertPool()
	roots.AddCert(cert) // the server's own certificate will do
	d, err := policy.New(&policy.Options{Roots: roots})
	if err != nil {
		log.Fatal(err)
	}
	_, err = d.Dial(context.Background(), &policy.Target{Protocol: tls.IMAP, Host: "127.0.0.1", ServerName: "mail.example.org", Port: port})
	if refusal, ok := errors.AsType[*policy.Error](err); ok {
		fmt.Println(refusal.Reason)
		fmt.Println(refusal.Err)
	}
	// Output:
	// certificate-host-mismatch
	// the certificate is for mail.internal, not for mail.example.org
}

// signed is a resolver that knows one domain, and vouches for all that it says. A real
// one is a dnsclient.Client.
type signed struct{ dane.Resolver }

func secure[T any](name string, records ...T) (*dane.Answer[T], error) {
	return &dane.Answer[T]{Records: records, Secure: true, Name: name}, nil
}

func (signed) LookupMX(_ context.Context, name string) (*dane.Answer[dane.MX], error) {
	return secure(name, dane.MX{Preference: 10, Host: "mx.example.org"})
}

func (signed) LookupA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return secure(name, netip.MustParseAddr("192.0.2.1"))
}

func (signed) LookupAAAA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return secure[netip.Addr](name)
}

func (signed) LookupTLSA(_ context.Context, name string) (*dane.Answer[dane.Record], error) {
	record, err := dane.ParseText("3 1 1 " + strings.Repeat("0a", 32))
	if err != nil {
		return nil, err
	}
	return secure(name, record)
}

// A plan tells who would be connected to, and by which rule, and connects to nobody.
func ExampleDialer_Plan() {
	p, err := policy.Parse("dane required")
	if err != nil {
		log.Fatal(err)
	}
	d, err := policy.New(&policy.Options{Policy: p, Resolver: signed{}})
	if err != nil {
		log.Fatal(err)
	}
	plan, err := d.Plan(context.Background(), &policy.Target{MX: "example.org"})
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range plan.Hosts {
		fmt.Println(h.Address(), h.Rule)
		for _, why := range h.Why {
			fmt.Println("-", why)
		}
	}
	// Output:
	// mx.example.org:25 dane
	// - DNSSEC vouches for the MX records of example.org
	// - DNSSEC vouches for one TLSA record at _25._tcp.mx.example.org, so DANE decides
}

// Policies are words in a configuration.
func ExampleParse() {
	for _, text := range []string{"required", "dane mta-sts opportunistic", "dane-only", "whatever"} {
		p, err := policy.Parse(text)
		fmt.Println(p, err)
	}
	// Output:
	// required <nil>
	// dane mta-sts opportunistic <nil>
	// dane-only <nil>
	// required tls: Policy: "whatever" is not understood
}

// Pins are words, too.
func ExampleParsePin() {
	p, err := policy.ParsePin("key-sha256:" + strings.Repeat("00:", 31) + "01")
	fmt.Println(p, err)
	// Output:
	// key-sha256:0000000000000000000000000000000000000000000000000000000000000001 <nil>
}
