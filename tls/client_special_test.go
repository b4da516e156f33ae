package tls

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestClientTricks has what is wrong in one protocol only.
func TestClientTricks(t *testing.T) {
	imap := leads[2]
	xmpp := leads[6]
	features := []step{want(xmppHeader), send(xmppGreeting)}
	for _, c := range []struct {
		name  string
		proto Protocol
		err   error
		steps []step
	}{
		{"greets with PREAUTH", IMAP, ErrPreauth, []step{send("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome back\r\n")}},
		{"PREAUTH before OK", IMAP, ErrPreauth, append(imap.steps(), send("* PREAUTH hi\r\na2 OK begin\r\n"))},
		{"PREAUTH among capabilities", IMAP, ErrPreauth, []step{
			send(imap.greeting), want(imap.ask), send("* preauth x\r\n" + imap.offer)}},
		{"greets with a referral", IMAP, ErrRefused, []step{send("* BYE [REFERRAL imap://evil.example/] elsewhere\r\n")}},
		{"BYE before OK", IMAP, ErrRefused, append(imap.steps(), send("* BYE [REFERRAL imap://evil.example/]\r\na2 OK begin\r\n"))},
		{"referral for an answer", IMAP, ErrRefused, append(imap.steps(), send("a2 NO [REFERRAL imap://evil.example/] elsewhere\r\n"))},
		{"literal in the greeting", IMAP, ErrLiteral, []step{send("* OK {20}\r\n")}},
		{"literal in capabilities", IMAP, ErrLiteral, []step{
			send(imap.greeting), want(imap.ask), send("* CAPABILITY STARTTLS {14}\r\na1 OK no\r\n")}},
		{"literal that hides OK", IMAP, ErrLiteral, append(imap.steps(), send("* OK {13}\r\na2 OK begin\r\n"))},
		{"binary literal", IMAP, ErrLiteral, append(imap.steps(), send("* X ~{13+}\r\na2 OK begin\r\n"))},
		{"another tag", IMAP, ErrSyntax, append(imap.steps(), send("a1 OK begin\r\n"))},
		{"continuation", IMAP, ErrSyntax, append(imap.steps(), send("+ go on\r\n"))},
		{"no tag", IMAP, ErrSyntax, append(imap.steps(), send("OK begin\r\n"))},
		{"two codes", SMTP, ErrSyntax, []step{send("220-mail\r\n250 mail\r\n")}},
		{"refusing greeting", SMTP, ErrRefused, []step{send("554 no\r\n")}},
		{"not the code", SMTP, ErrRefused, append(leads[0].steps(), send("250 go on\r\n"))},
		{"closing", SMTP, ErrRefused, append(leads[0].steps(), send("421 bye\r\n"))},
		{"EHLO refused", SMTP, ErrRefused, []step{send(leads[0].greeting), want("EHLO localhost\r\n"), send("502 no\r\n")}},
		{"endless capabilities", POP3, ErrTooLong, []step{send("+OK\r\n"), want("CAPA\r\n"), send("+OK\r\n"), flood("X\r\n")}},
		{"CAPA unknown", POP3, ErrStartTLSNotOffered, []step{send("+OK\r\n"), want("CAPA\r\n"), send("-ERR what?\r\n")}},
		{"referral", ManageSieve, ErrRefused, []step{send("\"STARTTLS\"\r\nBYE (REFERRAL \"sieve://evil.example\") \"no\"\r\n")}},
		{"literal", ManageSieve, ErrLiteral, []step{send("\"IMPLEMENTATION\" {10}\r\n\"STARTTLS\"\r\nOK\r\n")}},
		{"literal for OK", ManageSieve, ErrLiteral, append(leads[4].steps(), send("OK {4}\r\nabcd"))},
		{"another message", LDAP, ErrSyntax, []step{want(ldapRequest), send("\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00")}},
		{"notice of disconnection", LDAP, ErrRefused, []step{want(ldapRequest), send(
			"\x30\x24\x02\x01\x00\x78\x1f\x0a\x01\x34\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20036")}},
		{"referral", LDAP, ErrRefused, []step{want(ldapRequest), send("\x30\x16\x02\x01\x01\x78\x11\x0a\x01\x0a\x04\x00\x04\x00\xa3\x08\x04\x06ldap:/")}},
		{"success with referral", LDAP, ErrSyntax, []step{want(ldapRequest), send("\x30\x16\x02\x01\x01\x78\x11\x0a\x01\x00\x04\x00\x04\x00\xa3\x08\x04\x06ldap:/")}},
		{"another response", LDAP, ErrSyntax, []step{want(ldapRequest), send("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00")}},
		{"huge length", LDAP, ErrTooLong, []step{want(ldapRequest), send("\x30\x84\x7f\xff\xff\xff")}},
		{"indefinite length", LDAP, ErrSyntax, []step{want(ldapRequest), send("\x30\x80\x02\x01\x01")}},
		{"another OID", LDAP, ErrSyntax, []step{want(ldapRequest), send("\x30\x10\x02\x01\x01\x78\x0b\x0a\x01\x00\x04\x00\x04\x00\x8a\x021.")}},
		{"document type", XMPP, ErrSyntax, []step{want(xmppHeader), send("<!DOCTYPE a [<!ENTITY b 'c'>]>" + xmppGreeting)}},
		{"comment", XMPP, ErrSyntax, append(features, send("<!-- x -->"+xmppOffer))},
		{"processing instruction", XMPP, ErrSyntax, append(features, send("<?php x?>"+xmppOffer))},
		{"entity", XMPP, ErrSyntax, append(features, send("<stream:features>&xxe;</stream:features>"))},
		{"another encoding", XMPP, ErrSyntax, []step{want(xmppHeader), send("<?xml version='1.0' encoding='ISO-8859-1'?>")}},
		{"deep", XMPP, ErrTooLong, append(features, send("<stream:features>"+strings.Repeat("<a>", 50)))},
		{"long name", XMPP, ErrTooLong, append(features, send("<"), flood(strings.Repeat("a", 1000)))},
		{"stream error", XMPP, ErrRefused, append(features, send("<stream:error><see-other-host>evil.example</see-other-host></stream:error>"))},
		{"end of stream", XMPP, ErrRefused, append(features, send("</stream:stream>"))},
		{"text", XMPP, ErrSyntax, append(features, send("hello"+xmppOffer))},
		{"another stream", XMPP, ErrSyntax, []step{want(xmppHeader), send("<stream xmlns='http://etherx.example/'>")}},
		{"features of another", XMPP, ErrSyntax, append(features, send("<features xmlns='x'><starttls xmlns='"+nsStartTLS+"'/></features>"))},
		{"starttls of another", XMPP, ErrStartTLSNotOffered, append(features, send("<stream:features><starttls xmlns='x'/></stream:features>"))},
		{"proceed of another", XMPP, ErrSyntax, append(xmpp.steps(), send("<proceed xmlns='jabber:client'/>"))},
	} {
		t.Run(c.proto.String()+" "+c.name, func(t *testing.T) {
			_, err := meet(t, startTLS(t, c.proto), &actor{}, append(c.steps, drained)...)
			if !errors.Is(err, c.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestClientOddButGood has what is unusual and allowed.
func TestClientOddButGood(t *testing.T) {
	for _, c := range []struct {
		name  string
		proto Protocol
		steps []step
	}{
		{"long forms of lengths", LDAP, []step{want(ldapRequest), send(
			"\x30\x84\x00\x00\x00\x18\x02\x01\x01\x78\x84\x00\x00\x00\x0f\x0a\x01\x00\x04\x81\x00\x04\x82\x00\x05hello")}},
		{"name of the response", LDAP, []step{want(ldapRequest), send(
			"\x30\x24\x02\x01\x01\x78\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20037")}},
		{"text of many lines", SMTP, append(leads[0].steps(), send("220-go\r\n220-and\r\n220 on\r\n"))},
		{"code alone", SMTP, append(leads[0].steps(), send("220\r\n"))},
		{"untagged OK", IMAP, append(leads[2].steps(), send("* OK [ALERT] be careful\r\na2 ok\r\n"))},
		{"UTF-8", IMAP, append(leads[2].steps(), send("a2 OK los geht’s\r\n"))},
		{"proceed in two tags", XMPP, append(leads[6].steps(), send("<proceed xmlns='"+nsStartTLS+"'></proceed>"))},
		{"proceed with a prefix", XMPP, append(leads[6].steps(), send("<t:proceed xmlns:t='"+nsStartTLS+"'/>"))},
	} {
		t.Run(c.proto.String()+" "+c.name, func(t *testing.T) {
			s, err := meet(t, startTLS(t, c.proto), &actor{}, append(c.steps, shake, want("ping\r\n"), send("pong\r\n"))...)
			if err != nil {
				t.Fatal(err)
			}
			echoes(t, s.Conn)
		})
	}
}

// TestClientImplicit speaks TLS at once, and in plaintext not at all unless asked
// by name.
func TestClientImplicit(t *testing.T) {
	for p := SMTP; p.valid(); p++ {
		s, err := meet(t, &ClientConfig{Protocol: p, TLS: world(t).clientTLS()}, &actor{}, shake, want("ping\r\n"), send("pong\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if s.Next != protocols[p].tls || s.State().Version != cryptotls.VersionTLS13 {
			t.Errorf("%v: %v, %x", p, s.Next, s.State().Version)
		}
		if d := Describe(new(s.State())); !d.PostQuantum || !d.Verified || len(d.Peer) != 1 || len(d.Warnings) != 0 {
			t.Errorf("%v: %+v", p, d)
		}
		echoes(t, s.Conn)
		if s, err = meet(t, &ClientConfig{Protocol: p, Mode: InsecurePlaintext}, &actor{}, want("ping\r\n"), send("pong\r\n")); err != nil {
			t.Fatal(err)
		}
		if s.Encrypted() {
			t.Error("plaintext says it is encrypted")
		}
		echoes(t, s.Conn)
	}
}

// TestALPN crosses what a client and a server say.
func TestALPN(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   ALPN
		server []string
		fails  bool
		alpn   string
	}{
		{"knows nothing", ALPNOffer, nil, false, ""},
		{"knows nothing, required", ALPNRequire, nil, true, ""},
		{"the same", ALPNOffer, []string{"imap"}, false, "imap"},
		{"the same, required", ALPNRequire, []string{"h2", "imap"}, false, "imap"},
		{"another", ALPNOffer, []string{"smtp"}, true, ""},
		{"the web", ALPNOffer, []string{"h2", "http/1.1"}, true, ""},
		{"another, off", ALPNOff, []string{"smtp"}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &actor{cfg: world(t).serverTLS()}
			a.cfg.NextProtos = c.server
			last := shake
			if c.fails {
				last = func(a *actor) error { _ = shake(a); return nil }
			}
			s, err := meet(t, &ClientConfig{Protocol: IMAP, TLS: world(t).clientTLS(), ALPN: c.mode}, a, last)
			var handshake *HandshakeError
			switch {
			case c.fails && !errors.As(err, &handshake):
				t.Errorf("got %v", err)
			case c.fails && c.server == nil && !errors.Is(err, ErrALPN):
				t.Errorf("got %v", err)
			case c.fails && Advice(err) == "":
				t.Errorf("no advice for %v", err)
			case !c.fails && err != nil:
				t.Error(err)
			case !c.fails && s.State().NegotiatedProtocol != c.alpn:
				t.Errorf("got %q", s.State().NegotiatedProtocol)
			}
		})
	}
}

// TestConfigErrors finds mistakes of callers before anything is sent.
func TestConfigErrors(t *testing.T) {
	tls := world(t).clientTLS()
	for _, cfg := range []*ClientConfig{
		nil, {}, {Protocol: 99, TLS: tls}, {Protocol: -1, TLS: tls}, {Protocol: SMTP, Mode: 9, TLS: tls}, {Protocol: SMTP},
		{Protocol: SMTP, TLS: &cryptotls.Config{}}, {Protocol: SMTP, TLS: tls, LocalName: "a\r\nQUIT"},
		{Protocol: XMPP, TLS: tls, Domain: "a'/><x>"}, {Protocol: LDAP, TLS: tls, ALPN: ALPNRequire}, {Protocol: IMAP, TLS: tls, ALPN: 7},
	} {
		c, s := tcpPair(t)
		wait := play(t, &actor{conn: s}, closed)
		_, err := Client(t.Context(), c, cfg)
		var config *ConfigError
		if !errors.As(err, &config) || config.Field == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
		isClosed(t, c)
		if err = wait(); err != nil {
			t.Error(err)
		}
	}
	tls = world(t).serverTLS()
	for _, cfg := range []*ServerConfig{
		nil, {}, {Protocol: SMTP}, {Protocol: SMTP, TLS: &cryptotls.Config{}}, {Protocol: XMPP, Mode: StartTLS, TLS: tls},
		{Protocol: SMTP, Mode: OpportunisticStartTLS, TLS: tls}, {Protocol: SMTP, Mode: StartTLS, TLS: tls, Greeting: "a\r\nb"},
		{Protocol: SMTP, Mode: StartTLS, TLS: tls, Capabilities: []string{"AUTH PLAIN"}},
		{Protocol: IMAP, Mode: StartTLS, TLS: tls, Capabilities: []string{"AUTH=PLAIN"}},
		{Protocol: POP3, Mode: StartTLS, TLS: tls, Capabilities: []string{"user"}},
		{Protocol: POP3, Mode: StartTLS, TLS: tls, Capabilities: []string{"STLS"}},
		{Protocol: LMTP, Mode: StartTLS, TLS: tls, Capabilities: []string{""}},
		{Protocol: LMTP, TLS: tls, ALPN: ALPNRequire},
	} {
		_, err := NewServer(cfg)
		var config *ConfigError
		if !errors.As(err, &config) || config.Field == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestDial takes the name from the address, and fails where nobody is.
func TestDial(t *testing.T) {
	w := world(t)
	s, err := NewServer(&ServerConfig{Protocol: IMAP, TLS: w.serverTLS()})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Listen(inner, nil)
	defer func() { _ = l.Close() }()
	cfg := &ClientConfig{Protocol: IMAP, TLS: &cryptotls.Config{RootCAs: w.roots}, Timeout: 5 * time.Second}
	c, err := Dial(t.Context(), "tcp", l.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.TLS.ServerName != "" {
		t.Error("the caller's configuration was changed")
	}
	_ = c.Close()
	var config *ConfigError
	if _, err = Dial(t.Context(), "tcp", "nonsense", cfg); !errors.As(err, &config) {
		t.Errorf("got %v", err)
	}
	if _, err = Dial(t.Context(), "tcp", l.Addr().String(), nil); !errors.As(err, &config) {
		t.Errorf("got %v", err)
	}
	if err = l.Close(); err != nil {
		t.Error(err)
	}
	var op *net.OpError
	if _, err = Dial(t.Context(), "tcp", inner.Addr().String(), cfg); !errors.As(err, &op) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Dial(ctx, "tcp", inner.Addr().String(), cfg); err == nil {
		t.Error("dialled with a context that had ended")
	}
}
