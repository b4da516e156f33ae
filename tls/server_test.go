package tls

import (
	"bufio"
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A guest is how a well-behaved client of a protocol leads up to the handshake.
type guest struct {
	proto               Protocol
	greeting            string
	ask, offer          string
	start, ready        string
	login, refusal      string // what is not to be had before TLS
	unasked             string // the reply to more behind start
	garbage, badGarbage string
}

var guests = []guest{
	{SMTP, "220 mail.example.test ESMTP\r\n", "EHLO me\r\n", "250-mail.example.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n", "starttls\r\n",
		"220 2.0.0 begin TLS now\r\n", "AUTH PLAIN AGEAYg==\r\n", "530 5.7.0 Must issue a STARTTLS command first\r\n",
		"554 5.5.0 nothing may follow STARTTLS before TLS\r\n", "STARTTLS now\r\n", "501 5.5.4 no parameters allowed\r\n"},
	{LMTP, "220 mail.example.test ESMTP\r\n", "LHLO me\r\n", "250-mail.example.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n", "STARTTLS\r\n",
		"220 2.0.0 begin TLS now\r\n", "MAIL FROM:<>\r\n", "530 5.7.0 Must issue a STARTTLS command first\r\n",
		"554 5.5.0 nothing may follow STARTTLS before TLS\r\n", "HELO me\r\n", "500 5.5.1 this is LMTP\r\n"},
	{IMAP, "* OK mail.example.test ESMTP\r\n", "x CAPABILITY\r\n", "* CAPABILITY IMAP4rev1 SIZE 1000 STARTTLS LOGINDISABLED\r\nx OK done\r\n",
		"y StartTLS\r\n", "y OK begin TLS now\r\n", "l LOGIN {5}\r\n", "l NO [PRIVACYREQUIRED] STARTTLS first\r\n",
		"* BYE nothing may follow STARTTLS before TLS\r\n", "z STARTTLS now\r\n", "z BAD no arguments allowed\r\n"},
	{POP3, "+OK mail.example.test ESMTP\r\n", "CAPA\r\n", "+OK capabilities\r\nSIZE 1000\r\nSTLS\r\n.\r\n", "STLS\r\n",
		"+OK begin TLS now\r\n", "USER alice\r\n", "-ERR STLS first\r\n",
		"-ERR nothing may follow STLS before TLS\r\n", "STLS now\r\n", "-ERR no arguments allowed\r\n"},
}

func (g *guest) config(t *testing.T) *ServerConfig {
	return &ServerConfig{
		Protocol: g.proto, Mode: StartTLS, TLS: world(t).serverTLS(), Timeout: 10 * time.Second,
		Greeting: "mail.example.test ESMTP", Capabilities: []string{"SIZE 1000"},
	}
}

func (g *guest) steps() []step {
	return []step{want(g.greeting), send(g.ask), want(g.offer), send(g.login), want(g.refusal), send(g.garbage), want(g.badGarbage)}
}

// host lets a server meet a scripted client, and returns the server's result.
func host(t *testing.T, cfg *ServerConfig, a *actor, steps ...step) (*Session, error) {
	t.Helper()
	server, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, s := tcpPair(t)
	a.conn = c
	if a.cfg == nil {
		a.cfg = world(t).clientTLS()
	}
	wait := play(t, a, steps...)
	t.Cleanup(func() {
		_ = s.Close()
		if waitErr := wait(); waitErr != nil {
			t.Errorf("the scripted client: %v", waitErr)
		}
	})
	session, err := server.Handshake(t.Context(), s)
	if (err == nil) == (session == nil) {
		t.Fatalf("session %v, error %v", session, err)
	}
	if err != nil {
		isClosed(t, s)
		t.Log(err)
	}
	return session, err
}

// TestServerUpgrade lets each protocol upgrade, at full speed and one octet at a
// time.
func TestServerUpgrade(t *testing.T) {
	for _, g := range guests {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v slow=%v", g.proto, slow), func(t *testing.T) {
				s, err := host(t, g.config(t), &actor{slow: slow}, append(g.steps(),
					send(g.start), want(g.ready), shakeClient, want("ping\r\n"), send("pong\r\n"))...)
				if err != nil {
					t.Fatal(err)
				}
				if s.Next != protocols[g.proto].up || !s.Encrypted() {
					t.Errorf("%v, %v", s.Next, s.Encrypted())
				}
				echoes(t, s.Conn)
			})
		}
	}
}

// TestServerInjection has octets come behind STARTTLS: plaintext, a command, and
// the client's own hello.
func TestServerInjection(t *testing.T) {
	for _, g := range guests {
		for name, junk := range map[string]string{
			"a command": g.ask, "an octet": "\n", "a hello": "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
		} {
			t.Run(g.proto.String()+" "+name, func(t *testing.T) {
				_, err := host(t, g.config(t), &actor{}, append(g.steps(), send(g.start+junk), want(g.unasked), drained)...)
				var injection *InjectionError
				if !errors.As(err, &injection) || injection.Octets != len(junk) || injection.Step != stepStartTLS {
					t.Errorf("got %v", err)
				}
			})
		}
		t.Run(g.proto.String()+" late", func(t *testing.T) {
			_, err := host(t, g.config(t), &actor{}, append(g.steps(), send(g.start), want(g.ready), send(g.ask+g.login), drained)...)
			var record cryptotls.RecordHeaderError
			var handshake *HandshakeError
			if !errors.As(err, &record) || !errors.As(err, &handshake) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestServerFailedHandshake has the server close, and say nothing in plaintext,
// when the handshake fails.
func TestServerFailedHandshake(t *testing.T) {
	fails := func(a *actor) error {
		if err := shakeClient(a); err == nil {
			return errors.New("the handshake went well")
		}
		if strings.Contains(a.heard.String(), "250 after") {
			return errors.New("it went on in plaintext")
		}
		return nil
	}
	for _, g := range guests {
		t.Run(g.proto.String(), func(t *testing.T) {
			old := world(t).clientTLS()
			old.MinVersion, old.MaxVersion = cryptotls.VersionTLS10, cryptotls.VersionTLS11
			_, err := host(t, g.config(t), &actor{cfg: old}, append(g.steps(), send(g.start), want(g.ready), fails)...)
			var handshake *HandshakeError
			if !errors.As(err, &handshake) {
				t.Errorf("got %v", err)
			}
			other := world(t).clientTLS()
			other.NextProtos = []string{"h2", "http/1.1"}
			_, err = host(t, g.config(t), &actor{cfg: other}, append(g.steps(), send(g.start), want(g.ready), func(a *actor) error {
				if g.proto == LMTP {
					return shakeClient(a) // it has no identifier to be enforced
				}
				return fails(a)
			})...)
			if g.proto != LMTP && !errors.As(err, &handshake) || g.proto == LMTP && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestServerVanishing has the client go away, or fall silent, at every step.
func TestServerVanishing(t *testing.T) {
	for _, g := range guests {
		all := append(g.steps(), send(g.start), want(g.ready))
		for i := 0; i <= len(all); i++ {
			for name, last := range map[string]step{"leaves": leave, "ends": halfClose, "is silent": drained} {
				if name == "ends" && i%2 == 0 && i < len(all) {
					continue // it has not heard the server out
				}
				t.Run(fmt.Sprintf("%v %s at %d", g.proto, name, i), func(t *testing.T) {
					cfg := g.config(t)
					if name == "is silent" {
						cfg.Timeout = 30 * time.Millisecond
					}
					_, err := host(t, cfg, &actor{}, append(all[:i:i], last)...)
					var protocol *ProtocolError
					var handshake *HandshakeError
					switch {
					case name == "is silent" && !errors.Is(err, context.DeadlineExceeded):
						t.Errorf("got %v", err)
					case !errors.As(err, &protocol) && !errors.As(err, &handshake):
						t.Errorf("got %v", err)
					}
				})
			}
		}
	}
}

// TestServerPatience sends clients away that do not come to the point.
func TestServerPatience(t *testing.T) {
	for _, g := range guests {
		for name, c := range map[string]struct {
			err  error
			step step
		}{
			"too many commands": {ErrNoStartTLS, flood(g.ask)},
			"endless line":      {ErrTooLong, flood(strings.Repeat("x", 1000))},
			"NUL":               {ErrSyntax, send("\x00\r\n")},
			"bare LF":           {ErrSyntax, send("NOOP\n")},
			"eight bits":        {ErrSyntax, send("\xff\xff\r\n")},
			"quits":             {ErrNoStartTLS, send(map[bool]string{true: "q LOGOUT\r\n", false: "QUIT\r\n"}[g.proto == IMAP])},
		} {
			if g.proto == LMTP && name == "quits" {
				continue // as SMTP
			}
			t.Run(g.proto.String()+" "+name, func(t *testing.T) {
				_, err := host(t, g.config(t), &actor{}, want(g.greeting), c.step, drained)
				var protocol *ProtocolError
				if !errors.Is(err, c.err) || !errors.As(err, &protocol) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	for name, line := range map[string]string{
		"literal": "x LOGIN {5+}\r\nalice\r\n", "no tag": "STARTTLS\r\n", "bad tag": "( STARTTLS\r\n", "%s": "%s NOOP\r\n",
	} {
		t.Run("IMAP "+name, func(t *testing.T) {
			_, err := host(t, guests[2].config(t), &actor{}, want(guests[2].greeting), send(line), drained)
			if !errors.Is(err, ErrLiteral) && !errors.Is(err, ErrSyntax) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestServerALPN lets in who knows nothing of ALPN, unless it is required.
func TestServerALPN(t *testing.T) {
	for _, viaConfig := range []bool{false, true} {
		for _, required := range []bool{false, true} {
			cfg := &ServerConfig{Protocol: IMAP, TLS: world(t).serverTLS(), Timeout: 5 * time.Second}
			if required {
				cfg.ALPN = ALPNRequire
			}
			if viaConfig {
				inner := world(t).serverTLS()
				cfg.TLS = &cryptotls.Config{GetConfigForClient: func(*cryptotls.ClientHelloInfo) (*cryptotls.Config, error) { return inner, nil }}
			}
			silent := func(a *actor) error { _ = shakeClient(a); return nil }
			_, err := host(t, cfg, &actor{}, silent)
			if required != errors.Is(err, ErrALPN) || !required && err != nil {
				t.Errorf("required %v, via %v: %v", required, viaConfig, err)
			}
			for _, id := range []string{"imap", "http/1.1", "smtp"} {
				tls := world(t).clientTLS()
				tls.NextProtos = []string{id}
				_, err = host(t, cfg, &actor{cfg: tls}, silent)
				if (err == nil) != (id == "imap") {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
	}
}

// listen makes a listener on loopback.
func listen(t *testing.T, cfg *ServerConfig, opts *ListenerOptions) *Listener {
	t.Helper()
	server, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := server.Listen(inner, opts)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestListenerGreeting swallows a greeting, in pieces, and passes on a refusal.
func TestListenerGreeting(t *testing.T) {
	for _, c := range []struct {
		guest int
		write []string
		want  string
	}{
		{0, []string{"220 mail ESMTP\r\n", "250 next\r\n"}, "250 next\r\n"},
		{0, []string{"220-ma", "il\r\n22", "0 ESMTP\r\n250 n", "ext\r\n"}, "250 next\r\n"},
		{0, []string{"421 too busy\r\n"}, "421 too busy\r\n"},
		{2, []string{"* OK hi\r\na OK next\r\n"}, "a OK next\r\n"},
		{3, []string{"+OK\r\n", "+OK next\r\n"}, "+OK next\r\n"},
		{3, []string{"-ERR no\r\n"}, "-ERR no\r\n"},
	} {
		g := guests[c.guest]
		l := listen(t, g.config(t), nil)
		s, err := Dial(t.Context(), "tcp", l.Addr().String(), startTLS(t, g.proto))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		sc, ok := conn.(*ServerConn)
		if !ok || !sc.Session().State().HandshakeComplete {
			t.Fatalf("%T", conn)
		}
		for _, text := range c.write {
			if _, err = io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
		}
		_ = conn.Close()
		if got, readErr := io.ReadAll(s.Conn); readErr != nil || string(got) != c.want {
			t.Errorf("%q: got %q, %v", c.write, got, readErr)
		}
		_ = s.Close()
	}
	l := listen(t, guests[0].config(t), nil)
	s, err := Dial(t.Context(), "tcp", l.Addr().String(), startTLS(t, SMTP))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err = io.WriteString(conn, strings.Repeat("x", maxGreeting+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v", err)
	}
	if _, err = io.WriteString(conn, "\r\n"); !errors.Is(err, ErrTooLong) {
		t.Errorf("not sticky: %v", err)
	}
}

// TestListener shows that slow clients hold up nobody, that failures are told and
// never accepted, and that Close ends everything.
func TestListener(t *testing.T) {
	failures := make(chan error, 10)
	l := listen(t, guests[0].config(t), &ListenerOptions{MaxPending: 4, OnError: func(addr net.Addr, err error) {
		if addr == nil {
			err = errors.New("no address")
		}
		failures <- err
	}})
	for range 3 { // they say nothing
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	bad, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(bad, "STARTTLS\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	var injection *InjectionError
	if err = <-failures; !errors.As(err, &injection) {
		t.Errorf("got %v", err)
	}
	_ = bad.Close()
	s, err := Dial(t.Context(), "tcp", l.Addr().String(), startTLS(t, SMTP))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Close(), conn.Close()
	waiting, err := Dial(t.Context(), "tcp", l.Addr().String(), startTLS(t, SMTP))
	if err != nil {
		t.Fatal(err)
	}
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err = waiting.Conn.Read(make([]byte, 1)); err == nil {
		t.Error("what was not accepted is open")
	}
	_ = waiting.Close()
	for range 3 {
		if err = <-failures; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// TestImplicitListener gives servers of other makes the connection they know.
func TestImplicitListener(t *testing.T) {
	l := listen(t, &ServerConfig{Protocol: SMTP, TLS: world(t).serverTLS()}, nil)
	s, err := Dial(t.Context(), "tcp", l.Addr().String(), &ClientConfig{Protocol: SMTP, TLS: world(t).clientTLS()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, ok := conn.(*cryptotls.Conn); !ok {
		t.Errorf("%T", conn)
	}
	go func() { _, _ = io.WriteString(conn, "220 hi\r\n") }()
	if line, readErr := bufio.NewReader(s.Conn).ReadString('\n'); readErr != nil || line != "220 hi\r\n" {
		t.Errorf("got %q, %v", line, readErr)
	}
}
