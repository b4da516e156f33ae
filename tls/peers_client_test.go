package tls

import (
	"bufio"
	cryptotls "crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
)

// serverFiles writes the server's certificate and key for other programs.
func serverFiles(t *testing.T) testpki.Files {
	t.Helper()
	f, err := world(t).person.WriteFiles(t.TempDir(), "server")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A dialled is a server of another make, and what is said to it after TLS.
type dialled struct {
	proto     Protocol
	mode      Mode
	addr      string
	say, hear string // a command, and a part of the reply
	greeting  string // a part of what it says unasked
}

// talk brings a connection to TLS and says something.
func (d *dialled) talk(t *testing.T, tls *cryptotls.Config) *Session {
	t.Helper()
	s, err := Dial(t.Context(), "tcp", d.addr, &ClientConfig{Protocol: d.proto, Mode: d.mode, TLS: tls, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if !s.Encrypted() || !s.State().HandshakeComplete || len(s.State().VerifiedChains) == 0 {
		t.Fatal("not encrypted and verified")
	}
	_ = s.Conn.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(s.Conn)
	if s.Next == NextGreeting {
		hearUntil(t, in, d.greeting)
	}
	if _, err = io.WriteString(s.Conn, d.say); err != nil {
		t.Fatal(err)
	}
	hearUntil(t, in, d.hear)
	return s
}

// hearUntil reads until a text has come.
func hearUntil(t *testing.T, in *bufio.Reader, text string) {
	t.Helper()
	var got strings.Builder
	for !strings.Contains(got.String(), text) {
		b, err := in.ReadByte()
		if err != nil {
			t.Fatalf("expected %q, got %q, %v", text, got.String(), err)
		}
		got.WriteByte(b)
	}
}

func (d *dialled) run(t *testing.T) {
	t.Helper()
	t.Run(fmt.Sprintf("%v %v", d.proto, d.mode), func(t *testing.T) {
		tls := world(t).clientTLS()
		tls.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
		s := d.talk(t, tls)
		t.Log(Describe(new(s.State())))
		_ = s.Close()
		tls.MaxVersion = cryptotls.VersionTLS12
		_ = d.talk(t, tls).Close()
	})
}

func TestDovecot(t *testing.T) {
	f := serverFiles(t)
	d := peers.StartDovecot(t, f.Cert, f.Key, "")
	for _, c := range []dialled{
		{IMAP, StartTLS, d.IMAP, "x LOGIN alice secret\r\n", "x OK", ""},
		{IMAP, Implicit, d.IMAPS, "x LOGIN alice secret\r\n", "x OK", "* OK"},
		{POP3, StartTLS, d.POP3, "USER alice\r\nPASS secret\r\n", "+OK Logged in", ""},
		{POP3, Implicit, d.POP3S, "USER alice\r\nPASS secret\r\n", "+OK Logged in", "+OK"},
		{LMTP, StartTLS, d.LMTP, "LHLO me\r\n", "PIPELINING\r\n", ""},
		{ManageSieve, StartTLS, d.Sieve, "AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n", "OK \"Logged in", "OK"},
	} {
		c.run(t)
	}
}

func TestPostfix(t *testing.T) {
	f := serverFiles(t)
	p := peers.StartPostfix(t, f.Cert, f.Key, "")
	for _, c := range []dialled{
		{SMTP, StartTLS, p.Addr, "EHLO me\r\nNOOP\r\n", "250 2.0.0", ""},
		{SMTP, Implicit, p.SMTPS, "EHLO me\r\nNOOP\r\n", "250 2.0.0", "220 "},
	} {
		c.run(t)
	}
	p.WaitLog(t, "TLSv1.3")
}

func TestSlapd(t *testing.T) {
	f := serverFiles(t)
	s := peers.StartSlapd(t, f.Cert, f.Key, f.CA)
	// A bind without a name, and success.
	bind, success := "\x30\x0c\x02\x01\x02\x60\x07\x02\x01\x03\x04\x00\x80\x00", "\x02\x01\x02\x61\x07\x0a\x01\x00"
	for _, c := range []dialled{
		{LDAP, StartTLS, s.Addr, bind, success, ""},
		{LDAP, Implicit, s.LDAPS, bind, success, ""},
	} {
		c.run(t)
	}
}

func TestGnuTLSServ(t *testing.T) {
	f := serverFiles(t)
	p := peers.StartGnuTLSServ(t, f.Cert, f.Key)
	(&dialled{LDAP, Implicit, p.Addr, "hello\n", "hello\n", ""}).run(t)
	strict := peers.StartGnuTLSServ(t, f.Cert, f.Key, "--alpn", "imap", "--alpn-fatal")
	s, err := Dial(t.Context(), "tcp", strict.Addr, &ClientConfig{Protocol: IMAP, TLS: world(t).clientTLS(), ALPN: ALPNRequire})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err = Dial(t.Context(), "tcp", strict.Addr, &ClientConfig{Protocol: POP3, TLS: world(t).clientTLS()}); err == nil {
		t.Error("POP3 went to a server for IMAP")
	}
}

// TestSServer resumes, in TLS 1.2 and 1.3, as "openssl s_server" says itself, and
// shows a client certificate that is asked for or required.
func TestSServer(t *testing.T) {
	f := serverFiles(t)
	user, err := world(t).user.WriteFiles(t.TempDir(), "user")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, verify string }{{"none", ""}, {"asked for", "-verify"}, {"required", "-Verify"}} {
		for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
			t.Run(c.name+" "+cryptotls.VersionName(version), func(t *testing.T) {
				args := []string{"-rev", "-alpn", "imap"}
				if c.verify != "" {
					args = append(args, c.verify, "1", "-CAfile", user.CA, "-verify_return_error")
				}
				p := peers.StartSServer(t, f.Cert, f.Key, args...)
				tls := world(t).clientTLS()
				tls.MaxVersion = version
				tls.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
				if c.verify != "" {
					tls.Certificates = []cryptotls.Certificate{world(t).client}
				}
				d := dialled{IMAP, Implicit, p.Addr, "olleh\n", "hello", ""}
				for i := range 2 {
					s := d.reverse(t, tls)
					if st := s.State(); st.DidResume != (i == 1) || st.NegotiatedProtocol != "imap" {
						t.Errorf("%d: resumed %v, %q", i, st.DidResume, st.NegotiatedProtocol)
					}
					_ = s.Close()
				}
				if c.verify != "" {
					p.WaitLog(t, "Alice")
				}
			})
		}
	}
}

// reverse is talk without a greeting, which s_server does not give.
func (d *dialled) reverse(t *testing.T, tls *cryptotls.Config) *Session {
	t.Helper()
	quiet := *d
	quiet.proto = LDAP
	cfg := tls.Clone()
	cfg.NextProtos = []string{d.proto.ALPN()}
	return quiet.talk(t, cfg)
}
