package tls

import (
	"bufio"
	cryptotls "crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
)

// A served is what a server of ours saw of one client.
type served struct {
	session *Session
	line    string // the first line after TLS
	err     error
}

// serveLines serves connections one after the other: it reads a line, answers,
// and closes.
func serveLines(t *testing.T, l *Listener) <-chan served {
	t.Helper()
	seen := make(chan served, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			v := served{}
			switch c := conn.(type) {
			case *ServerConn:
				v.session = c.Session()
			case *cryptotls.Conn:
				v.session = &Session{Conn: c, TLS: c, server: true}
			}
			v.line, v.err = bufio.NewReader(conn).ReadString('\n')
			_, _ = io.WriteString(conn, "220 swallowed where it is a greeting\r\n+OK heard you\r\n")
			_ = conn.Close()
			seen <- v
		}
	}()
	return seen
}

func next(t *testing.T, seen <-chan served, p *peers.Process) served {
	t.Helper()
	select {
	case v := <-seen:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("nobody came:\n%s", p.Log())
	}
	return served{}
}

// say writes to a program, which may have ended.
func say(t *testing.T, p *peers.Process, text string) {
	t.Helper()
	if _, err := io.WriteString(p.Stdin, text); err != nil {
		t.Log(err)
	}
}

// TestSClient lets "openssl s_client" upgrade in each protocol and implicitly,
// with TLS 1.2 and 1.3, and compares what it exports with ours.
func TestSClient(t *testing.T) {
	f := serverFiles(t)
	for _, g := range guests {
		for _, mode := range []Mode{StartTLS, Implicit} {
			for _, version := range []string{"-tls1_2", "-tls1_3"} {
				t.Run(fmt.Sprintf("%v %v %s", g.proto, mode, version), func(t *testing.T) {
					cfg := g.config(t)
					cfg.Mode = mode
					l := listen(t, cfg, &ListenerOptions{OnError: func(_ net.Addr, err error) { t.Log(err) }})
					seen := serveLines(t, l)
					args := []string{version, "-CAfile", f.CA, "-verify_return_error", "-verify_hostname", serverName, "-servername", serverName,
						"-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"}
					if mode == StartTLS {
						args = append(args, "-starttls", g.proto.String())
					}
					if id := g.proto.ALPN(); id != "" {
						args = append(args, "-alpn", id)
					}
					p := peers.SClient(t, l.Addr().String(), args...)
					say(t, p, "hello\n")
					v := next(t, seen, p)
					if v.err != nil || v.line != "hello\n" {
						t.Fatalf("%q, %v\n%s", v.line, v.err, p.Log())
					}
					if got := v.session.State().NegotiatedProtocol; got != g.proto.ALPN() {
						t.Errorf("ALPN %q", got)
					}
					p.WaitLog(t, "heard you")
					data, err := v.session.ChannelBinding(TLSExporter)
					if err != nil {
						t.Fatal(err)
					}
					// OpenSSL exports without a context, which is the same in TLS 1.3 alone.
					same := strings.Contains(p.Log(), strings.ToUpper(hex.EncodeToString(data)))
					if same != (version == "-tls1_3") {
						t.Errorf("exporter %X:\n%s", data, p.Log())
					}
				})
			}
		}
	}
}

// TestSClientReused resumes sessions: openssl must say "Reused".
func TestSClientReused(t *testing.T) {
	f := serverFiles(t)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		cfg := guests[0].config(t)
		l := listen(t, cfg, nil)
		seen := serveLines(t, l)
		ticket := filepath.Join(t.TempDir(), "session")
		for i, flag := range []string{"-sess_out", "-sess_in"} {
			p := peers.SClient(t, l.Addr().String(), version, "-CAfile", f.CA, "-starttls", "smtp", "-servername", serverName, flag, ticket)
			say(t, p, "hello\n")
			v := next(t, seen, p)
			want := "New, TLS"
			if i == 1 {
				want = "Reused, TLS"
			}
			p.WaitLog(t, want)
			if v.err != nil || v.session.State().DidResume != (i == 1) {
				t.Errorf("%s, %d: %v", version, i, v.err)
			}
			if data, err := v.session.ChannelBinding(TLSServerEndPoint); err != nil || len(data) != 32 {
				t.Errorf("%s, %d: %v", version, i, err)
			}
			<-p.Done()
		}
	}
}

// TestSClientCertificate asks "openssl s_client" for a certificate, and requires
// it.
func TestSClientCertificate(t *testing.T) {
	w := world(t)
	f := serverFiles(t)
	user, err := w.user.WriteFiles(t.TempDir(), "user")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		auth cryptotls.ClientAuthType
		have bool
		ok   bool
	}{
		{"asked, has none", cryptotls.VerifyClientCertIfGiven, false, true},
		{"asked, has one", cryptotls.VerifyClientCertIfGiven, true, true},
		{"required, has none", cryptotls.RequireAndVerifyClientCert, false, false},
		{"required, has one", cryptotls.RequireAndVerifyClientCert, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := guests[2].config(t)
			cfg.TLS.ClientAuth, cfg.TLS.ClientCAs = c.auth, w.roots
			failures := make(chan error, 1)
			l := listen(t, cfg, &ListenerOptions{OnError: func(_ net.Addr, err error) { failures <- err }})
			seen := serveLines(t, l)
			args := []string{"-CAfile", f.CA, "-starttls", "imap", "-servername", serverName}
			if c.have {
				args = append(args, "-cert", user.Cert, "-key", user.Key)
			}
			p := peers.SClient(t, l.Addr().String(), args...)
			if !c.ok {
				select {
				case <-failures:
				case <-seen:
					t.Error("it was let in")
				}
				p.WaitLog(t, "certificate required")
				return
			}
			say(t, p, "hello\n")
			if v := next(t, seen, p); v.err != nil || len(v.session.State().PeerCertificates) > 0 != c.have {
				t.Errorf("%v\n%s", v.err, p.Log())
			}
		})
	}
}

// TestSClientProfiles lets "openssl s_client" come with old versions and ciphers.
func TestSClientProfiles(t *testing.T) {
	f := serverFiles(t)
	for _, c := range []struct {
		profile Profile
		args    string
		version uint16 // 0 where it is refused
	}{
		{Modern, "-tls1_3", cryptotls.VersionTLS13},
		{Modern, "-tls1_2", 0},
		{Intermediate, "-tls1_2", cryptotls.VersionTLS12},
		{Intermediate, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", 0},
		{Intermediate, "-tls1_1 -cipher ALL:@SECLEVEL=0", 0},
		{Old, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", cryptotls.VersionTLS12},
		{Old, "-tls1_1 -cipher ALL:@SECLEVEL=0", cryptotls.VersionTLS11},
		{Old, "-tls1 -cipher ALL:@SECLEVEL=0", cryptotls.VersionTLS10},
	} {
		t.Run(string(c.profile)+" "+c.args, func(t *testing.T) {
			cfg := guests[3].config(t)
			c.profile.Apply(cfg.TLS)
			failures := make(chan error, 1)
			l := listen(t, cfg, &ListenerOptions{OnError: func(_ net.Addr, err error) { failures <- err }})
			seen := serveLines(t, l)
			p := peers.SClient(t, l.Addr().String(), append([]string{"-CAfile", f.CA, "-starttls", "pop3"}, strings.Fields(c.args)...)...)
			say(t, p, "hello\n")
			select {
			case err := <-failures:
				if c.version != 0 {
					t.Errorf("%v\n%s", err, p.Log())
				}
			case v := <-seen:
				if v.err != nil || v.session.State().Version != c.version {
					t.Errorf("%x, %v\n%s", v.session.State().Version, v.err, p.Log())
				}
			case <-time.After(10 * time.Second):
				t.Fatal(p.Log())
			}
		})
	}
}

// TestGnuTLSCLI lets gnutls-cli upgrade in each protocol and implicitly, and
// compares the channel bindings that it prints with ours.
func TestGnuTLSCLI(t *testing.T) {
	for _, g := range guests {
		for _, mode := range []Mode{StartTLS, Implicit} {
			for _, priority := range []string{"NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL"} {
				t.Run(fmt.Sprintf("%v %v %s", g.proto, mode, priority), func(t *testing.T) { gnuTLSCLI(t, g, mode, priority) })
			}
		}
	}
}

func gnuTLSCLI(t *testing.T, g guest, mode Mode, priority string) {
	cfg := g.config(t)
	cfg.Mode = mode
	cfg.TLS.Certificates = []cryptotls.Certificate{world(t).server}
	l := listen(t, cfg, &ListenerOptions{OnError: func(_ net.Addr, err error) { t.Log(err) }})
	seen := serveLines(t, l)
	args := append(gnuTLSArgs(t, l), "--priority", priority, "--verbose")
	if mode == StartTLS {
		args = append(args, "--starttls-proto", g.proto.String())
	}
	if id := g.proto.ALPN(); id != "" {
		args = append(args, "--alpn", id)
	}
	p := peers.StartProcess(t, "gnutls-bin", "gnutls-cli", args...)
	p.WaitLog(t, "Handshake was completed")
	say(t, p, "hello\n")
	v := next(t, seen, p)
	if v.err != nil || !strings.HasPrefix(v.line, "hello") {
		t.Fatalf("%q, %v\n%s", v.line, v.err, p.Log())
	}
	p.WaitLog(t, "heard you")
	log := strings.ToLower(p.Log())
	if mode == StartTLS { // the session of an Implicit listener is made by serveLines
		data, err := v.session.ChannelBinding(TLSServerEndPoint)
		if err != nil || !strings.Contains(log, "'tls-server-end-point': "+hex.EncodeToString(data)) {
			t.Errorf("%x, %v\n%s", data, err, p.Log())
		}
	}
	data, err := v.session.ChannelBinding(TLSExporter)
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(log, "'tls-exporter': "+hex.EncodeToString(data)) {
		t.Errorf("%x\n%s", data, p.Log())
	}
}

// gnuTLSArgs has gnutls-cli trust a listener.
func gnuTLSArgs(t *testing.T, l *Listener) []string {
	t.Helper()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--x509cafile", serverFiles(t).CA, "--sni-hostname", serverName, "--verify-hostname", serverName, "--port", port, "127.0.0.1"}
}

// TestGnuTLSCertificate has gnutls-cli show a certificate, or none, where one is
// required, after STARTTLS.
func TestGnuTLSCertificate(t *testing.T) {
	w := world(t)
	user, err := w.user.WriteFiles(t.TempDir(), "user")
	if err != nil {
		t.Fatal(err)
	}
	for _, have := range []bool{true, false} {
		cfg := guests[2].config(t)
		cfg.TLS.ClientAuth, cfg.TLS.ClientCAs = cryptotls.RequireAndVerifyClientCert, w.roots
		failures := make(chan error, 1)
		l := listen(t, cfg, &ListenerOptions{OnError: func(_ net.Addr, err error) { failures <- err }})
		seen := serveLines(t, l)
		args := append(gnuTLSArgs(t, l), "--starttls-proto", "imap")
		if have {
			args = append(args, "--x509certfile", user.Cert, "--x509keyfile", user.Key)
		}
		p := peers.StartProcess(t, "gnutls-bin", "gnutls-cli", args...)
		if !have {
			select {
			case err = <-failures:
				if handshake := (*HandshakeError)(nil); !errors.As(err, &handshake) {
					t.Errorf("%v", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal(p.Log())
			}
			continue
		}
		p.WaitLog(t, "Handshake was completed")
		say(t, p, "hello\n")
		if v := next(t, seen, p); v.err != nil || !v.session.State().PeerCertificates[0].Equal(w.user.Cert) {
			t.Errorf("%v\n%s", v.err, p.Log())
		}
	}
}

// TestReused has gnutls-cli --resume and openssl s_client -reconnect come again,
// to implicit TLS: both must say that the session was resumed.
func TestReused(t *testing.T) {
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		cfg := &ServerConfig{Protocol: IMAP, TLS: world(t).serverTLS()}
		cfg.TLS.MaxVersion = version
		l := listen(t, cfg, nil)
		greetAll(t, l)
		p := peers.StartProcess(t, "gnutls-bin", "gnutls-cli", append(gnuTLSArgs(t, l), "--resume", "--waitresumption")...)
		p.WaitLog(t, "This is a resumed session")
		if version == cryptotls.VersionTLS13 {
			continue // OpenSSL reconnects before it has read the ticket
		}
		p = peers.SClient(t, l.Addr().String(), "-CAfile", serverFiles(t).CA, "-servername", serverName, "-reconnect")
		p.WaitLog(t, "hello to you")
		_ = p.Stdin.Close()
		<-p.Done()
		if n := strings.Count(p.Log(), "Reused, TLS"); n != 5 {
			t.Errorf("%d of 5 reused:\n%s", n, p.Log())
		}
	}
}

// greetAll greets everybody.
func greetAll(t *testing.T, l *Listener) {
	t.Helper()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.WriteString(conn, "* OK hello to you\r\n")
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
}

// TestRSA has a server with a certificate of the other common kind.
func TestRSA(t *testing.T) {
	ca, err := testpki.NewCA("RSA test root")
	if err != nil {
		t.Fatal(err)
	}
	person, err := ca.Issue(testpki.Profile{Name: serverName, NoEmail: true, Key: testpki.RSA2048})
	if err != nil {
		t.Fatal(err)
	}
	cfg := guests[1].config(t)
	cfg.TLS.Certificates = []cryptotls.Certificate{certificate(person)}
	l := listen(t, cfg, nil)
	seen := serveLines(t, l)
	p := peers.SClient(t, l.Addr().String(), "-starttls", "lmtp", "-tls1_2")
	say(t, p, "hello\n")
	if v := next(t, seen, p); v.err != nil || v.session.State().CipherSuite != cryptotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 &&
		v.session.State().CipherSuite != cryptotls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 &&
		v.session.State().CipherSuite != cryptotls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 {
		t.Errorf("%+v", v)
	}
}
