package upstream

import (
	"bufio"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A step is what a scripted server reads and says; an empty want reads nothing.
type step struct{ want, say string }

// script serves one connection, and returns its address and what comes of it.
func script(t testing.TB, over *cryptotls.Config, steps ...step) (string, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { _ = l.Close() }()
		conn, acceptErr := l.Accept()
		if acceptErr != nil {
			done <- acceptErr
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if over != nil {
			conn = cryptotls.Server(conn, over)
		}
		br := bufio.NewReader(conn)
		for _, s := range steps {
			if s.want != "" {
				line, readErr := br.ReadString('\n')
				if readErr != nil || strings.TrimRight(line, "\r\n") != s.want {
					done <- errors.Join(readErr, errors.New("got "+line+", want "+s.want))
					return
				}
			}
			if _, writeErr := io.WriteString(conn, s.say); writeErr != nil {
				done <- writeErr
				return
			}
		}
		if over != nil {
			_, _ = br.ReadByte() // until the client leaves
		}
		done <- nil
	}()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), done
}

func dialer(t testing.TB, protocol, tell, address string, mode tls.Mode) *Dialer {
	t.Helper()
	a := netip.MustParseAddrPort(address)
	u := config.Upstream{Find: config.FindHost, Place: config.Place{Host: a.Addr().String(), Port: int(a.Port()), Mode: mode, Name: "localhost"}, ClientAddress: tell}
	return &Dialer{Finder: finder(t, nil, protocol, u), Name: "proxy.test", Loops: &Loops{}}
}

// TestTell tells servers the address of a client, in each of the ways.
func TestTell(t *testing.T) {
	four := &Client{Addr: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("198.51.100.1:587")}
	six := &Client{Addr: netip.MustParseAddrPort("[2001:db8::7]:4711"), Local: netip.MustParseAddrPort("[2001:db8::1]:993")}
	const hello = "250-up.test\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT\r\n"
	for _, tc := range []struct {
		name, protocol, tell string
		client               *Client
		steps                []step
		greeted              bool
		err                  error
	}{
		{"nothing", config.SMTP, config.TellNothing, four, []step{{"", "220 hi\r\n"}}, false, nil},
		{"proxy 1", config.SMTP, config.TellProxyV1, four, []step{{"PROXY TCP4 192.0.2.7 198.51.100.1 4711 587", "220 hi\r\n"}}, false, nil},
		{"proxy 1, IPv6", config.IMAP4, config.TellProxyV1, six, []step{{"PROXY TCP6 2001:db8::7 2001:db8::1 4711 993", "* OK hi\r\n"}}, false, nil},
		{"proxy 1, nobody", config.IMAP4, config.TellProxyV1, nil, []step{{"PROXY UNKNOWN", "* OK hi\r\n"}}, false, nil},
		{"xclient", config.SMTP, config.TellXCLIENT, four, []step{{"", "220 hi\r\n"}, {"EHLO proxy.test", hello}, {"XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=[UNAVAILABLE]", "220 again\r\n"}}, true, nil},
		{"xclient, IPv6", config.SMTP, config.TellXCLIENT, six, []step{{"", "220 hi\r\n"}, {"EHLO proxy.test", "250-up.test\r\n250 XCLIENT ADDR\r\n"}, {"XCLIENT ADDR=IPV6:2001:db8::7", "220 again\r\n"}}, true, nil},
		{"no xclient", config.SMTP, config.TellXCLIENT, four, []step{{"", "220 hi\r\n"}, {"EHLO proxy.test", "250 up.test\r\n"}}, false, ErrNotTold},
		{"more than was asked for", config.SMTP, config.TellXCLIENT, four, []step{{"", "220 hi\r\n"}, {"EHLO proxy.test", hello}, {"XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=[UNAVAILABLE]", "220 again\r\n250 forged\r\n"}}, false, ErrAnswer},
		{"nobody", config.SMTP, config.TellXCLIENT, nil, nil, false, ErrNoClient},
		{"id", config.IMAP4, config.TellID, four, []step{{"", "* OK hi\r\n"},
			{`PSID ID ("x-originating-ip" "192.0.2.7" "x-originating-port" "4711" "x-connected-ip" "198.51.100.1" "x-connected-port" "587")`, "* ID NIL\r\nPSID OK done\r\n"}}, true, nil},
		{"id refused", config.IMAP4, config.TellID, four, []step{{"", "* OK hi\r\n"},
			{`PSID ID ("x-originating-ip" "192.0.2.7" "x-originating-port" "4711" "x-connected-ip" "198.51.100.1" "x-connected-port" "587")`, "PSID BAD what\r\n"}}, false, ErrNotTold},
		{"logged in already", config.IMAP4, config.TellID, four, []step{{"", "* PREAUTH hi\r\n"}}, false, ErrAnswer},
	} {
		addr, done := script(t, nil, tc.steps...)
		d := dialer(t, tc.protocol, tc.tell, addr, tls.InsecurePlaintext)
		conn, greeted, err := d.Connect(t.Context(), tc.client, "")
		if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) || greeted != tc.greeted {
			t.Errorf("%s: %v %v", tc.name, greeted, err)
		}
		if err == nil {
			_ = conn.Close()
		}
		if scriptErr := <-done; scriptErr != nil && tc.client != nil {
			t.Errorf("%s: the server: %v", tc.name, scriptErr)
		}
		if len(d.Loops.open) != 0 {
			t.Errorf("%s: %d connections are left", tc.name, len(d.Loops.open))
		}
	}
}

// TestProxyV2 writes the binary form.
func TestProxyV2(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := dialer(t, config.SMTP, config.TellProxyV2, l.Addr().String(), tls.InsecurePlaintext)
	conn, _, err := d.Connect(t.Context(), &Client{Addr: netip.MustParseAddrPort("192.0.2.7:258"), Local: netip.MustParseAddrPort("198.51.100.1:772")}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	got := make([]byte, 28)
	if _, err = io.ReadFull(server, got); err != nil {
		t.Fatal(err)
	}
	if want := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x01\x02\x03\x04"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	from, to := AddrPort(server.RemoteAddr()), AddrPort(l.Addr())
	if !d.Loops.Is(from, to) || d.Loops.Is(to, from) || d.Loops.Is(from, netip.AddrPortFrom(to.Addr(), 1)) {
		t.Error("our own connection is not known")
	}
}

// TestNames accepts a certificate for one of the names that a place has, and for
// no other.
func TestNames(t *testing.T) {
	ca, err := testpki.NewCA("TLS")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	server := func(names ...string) *cryptotls.Config {
		p, issueErr := ca.Issue(testpki.Profile{Name: names[0], Key: testpki.P256, Edit: func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}})
		if issueErr != nil {
			t.Fatal(issueErr)
		}
		return &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}}
	}
	for _, tc := range []struct {
		name   string
		certs  *cryptotls.Config
		secure bool
		target string // confirmed by the configuration
		roots  *x509.CertPool
		reason policy.Reason
	}{
		{"the domain", server("example.org"), false, "", pool, 0},
		{"the host, and nobody vouches for it", server("localhost.example.org"), false, "", pool, policy.NameMismatch},
		{"the host, by DNSSEC", server("localhost.example.org"), true, "", pool, 0},
		{"the host, by the configuration", server("localhost.example.org"), false, "localhost.example.org", pool, 0},
		{"another", server("example.net", "localhost"), true, "", pool, policy.NameMismatch},
		{"a stranger's authority", server("example.org"), true, "", x509.NewCertPool(), policy.NotTrusted},
	} {
		addr, done := script(t, tc.certs, step{"", "* OK hi\r\n"})
		port := netip.MustParseAddrPort(addr).Port()
		r := answers{"_imaps._tcp.example.org": srv(tc.secure, dane.SRV{Port: port, Target: "localhost.example.org"})}
		f := finder(t, r, config.IMAP4, config.Upstream{Find: config.FindSRV, Domain: "example.org", Targets: []string{tc.target}, ClientAddress: config.TellNothing})
		f.roots[""] = tc.roots
		d := &Dialer{Finder: f, Name: "proxy.test"}
		places, findErr := d.Find(t.Context(), nil, "")
		if findErr != nil {
			t.Fatal(findErr)
		}
		if tc.target != "" { // the system knows no such host
			places[0].Host, places[0].ServerName = "127.0.0.1", tc.target
		}
		s, dialErr := d.Session(t.Context(), places[0], nil)
		if s != nil {
			_ = s.Close()
		}
		pe, _ := errors.AsType[*policy.Error](dialErr)
		if (dialErr == nil) != (tc.reason == 0) || dialErr != nil && (pe == nil || pe.Reason != tc.reason) {
			t.Errorf("%s: %v", tc.name, dialErr)
		}
		<-done
	}
}

// TestPins takes a server whose certificate is known, whoever has issued it.
func TestPins(t *testing.T) {
	ca, err := testpki.NewCA("TLS")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "x", Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.Issue(testpki.Profile{Name: "x", Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	for _, pinned := range []*x509.Certificate{p.Cert, other.Cert} {
		addr, done := script(t, &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}}, step{"", "* OK hi\r\n"})
		d := dialer(t, config.IMAP4, config.TellNothing, addr, tls.Implicit)
		d.listener.Upstream.Policy = policy.Policy{Base: policy.Pinned, Pins: []policy.Pin{policy.PinCertificate(pinned)}}
		conn, _, dialErr := d.Connect(t.Context(), nil, "")
		if conn != nil {
			_ = conn.Close()
		}
		if (dialErr == nil) != (pinned == p.Cert) {
			t.Errorf("%v", dialErr)
		}
		<-done
	}
}

// TestGone is about a server that is not there.
func TestGone(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	d := dialer(t, config.SMTP, config.TellNothing, gone.Addr().String(), tls.InsecurePlaintext)
	if _, _, err = d.Connect(context.Background(), nil, ""); !errors.As(err, new(*policy.Error)) {
		t.Errorf("%v", err)
	}
}
