package tls

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// A lead is how a well-behaved server of a protocol leads up to the handshake.
type lead struct {
	proto    Protocol
	greeting string // "" where the client speaks first
	ask      string // for capabilities; "" where they are not asked for
	offer    string // the reply; where there is none, the greeting has it
	bare     string // the same without STARTTLS
	start    string // the command
	ready    string // the reply
	refusal  string // another reply
	line     string // begins a line that could be longer
	junk     string // what could be injected behind ready
}

const (
	ldapRequest  = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
	ldapReady    = "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
	ldapRefusal  = "\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x0b\x0a\x01\x34\x04\x00\x04\x04busy"
	ldapBare     = "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"
	xmppHeader   = "<?xml version='1.0'?><stream:stream to='mail.example.test' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	xmppGreeting = "<?xml version='1.0'?>\n<stream:stream from='mail.example.test' id='x' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	xmppOffer    = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
)

var leads = []lead{
	{
		SMTP, "220-mail.example.test\r\n220 ESMTP\r\n", "EHLO localhost\r\n", "250-mail\r\n250-SIZE 1000\r\n250 starttls\r\n",
		"250-mail STARTTLS\r\n250 SIZE STARTTLS\r\n", "STARTTLS\r\n", "220 go on\r\n", "454 4.7.0 not now\r\n", "220-", "250-AUTH PLAIN\r\n",
	},
	{
		LMTP, "220 mail.example.test LMTP\r\n", "LHLO localhost\r\n", "250-mail\r\n250-STARTTLS\r\n250 PIPELINING\r\n",
		"250 mail\r\n", "STARTTLS\r\n", "220 go on\r\n", "454 not now\r\n", "220-", "250 2.1.0 Ok\r\n",
	},
	{
		IMAP, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN LOGIN-REFERRALS] hi\r\n", "a1 CAPABILITY\r\n",
		"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK [ALERT] done\r\n", "* CAPABILITY IMAP4rev1\r\na1 OK [CAPABILITY STARTTLS] done\r\n",
		"a2 STARTTLS\r\n", "a2 OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] begin\r\n", "a2 BAD no\r\n", "* OK ", "* CAPABILITY AUTH=PLAIN\r\n",
	},
	{
		POP3, "+OK <1@mail>\r\n", "CAPA\r\n", "+OK\r\nUSER\r\nSTLS\r\n.\r\n", "+OK\r\nUSER\r\n.\r\n",
		"STLS\r\n", "+OK begin\r\n", "-ERR no\r\n", "+OK ", "+OK 1 messages\r\n",
	},
	{
		ManageSieve, "\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK \"hi\"\r\n", "", "", "\"IMPLEMENTATION\" \"STARTTLS\"\r\nOK\r\n",
		"STARTTLS\r\n", "OK \"begin\"\r\n", "NO \"no\"\r\n", "\"X\" \"", "\"SASL\" \"PLAIN\"\r\nOK\r\n",
	},
	{LDAP, "", "", "", ldapBare, ldapRequest, ldapReady, ldapRefusal, "\x30\x84", ldapReady},
	{
		XMPP, xmppGreeting, "", xmppOffer, "<stream:features><mechanisms><starttls/></mechanisms></stream:features>",
		"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
		"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<stream:features a='", " <stream:features/>",
	},
}

// steps returns the script of a server up to where it would send ready.
func (l *lead) steps() []step {
	var s []step
	if l.proto == XMPP {
		s = append(s, want(xmppHeader))
	}
	if l.greeting != "" {
		s = append(s, send(l.greeting))
	}
	if l.ask != "" {
		s = append(s, want(l.ask))
	}
	if l.offer != "" {
		s = append(s, send(l.offer))
	}
	return append(s, want(l.start))
}

// bareSteps returns the script of a server that does not offer TLS.
func (l *lead) bareSteps() []step {
	switch {
	case l.proto == LDAP:
		return []step{want(l.start), send(l.bare)}
	case l.proto == XMPP:
		return []step{want(xmppHeader), send(l.greeting + l.bare)}
	case l.ask == "":
		return []step{send(l.bare)}
	}
	return []step{send(l.greeting), want(l.ask), send(l.bare)}
}

// meet lets a client meet a scripted server, and returns the client's result.
func meet(t *testing.T, cfg *ClientConfig, a *actor, steps ...step) (*Session, error) {
	t.Helper()
	c, s := tcpPair(t)
	a.conn = s
	if a.cfg == nil {
		a.cfg = world(t).serverTLS()
	}
	wait := play(t, a, steps...)
	t.Cleanup(func() {
		_ = c.Close()
		if err := wait(); err != nil {
			t.Errorf("the scripted server: %v", err)
		}
	})
	session, err := Client(t.Context(), c, cfg)
	if (err == nil) == (session == nil) {
		t.Fatalf("session %v, error %v", session, err)
	}
	if err != nil {
		isClosed(t, c)
		t.Log(err)
	}
	return session, err
}

func startTLS(t *testing.T, p Protocol) *ClientConfig {
	return &ClientConfig{Protocol: p, Mode: StartTLS, TLS: world(t).clientTLS(), Timeout: 10 * time.Second}
}

// TestClientUpgrade lets each protocol upgrade, at full speed and one octet at a
// time.
func TestClientUpgrade(t *testing.T) {
	for _, l := range leads {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v slow=%v", l.proto, slow), func(t *testing.T) {
				a := &actor{slow: slow, cfg: world(t).serverTLS()}
				if id := l.proto.ALPN(); id != "" {
					a.cfg.NextProtos = []string{"other", id}
				}
				s, err := meet(t, startTLS(t, l.proto), a, append(l.steps(),
					send(l.ready), shake, want("ping\r\n"), send("pong\r\n"))...)
				if err != nil {
					t.Fatal(err)
				}
				if s.Next != protocols[l.proto].up || !s.Encrypted() || s.State().NegotiatedProtocol != l.proto.ALPN() {
					t.Errorf("%v, %v, %q", s.Next, s.Encrypted(), s.State().NegotiatedProtocol)
				}
				echoes(t, s.Conn)
			})
		}
	}
}

// TestClientInjection has octets come behind the last reply before the handshake,
// or behind any other, or everything at once.
func TestClientInjection(t *testing.T) {
	for _, l := range leads {
		after := l.steps()
		cases := map[string][]step{
			"behind ready":       append(after, send(l.ready+l.junk), closed),
			"one octet":          append(l.steps(), send(l.ready+"\n"), closed),
			"records behind":     append(l.steps(), send(l.ready+"\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), closed),
			"behind the refusal": append(l.steps(), send(l.refusal+l.junk), drained),
		}
		if l.greeting != "" {
			all := []step{send(l.greeting + l.offer + l.ready), drained}
			if l.proto == XMPP {
				all = append([]step{want(xmppHeader)}, all...)
			}
			cases["all at once"] = all
		}
		if l.proto == LMTP || l.proto == SMTP || l.proto == IMAP || l.proto == POP3 {
			cases["behind the greeting"] = []step{send(l.greeting + l.offer), closed}
		}
		for name, steps := range cases {
			t.Run(l.proto.String()+" "+name, func(t *testing.T) {
				_, err := meet(t, startTLS(t, l.proto), &actor{}, steps...)
				var injection *InjectionError
				if name == "behind the refusal" {
					// Refused is refused.
					if !errors.Is(err, ErrRefused) && !errors.As(err, &injection) {
						t.Errorf("got %v", err)
					}
					return
				}
				if !errors.As(err, &injection) || injection.Octets == 0 || injection.Protocol != l.proto {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// TestClientLateInjection has plaintext come in a packet of its own, where the
// server's hello is due.
func TestClientLateInjection(t *testing.T) {
	pause := func(*actor) error { time.Sleep(20 * time.Millisecond); return nil }
	for _, l := range leads {
		t.Run(l.proto.String(), func(t *testing.T) {
			_, err := meet(t, startTLS(t, l.proto), &actor{}, append(l.steps(), send(l.ready), pause, send(l.junk+l.junk), drained)...)
			var handshake *HandshakeError
			var record cryptotls.RecordHeaderError
			var injection *InjectionError
			if errors.As(err, &injection) {
				return // it was not late enough
			}
			if !errors.As(err, &handshake) || !errors.As(err, &record) || Advice(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestClientStripped has a server that does not offer TLS, or refuses it.
func TestClientStripped(t *testing.T) {
	for _, l := range leads {
		t.Run(l.proto.String()+" not offered", func(t *testing.T) {
			_, err := meet(t, startTLS(t, l.proto), &actor{}, append(l.bareSteps(), closed)...)
			var missing *NotOfferedError
			if !errors.Is(err, ErrStartTLSNotOffered) || !errors.As(err, &missing) || missing.Protocol != l.proto {
				t.Fatalf("got %v", err)
			}
			if hasLines(l.proto) && missing.Greeting == "" {
				t.Error("no greeting")
			}
		})
		t.Run(l.proto.String()+" refused", func(t *testing.T) {
			_, err := meet(t, startTLS(t, l.proto), &actor{}, append(l.steps(), send(l.refusal), closed)...)
			var protocol *ProtocolError
			if !errors.Is(err, ErrRefused) || !errors.As(err, &protocol) || protocol.Step != stepStartTLS || protocol.Reply == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func hasLines(p Protocol) bool { return p != LDAP && p != XMPP }

// TestClientOpportunistic goes on in plaintext where the server declines, and
// nowhere else.
func TestClientOpportunistic(t *testing.T) {
	for _, l := range leads {
		cfg := startTLS(t, l.proto)
		cfg.Mode = OpportunisticStartTLS
		if l.proto == XMPP {
			c, _ := tcpPair(t)
			var config *ConfigError
			if _, err := Client(t.Context(), c, cfg); !errors.As(err, &config) {
				t.Errorf("XMPP: %v", err)
			}
			continue
		}
		for name, steps := range map[string][]step{"not offered": l.bareSteps(), "refused": append(l.steps(), send(l.refusal))} {
			t.Run(l.proto.String()+" "+name, func(t *testing.T) {
				s, err := meet(t, cfg, &actor{}, append(steps, want("ping\r\n"), send("pong\r\n"))...)
				if err != nil {
					t.Fatal(err)
				}
				if _, bindErr := s.ChannelBinding(TLSExporter); s.Encrypted() || s.State().HandshakeComplete || !errors.Is(bindErr, ErrNoTLS) {
					t.Error("it says it is encrypted")
				}
				echoes(t, s.Conn)
			})
		}
		t.Run(l.proto.String()+" handshake fails", func(t *testing.T) {
			_, err := meet(t, cfg, &actor{}, append(l.steps(), send(l.ready), leave)...)
			var handshake *HandshakeError
			if !errors.As(err, &handshake) {
				t.Errorf("got %v", err)
			}
		})
		t.Run(l.proto.String()+" injected", func(t *testing.T) {
			_, err := meet(t, cfg, &actor{}, append(l.steps(), send(l.ready+l.junk), drained)...)
			var injection *InjectionError
			if !errors.As(err, &injection) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestClientVanishing has the server go away, half or whole, or fall silent, at
// every step.
func TestClientVanishing(t *testing.T) {
	for _, l := range leads {
		all := append(l.steps(), send(l.ready))
		for i := 0; i <= len(all); i++ {
			t.Run(fmt.Sprintf("%v leaves at %d", l.proto, i), func(t *testing.T) {
				_, err := meet(t, startTLS(t, l.proto), &actor{}, append(all[:i:i], leave)...)
				var protocol *ProtocolError
				var handshake *HandshakeError
				if i == len(all) && !errors.As(err, &handshake) || i < len(all) && !errors.As(err, &protocol) {
					t.Errorf("got %v", err)
				}
			})
			t.Run(fmt.Sprintf("%v ends at %d", l.proto, i), func(t *testing.T) {
				end := func(a *actor) error {
					if err := a.conn.CloseWrite(); err != nil {
						return err
					}
					return drained(a)
				}
				_, err := meet(t, startTLS(t, l.proto), &actor{}, append(all[:i:i], end)...)
				if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
					t.Errorf("got %v", err)
				}
			})
			t.Run(fmt.Sprintf("%v is silent at %d", l.proto, i), func(t *testing.T) {
				cfg := startTLS(t, l.proto)
				cfg.Timeout = 30 * time.Millisecond
				_, err := meet(t, cfg, &actor{}, append(all[:i:i], drained)...)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// TestClientCancelled ends the context in the middle of it.
func TestClientCancelled(t *testing.T) {
	for _, l := range leads {
		t.Run(l.proto.String(), func(t *testing.T) {
			c, s := tcpPair(t)
			ctx, cancel := context.WithCancel(t.Context())
			wait := play(t, &actor{conn: s}, append(l.steps(), func(*actor) error { cancel(); return nil }, drained)...)
			if _, err := Client(ctx, c, startTLS(t, l.proto)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			isClosed(t, c)
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestClientMalformed has what no server should send, in place of the greeting
// or of the reply to STARTTLS.
func TestClientMalformed(t *testing.T) {
	for _, l := range leads {
		bad := map[string]step{"endless line": func(a *actor) error {
			_ = send(l.line)(a)
			return flood(strings.Repeat("x", 1000))(a)
		}}
		if l.proto != XMPP {
			bad["nothing"] = send("\r\n")
		}
		if hasLines(l.proto) {
			bad["NUL"] = send(l.line + "\x00\r\n")
			bad["bare LF"] = send(l.line + "\n")
			bad["CR within"] = send(l.line + "a\rb\r\n")
			bad["eight bits"] = send(l.line + "\xff\xfe\r\n")
			bad["another protocol"] = send("HTTP/1.1 400 Bad Request\r\n")
		}
		if l.proto == SMTP || l.proto == IMAP || l.proto == ManageSieve {
			bad["endless lines"] = flood(l.line + "x\"\r\n")
		}
		for name, s := range bad {
			t.Run(l.proto.String()+" "+name, func(t *testing.T) {
				_, err := meet(t, startTLS(t, l.proto), &actor{}, append(l.steps(), s, drained)...)
				expectMalformed(t, name, err)
			})
			if l.greeting != "" && l.proto != XMPP {
				t.Run(l.proto.String()+" greets with "+name, func(t *testing.T) {
					_, err := meet(t, startTLS(t, l.proto), &actor{}, s, drained)
					expectMalformed(t, name, err)
				})
			}
		}
	}
}

func expectMalformed(t *testing.T, name string, err error) {
	t.Helper()
	var protocol *ProtocolError
	var injection *InjectionError
	switch {
	case name == "endless lines" && (errors.As(err, &injection) || errors.Is(err, ErrSyntax)):
		// Where one line is due, the others are too many.
	case strings.HasPrefix(name, "endless") && !errors.Is(err, ErrTooLong):
		t.Errorf("got %v", err)
	case !strings.HasPrefix(name, "endless") && !errors.Is(err, ErrSyntax):
		t.Errorf("got %v", err)
	case !errors.As(err, &protocol):
		t.Errorf("got %v", err)
	case len(protocol.Reply) > quote:
		t.Errorf("the error has %d octets of the peer", len(protocol.Reply))
	}
}

// TestClientUntrusted has a server with a certificate that is not good: the
// connection is closed, and nothing said on it.
func TestClientUntrusted(t *testing.T) {
	for _, l := range leads {
		t.Run(l.proto.String(), func(t *testing.T) {
			cfg := startTLS(t, l.proto)
			cfg.TLS.RootCAs = x509.NewCertPool()
			fails := func(a *actor) error {
				// In TLS 1.3 the server is done before the client has judged.
				if err := shake(a); err != nil {
					return nil
				}
				if n, err := a.in.Read(make([]byte, 1)); err == nil {
					return fmt.Errorf("%d octets were sent", n)
				}
				return nil
			}
			_, err := meet(t, cfg, &actor{}, append(l.steps(), send(l.ready), fails)...)
			var unknown x509.UnknownAuthorityError
			var handshake *HandshakeError
			if !errors.As(err, &unknown) || !errors.As(err, &handshake) || Advice(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}
