package tls

import (
	"bufio"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
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
	tickets   uint16 // the lowest version that it resumes sessions of; 0 if none
	refuses   string // a part of what it replies when it does not like the client
}

// dial brings a connection to TLS.
func (d *dialled) dial(t *testing.T, tls *cryptotls.Config) (*Session, error) {
	t.Helper()
	cfg := &ClientConfig{Protocol: d.proto, Mode: d.mode, TLS: tls, Timeout: 10 * time.Second}
	s, err := Dial(t.Context(), "tcp", d.addr, cfg)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
		_ = s.Conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return s, err
}

// speak says something and waits for what has to come back.
func (d *dialled) speak(s *Session) error {
	in := bufio.NewReader(s.Conn)
	if s.Next == NextGreeting {
		if err := hearUntil(in, d.greeting, ""); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(s.Conn, d.say); err != nil {
		return err
	}
	return hearUntil(in, d.hear, d.refuses)
}

// talk is both, and the connection has to be verified.
func (d *dialled) talk(t *testing.T, tls *cryptotls.Config) *Session {
	t.Helper()
	s, err := d.dial(t, tls)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Encrypted() || !s.State().HandshakeComplete || len(s.State().VerifiedChains) == 0 {
		t.Fatal("not encrypted and verified")
	}
	if err = d.speak(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// hearUntil reads until a text has come, or another one in its place.
func hearUntil(in *bufio.Reader, text, instead string) error {
	var got strings.Builder
	for !strings.Contains(got.String(), text) {
		b, err := in.ReadByte()
		if err == nil && instead != "" && strings.Contains(got.String(), instead) {
			err = errors.New("refused")
		}
		if err != nil {
			return fmt.Errorf("expected %q, got %q: %w", text, got.String(), err)
		}
		got.WriteByte(b)
	}
	return nil
}

// front puts the dialogue of a protocol before a server that has only TLS, and
// returns its address.
func front(t *testing.T, l *lead, addr string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, acceptErr := ln.Accept()
			if acceptErr != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				a := &actor{conn: c.(*net.TCPConn), in: bufio.NewReader(c), out: c}
				for _, s := range append(l.steps(), send(l.ready)) {
					if s(a) != nil {
						return
					}
				}
				back, dialErr := net.Dial("tcp", addr)
				if dialErr != nil {
					return
				}
				_ = back.SetDeadline(time.Now().Add(20 * time.Second))
				group.Go(func() { _, _ = io.Copy(c, back); _ = c.(*net.TCPConn).CloseWrite() })
				_, _ = io.Copy(back, a.in)
				_ = back.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); group.Wait() })
	return ln.Addr().String()
}

// How clients' certificates are dealt with.
const (
	unasked  = "not asked for"
	asked    = "asked for"
	required = "required"
)

// A peerProgram starts a program that asks for certificates in one of these ways,
// of the authority in a file, and returns its doors.
type peerProgram struct {
	name  string
	start func(t *testing.T, f testpki.Files, clients string) []dialled
}

var peerPrograms = []peerProgram{{"openssl s_server", startSServers}, {"gnutls-serv", startGnuTLS}, {"Dovecot", startDovecot}, {"Postfix", startPostfix}, {"slapd", startSlapd}}

// bothModes are all protocols at a server that has TLS alone, and does not greet: at
// once, and behind the dialogue of a scripted front.
func bothModes(t *testing.T, addr, say, hear string) []dialled {
	t.Helper()
	var out []dialled
	for i := range leads {
		out = append(out, dialled{leads[i].proto, Implicit, addr, say, hear, "", cryptotls.VersionTLS12, ""},
			dialled{leads[i].proto, StartTLS, front(t, &leads[i], addr), say, hear, "", cryptotls.VersionTLS12, ""})
	}
	return out
}

func startSServers(t *testing.T, f testpki.Files, clients string) []dialled {
	args := []string{"-rev"}
	switch clients {
	case asked:
		args = append(args, "-verify", "1", "-CAfile", f.CA, "-verify_return_error")
	case required:
		args = append(args, "-Verify", "1", "-CAfile", f.CA, "-verify_return_error")
	}
	return bothModes(t, peers.StartSServer(t, f.Cert, f.Key, args...).Addr, "olleh\n", "hello")
}

func startGnuTLS(t *testing.T, f testpki.Files, clients string) []dialled {
	args := map[string][]string{unasked: {"--disable-client-cert"}, asked: {"--x509cafile", f.CA}, required: {"--x509cafile", f.CA, "--require-client-cert", "--verify-client-cert"}}
	return bothModes(t, peers.StartGnuTLSServ(t, f.Cert, f.Key, args[clients]...).Addr, "hello\n", "hello\n")
}

func startDovecot(t *testing.T, f testpki.Files, clients string) []dialled {
	// Each process has its own keys of tickets, and without this serves one
	// connection.
	extra := "service imap-login {\n service_count = 0\n}\nservice pop3-login {\n service_count = 0\n}\nservice managesieve-login {\n service_count = 0\n}\nservice lmtp {\n process_limit = 1\n}\n"
	if clients != unasked {
		extra += "ssl_ca = <" + f.CA + "\nssl_verify_client_cert = yes\nssl_require_crl = no\n"
	}
	if clients == required {
		extra += "auth_ssl_require_client_cert = yes\nauth_failure_delay = 0\n"
	}
	d := peers.StartDovecot(t, f.Cert, f.Key, extra)
	out := []dialled{
		{IMAP, StartTLS, d.IMAP, "x LOGIN alice secret\r\n", "x OK", "", cryptotls.VersionTLS12, "x NO"},
		{IMAP, Implicit, d.IMAPS, "x LOGIN alice secret\r\n", "x OK", "* OK", cryptotls.VersionTLS12, "x NO"},
		{POP3, StartTLS, d.POP3, "USER alice\r\nPASS secret\r\n", "+OK Logged in", "", cryptotls.VersionTLS12, "-ERR"},
		{POP3, Implicit, d.POP3S, "USER alice\r\nPASS secret\r\n", "+OK Logged in", "+OK", cryptotls.VersionTLS12, "-ERR"},
		{ManageSieve, StartTLS, d.Sieve, "AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n", "OK \"Logged in", "OK", cryptotls.VersionTLS12, "NO "},
	}
	if clients == unasked { // LMTP has no logins
		// In TLS 1.2 it resumes by session IDs, which crypto/tls does not.
		out = append(out, dialled{LMTP, StartTLS, d.LMTP, "LHLO me\r\n", "PIPELINING\r\n", "", cryptotls.VersionTLS13, ""})
	}
	return out
}

func startPostfix(t *testing.T, f testpki.Files, clients string) []dialled {
	extra := map[string]string{unasked: "", asked: "smtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = " + f.CA + "\n",
		required: "smtpd_tls_req_ccert = yes\nsmtpd_tls_security_level = encrypt\nsmtpd_tls_CAfile = " + f.CA + "\n"}
	p := peers.StartPostfix(t, f.Cert, f.Key, extra[clients])
	return []dialled{
		{SMTP, StartTLS, p.Addr, "EHLO me\r\nNOOP\r\n", "250 2.0.0", "", cryptotls.VersionTLS12, ""},
		{SMTP, Implicit, p.SMTPS, "EHLO me\r\nNOOP\r\n", "250 2.0.0", "220 ", cryptotls.VersionTLS12, ""},
	}
}

func startSlapd(t *testing.T, f testpki.Files, clients string) []dialled {
	s := peers.StartSlapdVerify(t, f.Cert, f.Key, f.CA, map[string]string{unasked: "never", asked: "allow", required: "demand"}[clients])
	// A bind without a name, and success. It gives no tickets.
	bind, success := "\x30\x0c\x02\x01\x02\x60\x07\x02\x01\x03\x04\x00\x80\x00", "\x02\x01\x02\x61\x07\x0a\x01\x00"
	return []dialled{{LDAP, StartTLS, s.Addr, bind, success, "", 0, ""}, {LDAP, Implicit, s.LDAPS, bind, success, "", 0, ""}}
}

// A peerLine is a row of the table of TestPeers.
type peerLine struct {
	peer, proto, mode string
	cells             [8]string
}

var peerColumns = [8]string{"TLS 1.3", "TLS 1.2", "resumed 1.3", "resumed 1.2", "cert asked for 1.3", "cert asked for 1.2", "cert required 1.3", "cert required 1.2"}

// TestPeers is every mode of every peer, with both versions of TLS, resumed
// sessions, and client certificates. With -v it prints a table.
func TestPeers(t *testing.T) {
	f := serverFiles(t)
	lines := make([][]*peerLine, len(peerPrograms))
	t.Run("at", func(t *testing.T) {
		for i, p := range peerPrograms {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				lines[i] = p.table(t, f)
			})
		}
	})
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "peer\tprotocol\tmode\t%s\n", strings.Join(peerColumns[:], "\t"))
	n := 0
	for _, of := range lines {
		for _, l := range of {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.peer, l.proto, l.mode, strings.Join(l.cells[:], "\t"))
			n++
		}
	}
	_ = w.Flush()
	t.Logf("\n%s", table.String())
	if n < 20 && os.Getenv("CI") == "true" {
		t.Errorf("only %d modes of peers were seen", n)
	}
}

// table is the part of one peer.
func (p *peerProgram) table(t *testing.T, f testpki.Files) []*peerLine {
	t.Helper()
	var lines []*peerLine
	for _, clients := range []string{unasked, asked, required} {
		for _, d := range p.start(t, f, clients) {
			at := slices.IndexFunc(lines, func(l *peerLine) bool { return l.proto == d.proto.String() && l.mode == d.mode.String() })
			if at < 0 {
				at = len(lines)
				lines = append(lines, &peerLine{peer: p.name, proto: d.proto.String(), mode: d.mode.String()})
			}
			cells := &lines[at].cells
			t.Run(fmt.Sprintf("%v %v %s", d.proto, d.mode, clients), func(t *testing.T) {
				for i, version := range []uint16{cryptotls.VersionTLS13, cryptotls.VersionTLS12} {
					switch clients {
					case unasked:
						cells[i], cells[2+i] = "FAILS", "FAILS"
						_ = d.talk(t, d.config(t, version)).Close()
						cells[i], cells[2+i] = "ok", d.resume(t, version)
					case asked:
						cells[4+i] = "FAILS"
						cells[4+i] = d.certificate(t, version, false)
					case required:
						cells[6+i] = "FAILS"
						cells[6+i] = d.certificate(t, version, true)
					}
				}
			})
		}
	}
	return lines
}

func (d *dialled) config(t *testing.T, version uint16) *cryptotls.Config {
	tls := world(t).clientTLS()
	tls.MinVersion, tls.MaxVersion = version, version
	tls.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
	return tls
}

// resume connects twice.
func (d *dialled) resume(t *testing.T, version uint16) string {
	t.Helper()
	tls := d.config(t, version)
	resumes := d.tickets != 0 && version >= d.tickets
	for i := range 2 {
		s := d.talk(t, tls)
		if st := s.State(); st.Version != version || st.DidResume != (i == 1 && resumes) {
			t.Errorf("%d: version %x, resumed %v", i, st.Version, st.DidResume)
			return "FAILS"
		}
		_ = s.Close()
	}
	if resumes {
		return "ok"
	}
	return "no ticket"
}

// certificate shows one; and where it is required, it finds that nobody gets far
// without.
func (d *dialled) certificate(t *testing.T, version uint16, must bool) string {
	t.Helper()
	tls := d.config(t, version)
	requested := false
	tls.GetClientCertificate = func(*cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) {
		requested = true
		return &world(t).client, nil
	}
	_ = d.talk(t, tls).Close()
	if !requested {
		t.Error("the server has not asked for a certificate")
		return "FAILS"
	}
	s, err := d.dial(t, d.config(t, version))
	if err == nil {
		// In TLS 1.3, and in the protocol, a refusal comes later.
		err = d.speak(s)
		_ = s.Close()
	}
	if (err != nil) != must {
		t.Errorf("without a certificate: %v", err)
		return "FAILS"
	}
	return "ok"
}
