package smtpproxy

import (
	"context"
	cryptotls "crypto/tls"
	"net"
	"sync"

	"github.com/emersion/go-smtp"
)

// A backend is one client's connection.
type backend struct {
	p      *Proxy
	ctx    context.Context
	front  *front
	client net.Addr
	secure bool // the connection is TLS

	mu       sync.Mutex
	session  *session
	busy     bool // in the middle of a message
	draining bool
}

// NewSession implements smtp.Backend. It connects to the upstream, whose
// extensions are those of the answer to EHLO, unless it depends on who logs in. The
// session of a client is the same in all its visits.
func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	if s := b.session; s != nil {
		if s.server = c.Server(); s.up != nil {
			s.extend()
		}
		return s, nil
	}
	s := &session{b: b, p: b.p, ctx: b.ctx, server: c.Server()}
	if b.p.Route == nil {
		conn, greeted, err := b.p.Connect(b.ctx)
		if err = s.greet(conn, greeted, err); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session = s
	return s, nil
}

// greet says hello to the upstream, with which a connection has been made or has
// failed with an error. The error is a reply.
func (s *session) greet(conn net.Conn, greeted bool, err error) error {
	if err != nil {
		s.p.log().Warn("the mail server cannot be reached", "error", err)
		return temporary("4.4.1", "The mail server cannot be reached")
	}
	up, err := newUpstream(conn, greeted)
	if err == nil {
		err = up.hello(s.p.Name)
	}
	if err != nil {
		_ = conn.Close()
		s.p.log().Warn("the mail server does not answer", "error", err)
		return temporary("4.4.2", "The mail server does not answer as it should")
	}
	s.setUpstream(up)
	s.extend()
	return nil
}

// setUpstream has the upstream seen by hangUp, which is another goroutine's.
func (s *session) setUpstream(up *upstream) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.up = up
}

// route finds the upstream of an account, when that is what it depends on. One
// that has refused a login is left, since the next may be for another.
func (s *session) route(account string) error {
	if s.up != nil {
		s.up.quit()
		s.setUpstream(nil)
	}
	conn, greeted, err := s.p.Route(s.ctx, account)
	return s.greet(conn, greeted, err)
}

// extend has the server offer what the upstream has. The server is this
// connection's alone.
func (s *session) extend() {
	srv := s.server
	srv.EnableSMTPUTF8 = s.up.has("SMTPUTF8")
	srv.EnableDSN = s.up.has("DSN")
	srv.EnableREQUIRETLS = s.requireTLS()
	srv.MaxMessageBytes = s.p.maxMessage()
	if size := s.up.size(); size > 0 {
		srv.MaxMessageBytes = min(srv.MaxMessageBytes, shrunk(size))
	}
}

// requireTLS tells whether REQUIRETLS can be offered: RFC 8689, Section 2 has it
// on connections with TLS alone, and the promise is that of both.
func (s *session) requireTLS() bool {
	_, isTLS := s.up.conn.(*cryptotls.Conn)
	return s.b.secure && isTLS && s.up.has("REQUIRETLS")
}

// keywords are what the reply to EHLO may offer, in the words of front.hello.
func (b *backend) keywords() []string {
	out := []string{"PIPELINING", "ENHANCEDSTATUSCODES", "SIZE", "LIMITS", "AUTH", "SMTPUTF8", "DSN"}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session == nil || b.session.up == nil {
		return append(out, "8BITMIME", "CHUNKING")
	}
	for _, extension := range []string{"8BITMIME", "CHUNKING"} {
		if b.session.up.has(extension) {
			out = append(out, extension)
		}
	}
	if b.session.requireTLS() {
		out = append(out, "+REQUIRETLS")
	}
	return out
}

// setBusy marks what is not to be interrupted.
func (b *backend) setBusy(busy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = busy
	if !busy && b.draining {
		// The reply is written before the end: go-smtp resets after it.
		b.front.end()
	}
}

// drain ends the connection when no message is under way.
func (b *backend) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	if !b.busy {
		b.front.end()
	}
}

// hangUp ends what is left of the upstream.
func (b *backend) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session != nil && b.session.up != nil {
		b.session.up.quit()
	}
}
