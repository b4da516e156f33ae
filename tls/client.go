package tls

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// DefaultTimeout bounds dialogue and handshake where no timeout is given.
const DefaultTimeout = time.Minute

// A ClientConfig says how [Client] and [Dial] come to TLS. It may be used by
// several goroutines as long as nobody changes it.
type ClientConfig struct {
	// Protocol is required.
	Protocol Protocol
	// Mode is Implicit when zero.
	Mode Mode
	// TLS is copied. It needs a ServerName, the name that the certificate is for
	// (RFC 9525), or InsecureSkipVerify with a VerifyConnection of the caller's;
	// Dial takes the ServerName from the address when both are empty. When its
	// MinVersion is zero it is TLS 1.2. nil is an empty configuration. In mode
	// InsecurePlaintext it is not used.
	TLS *cryptotls.Config
	// ALPN is ALPNOffer when zero. Unless it is ALPNOff, NextProtos becomes the
	// protocol's own identifier.
	ALPN ALPN
	// LocalName is what EHLO and LHLO say before TLS; "localhost" when empty.
	// Say another name after TLS if you want to keep it from onlookers.
	LocalName string
	// Domain is the XMPP domain, "to" in the stream header (RFC 6120, Section
	// 4.7.2); TLS.ServerName when empty.
	Domain string
	// Timeout bounds dialogue and handshake together, besides the context;
	// DefaultTimeout when zero, none when negative.
	Timeout time.Duration
	// Figures count the handshakes; nil counts nothing.
	Figures *Figures
}

// Client brings a connection that has just been dialled to TLS: in the modes
// Implicit and InsecurePlaintext nothing may have been read or written yet, and
// in the others the server's greeting has not been read.
//
// The connection belongs to Client, which closes it when it returns an error;
// with success it belongs to the session, and has no deadline.
//
// The error is a *ConfigError, a *NotOfferedError, a *ProtocolError, an
// *InjectionError or a *HandshakeError.
func Client(ctx context.Context, conn net.Conn, cfg *ClientConfig) (*Session, error) {
	c, err := cfg.prepare()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c.run(ctx, conn)
}

// Dial connects to an address and brings the connection to TLS, as [Client]
// does. The network is "tcp", "tcp4", "tcp6" or "unix". The context and the
// timeout bound all of it. Errors of dialling are those of package net; a
// [net.Dialer] and Client serve where more is needed.
func Dial(ctx context.Context, network, addr string, cfg *ClientConfig) (*Session, error) {
	if cfg != nil && (cfg.TLS == nil || cfg.TLS.ServerName == "") && cfg.Mode != InsecurePlaintext {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, &ConfigError{Field: "TLS.ServerName", Problem: "is empty, and the address has no host"}
		}
		copied := *cfg
		copied.TLS = cfg.TLS.Clone()
		if copied.TLS == nil {
			copied.TLS = new(cryptotls.Config)
		}
		copied.TLS.ServerName = host
		cfg = &copied
	}
	c, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, c.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return c.run(ctx, conn)
}

// bounded bounds a context by a timeout; see ClientConfig.Timeout.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	switch {
	case timeout == 0:
		timeout = DefaultTimeout
	case timeout < 0:
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// A client is a ClientConfig that has been looked at.
type client struct{ ClientConfig }

func (cfg *ClientConfig) prepare() (*client, error) {
	if cfg == nil || !cfg.Protocol.valid() {
		return nil, &ConfigError{Field: "Protocol", Problem: "is not set"}
	}
	c := &client{*cfg}
	if c.LocalName == "" {
		c.LocalName = "localhost"
	}
	switch {
	case !c.Mode.valid():
		return nil, &ConfigError{Field: "Mode", Problem: fmt.Sprintf("there is no %v", c.Mode)}
	case !token(c.LocalName):
		return nil, &ConfigError{Field: "LocalName", Problem: "is not one printable word of at most 255 characters"}
	case c.Mode == InsecurePlaintext:
		return c, nil
	case c.Mode == OpportunisticStartTLS && c.Protocol == XMPP:
		return nil, &ConfigError{Field: "Mode", Problem: "XMPP has no opportunistic mode"}
	}
	c.TLS = c.TLS.Clone()
	if c.TLS == nil {
		c.TLS = new(cryptotls.Config)
	}
	if c.TLS.ServerName == "" && !c.TLS.InsecureSkipVerify {
		return nil, &ConfigError{Field: "TLS.ServerName", Problem: "is empty: whose certificate is it to be?"}
	}
	if c.Domain == "" {
		c.Domain = c.TLS.ServerName
	}
	if c.Protocol == XMPP && !token(c.Domain) {
		return nil, &ConfigError{Field: "Domain", Problem: "is needed for XMPP"}
	}
	floor(c.TLS)
	return c, setALPN(c.TLS, c.Protocol, c.ALPN)
}

// token reports whether s can stand as a word in every protocol's dialogue.
func token(s string) bool {
	ok := len(s) > 0 && len(s) <= 255
	for _, r := range s {
		ok = ok && r > 0x20 && r != 0x7f && r != '<' && r != '>' && r != '&' && r != '\'' && r != '"'
	}
	return ok
}

// floor keeps crypto/tls from speaking TLS 1.0 and 1.1, whatever GODEBUG says,
// unless they are asked for.
func floor(c *cryptotls.Config) {
	if c.MinVersion == 0 {
		c.MinVersion = cryptotls.VersionTLS12
	}
}

// setALPN makes a configuration offer, and if asked require, a protocol.
func setALPN(c *cryptotls.Config, p Protocol, mode ALPN) error {
	id := p.ALPN()
	switch {
	case mode == ALPNOff, mode == ALPNOffer && id == "":
		return nil
	case mode != ALPNOffer && mode != ALPNRequire:
		return &ConfigError{Field: "ALPN", Problem: "is not one of the constants"}
	case id == "":
		return &ConfigError{Field: "ALPN", Problem: fmt.Sprintf("%v has no identifier that could be required", p)}
	}
	// RFC 7301, Section 3.1.
	c.NextProtos = []string{id}
	if mode == ALPNRequire {
		verify := c.VerifyConnection
		c.VerifyConnection = func(state cryptotls.ConnectionState) error {
			if state.NegotiatedProtocol != id {
				return ErrALPN
			}
			if verify != nil {
				return verify(state)
			}
			return nil
		}
	}
	return nil
}

// run closes conn unless it succeeds.
func (c *client) run(ctx context.Context, conn net.Conn) (*Session, error) {
	if c.Mode == InsecurePlaintext {
		return &Session{Conn: conn, Protocol: c.Protocol, Mode: c.Mode, Next: protocols[c.Protocol].tls}, nil
	}
	ctx, cancel := bounded(ctx, c.Timeout)
	defer cancel()
	w := watchOver(ctx, conn)
	s, err := c.upgrade(ctx, conn)
	if err = w.end(err); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// upgrade does dialogue and handshake.
func (c *client) upgrade(ctx context.Context, conn net.Conn) (*Session, error) {
	s := &Session{Conn: conn, Protocol: c.Protocol, Mode: c.Mode, Next: protocols[c.Protocol].tls}
	if c.Mode != Implicit {
		s.Next = protocols[c.Protocol].up
		err := c.dialogue(newWire(conn, c.Protocol))
		if c.Mode == OpportunisticStartTLS && declined(err) {
			s.Next = afterDecline(c.Protocol)
			return s, nil
		}
		if err != nil {
			return nil, err
		}
	}
	t := cryptotls.Client(conn, c.TLS)
	err := t.HandshakeContext(ctx)
	c.Figures.count(t, err)
	if err != nil {
		return nil, &HandshakeError{c.Protocol, err}
	}
	s.Conn, s.TLS = t, t
	return s, nil
}

// dialogues lead up to the handshake: the next octet is the client's.
var dialogues = [...]func(*client, *wire) error{
	SMTP: (*client).smtp, LMTP: (*client).smtp, IMAP: (*client).imap, POP3: (*client).pop3,
	ManageSieve: (*client).sieve, LDAP: (*client).ldap, XMPP: (*client).xmpp,
}

// dialogue runs the protocol's own dialogue, after which the server must be
// silent until the handshake.
func (c *client) dialogue(w *wire) error {
	err := dialogues[c.Protocol](c, w)
	if err == nil || declined(err) {
		// RFC 3207, Section 5; RFC 9051, Section 11.1; RFC 5804, Section 2.2:
		// nothing from before the handshake survives it. Nor does a server that
		// declines speak on.
		if loud := w.quiet(); loud != nil {
			return loud
		}
	}
	return err
}

// declined reports whether a server has said that it has no TLS, now or ever,
// in the place where it had to say so.
func declined(err error) bool {
	var p *ProtocolError
	return errors.Is(err, ErrStartTLSNotOffered) ||
		errors.As(err, &p) && p.Step == stepStartTLS && errors.Is(err, errDeclined)
}

// errDeclined is an ErrRefused after which the connection goes on.
var errDeclined = fmt.Errorf("%w", ErrRefused)

// afterDecline is what comes next in plaintext when the dialogue has been in
// vain: the greeting is over.
func afterDecline(p Protocol) Next {
	if slices.Contains([]Protocol{SMTP, LMTP}, p) {
		return NextHello
	}
	return NextCommand
}

// The steps of the dialogue.
const (
	stepGreeting     = "greeting"
	stepCapabilities = "capabilities"
	stepStartTLS     = "starttls"
	stepCommand      = "command"
)
