package tls

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A ServerConfig says how a [Server] comes to TLS.
type ServerConfig struct {
	// Protocol is required: SMTP, LMTP, IMAP or POP3; with Implicit all others
	// too.
	Protocol Protocol
	// Mode is Implicit when zero. OpportunisticStartTLS is not for servers.
	Mode Mode
	// TLS is required unless Mode is InsecurePlaintext, and must have a source of
	// certificates. It is copied; keys of session tickets that are set later are
	// set with Server.SetSessionTicketKeys. What GetConfigForClient returns is
	// copied too, gets the same ALPN and lowest version as TLS itself, and may have
	// keys of its own.
	// When MinVersion is zero it is TLS 1.2.
	TLS *cryptotls.Config
	// ALPN is ALPNOffer when zero: a client that names protocols must name ours,
	// one that names none is let in. Unless it is ALPNOff, NextProtos becomes the
	// protocol's own identifier.
	ALPN ALPN
	// Greeting is the text of the greeting before STARTTLS, after "220 ",
	// "* OK " or "+OK ". In SMTP and LMTP it begins with the name of the server,
	// which the reply to EHLO repeats. "localhost ready" when empty.
	Greeting string
	// Capabilities are offered before STARTTLS, one an element, besides STARTTLS
	// and what forbids to log in. Ways to log in are an error. They are forgotten
	// with everything else: the protocol layer announces its own after TLS.
	Capabilities []string
	// Timeout bounds dialogue and handshake together, besides the context;
	// DefaultTimeout when zero, none when negative.
	Timeout time.Duration
	// MaxCommands is how many commands a client may give before STARTTLS; 20
	// when zero.
	MaxCommands int
	// Figures count the handshakes; nil counts nothing.
	Figures *Figures
}

// A Server brings accepted connections to TLS. It may be used by several
// goroutines. One Server should serve all connections of a port, since it holds
// the keys of session tickets.
type Server struct {
	cfg     ServerConfig
	dialect *dialect // nil unless Mode is StartTLS
	// only is the one certificate that there is, if there is but one.
	only *x509.Certificate
}

// NewServer looks at a configuration, which is copied. The error is a
// *ConfigError.
func NewServer(cfg *ServerConfig) (*Server, error) {
	if cfg == nil || !cfg.Protocol.valid() {
		return nil, &ConfigError{Field: "Protocol", Problem: "is not set"}
	}
	s := &Server{cfg: *cfg}
	s.cfg.Capabilities = slices.Clone(cfg.Capabilities)
	if s.cfg.MaxCommands <= 0 {
		s.cfg.MaxCommands = 20
	}
	if s.cfg.Greeting == "" {
		s.cfg.Greeting = "localhost ready"
	}
	switch s.cfg.Mode {
	case InsecurePlaintext:
		return s, nil
	case Implicit:
	case StartTLS:
		if err := s.setDialect(); err != nil {
			return nil, err
		}
	default:
		return nil, &ConfigError{Field: "Mode", Problem: fmt.Sprintf("%v is not for servers", s.cfg.Mode)}
	}
	return s, s.setTLS()
}

// SetSessionTicketKeys sets the keys of session tickets, as the method of a
// cryptotls.Config does: the first makes new tickets, all open old ones. Without
// it the keys are random and rotate daily. It may be called at any time.
func (s *Server) SetSessionTicketKeys(keys [][32]byte) error {
	if len(keys) == 0 || s.cfg.TLS == nil {
		return &ConfigError{Field: "TLS", Problem: "there are no keys, or there is no TLS"}
	}
	s.cfg.TLS.SetSessionTicketKeys(keys)
	return nil
}

// setDialect makes sure that what is said before TLS can be said.
func (s *Server) setDialect() error {
	if int(s.cfg.Protocol) >= len(dialects) || dialects[s.cfg.Protocol].greet == "" {
		return &ConfigError{Field: "Mode", Problem: fmt.Sprintf("there is no STARTTLS server for %v", s.cfg.Protocol)}
	}
	s.dialect = &dialects[s.cfg.Protocol]
	if !plainText(s.cfg.Greeting) {
		return &ConfigError{Field: "Greeting", Problem: "is not one line of printable ASCII, at most 400 characters"}
	}
	for _, c := range s.cfg.Capabilities {
		word, _, _ := strings.Cut(strings.ToUpper(c), " ")
		name, _, _ := strings.Cut(word, "=")
		switch {
		case !plainText(c):
			return &ConfigError{Field: "Capabilities", Problem: "one is not a line of printable ASCII, at most 400 characters"}
		case slices.Contains([]string{"AUTH", "SASL", "SASL-IR", "USER", "APOP", "LOGIN-REFERRALS"}, name):
			// RFC 3207, Section 6; RFC 9051, Section 11.1: a password must not be
			// asked for before TLS.
			return &ConfigError{Field: "Capabilities", Problem: word + " is not offered before TLS"}
		case slices.Contains([]string{"STARTTLS", "STLS", "LOGINDISABLED"}, name):
			return &ConfigError{Field: "Capabilities", Problem: word + " is added by itself"}
		}
	}
	return nil
}

func plainText(s string) bool {
	for _, r := range s {
		if r < 0x20 || r > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= 400
}

// setTLS prepares the configuration of crypto/tls, once for all connections.
func (s *Server) setTLS() error {
	t := s.cfg.TLS
	if t == nil || len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		return &ConfigError{Field: "TLS", Problem: "has no certificate"}
	}
	if len(t.Certificates) == 1 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		s.only = leafOf(&t.Certificates[0])
	}
	t = t.Clone()
	if err := s.adopt(t); err != nil {
		return err
	}
	if choose := t.GetConfigForClient; choose != nil {
		t.GetConfigForClient = func(hello *cryptotls.ClientHelloInfo) (*cryptotls.Config, error) {
			chosen, err := choose(hello)
			if err != nil || chosen == nil {
				return chosen, err
			}
			// Only the copy is changed; crypto/tls takes the keys of tickets from t
			// if chosen has none of its own, and from the copy if it has.
			chosen = chosen.Clone()
			return chosen, s.adopt(chosen)
		}
	}
	s.cfg.TLS = t
	return nil
}

// adopt gives a configuration what all of a Server's have.
func (s *Server) adopt(t *cryptotls.Config) error {
	floor(t)
	rememberCertificate(t)
	return setALPN(t, s.cfg.Protocol, s.cfg.ALPN)
}

// certificateKey is the key of a *chosenCertificate in the handshake's context.
type certificateKey struct{}

// A chosenCertificate is the server's own certificate in one handshake.
type chosenCertificate struct{ leaf *x509.Certificate }

// rememberCertificate makes a configuration note which certificate it chose.
func rememberCertificate(t *cryptotls.Config) {
	//lint:ignore SA1019 where somebody still uses it, its choice stands
	if t.NameToCertificate != nil {
		return
	}
	choose, static := t.GetCertificate, t.Certificates
	t.GetCertificate = func(hello *cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error) {
		cert, err := chooseCertificate(hello, choose, static)
		if note, ok := hello.Context().Value(certificateKey{}).(*chosenCertificate); ok && err == nil && cert != nil {
			note.leaf = leafOf(cert)
		}
		return cert, err
	}
	// GetCertificate is asked first only for clients that name a server, unless
	// it is the one source.
	t.Certificates = nil
}

// chooseCertificate does what crypto/tls does.
func chooseCertificate(hello *cryptotls.ClientHelloInfo, choose func(*cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error),
	static []cryptotls.Certificate) (*cryptotls.Certificate, error) {
	if choose != nil && (len(static) == 0 || hello.ServerName != "") {
		if cert, err := choose(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range static {
		if hello.SupportsCertificate(&static[i]) == nil {
			return &static[i], nil
		}
	}
	if len(static) > 0 {
		return &static[0], nil
	}
	return nil, nil
}

func leafOf(cert *cryptotls.Certificate) *x509.Certificate {
	if cert.Leaf != nil || len(cert.Certificate) == 0 {
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// Handshake brings an accepted connection to TLS: at once, or after a dialogue in
// which nothing is to be had but STARTTLS. A client that does anything else for
// too long is sent away.
//
// The connection belongs to Handshake, which closes it when it returns an
// error; with success it belongs to the session, and has no deadline. Whatever
// was said before TLS is forgotten: what comes next is in Session.Next, and after
// StartTLS that is never a greeting.
//
// The error is a *ProtocolError, an *InjectionError or a *HandshakeError.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*Session, error) {
	session := &Session{
		Conn: conn, Protocol: s.cfg.Protocol, Mode: s.cfg.Mode, Next: protocols[s.cfg.Protocol].tls, server: true,
	}
	if s.cfg.Mode == InsecurePlaintext {
		return session, nil
	}
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	w := watchOver(ctx, conn)
	err := s.handshake(ctx, session)
	if err = w.end(err); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return session, nil
}

func (s *Server) handshake(ctx context.Context, session *Session) error {
	if s.cfg.Mode == StartTLS {
		session.Next = protocols[s.cfg.Protocol].up
		if err := s.dialogue(newWire(session.Conn, s.cfg.Protocol)); err != nil {
			return err
		}
	}
	note := chosenCertificate{leaf: s.only}
	t := cryptotls.Server(session.Conn, s.cfg.TLS)
	err := t.HandshakeContext(context.WithValue(ctx, certificateKey{}, &note))
	s.cfg.Figures.count(t, err)
	if err != nil {
		return &HandshakeError{s.cfg.Protocol, err}
	}
	session.Conn, session.TLS, session.local = t, t, note.leaf
	return nil
}
