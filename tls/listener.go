package tls

import (
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// A Listener is a net.Listener whose Accept returns connections on which the
// handshake has been made. Dialogues and handshakes go on at the same time, so
// that a slow client holds up nobody; what fails is closed and never seen by the
// protocol server, which thus cannot go on in plaintext.
//
// In the mode Implicit Accept returns a *tls.Conn of crypto/tls. In the mode
// StartTLS it returns a [*ServerConn], for servers that greet every connection
// (those of go-smtp and go-imap do): the greeting that such a server writes is
// swallowed, since none comes after STARTTLS. Such a server is not to be given a
// TLS configuration of its own, and must be told that it may ask for passwords,
// since it does not see that there is TLS.
type Listener struct {
	inner   net.Listener
	server  *Server
	opts    ListenerOptions
	ready   chan net.Conn
	failed  chan struct{} // closed when the inner listener has failed for good
	err     error         // why; to be read after failed is closed
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
	closing error
}

// ListenerOptions are the limits of a [Listener]. Zero values are the defaults.
type ListenerOptions struct {
	// MaxPending is how many connections may be on the way to TLS, or wait for
	// Accept, at once; 1024 when zero. More wait in the system's queue, for the
	// configured timeout if nobody moves.
	MaxPending int
	// OnError, if set, is told of every connection that did not come to TLS. It
	// is called by several goroutines.
	OnError func(remote net.Addr, err error)
}

// Listen makes a listener from one that is still plain, and takes it over:
// closing the one closes the other. opts may be nil and is copied.
func (s *Server) Listen(inner net.Listener, opts *ListenerOptions) *Listener {
	l := &Listener{inner: inner, server: s, ready: make(chan net.Conn), failed: make(chan struct{})}
	if opts != nil {
		l.opts = *opts
	}
	if l.opts.MaxPending <= 0 {
		l.opts.MaxPending = 1024
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.loop)
	return l
}

// loop accepts until the inner listener fails.
func (l *Listener) loop() {
	defer close(l.failed)
	slots := make(chan struct{}, l.opts.MaxPending)
	for pause := time.Duration(0); ; {
		select {
		case slots <- struct{}{}:
		case <-l.ctx.Done():
			l.err = net.ErrClosed
			return
		}
		conn, err := l.inner.Accept()
		if err != nil {
			<-slots
			// Such as too many open files: it passes.
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() {
				pause = min(max(2*pause, 5*time.Millisecond), time.Second)
				l.sleep(pause)
				continue
			}
			l.err = err
			return
		}
		pause = 0
		l.running.Go(func() {
			defer func() { <-slots }()
			l.serve(conn)
		})
	}
}

func (l *Listener) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.ctx.Done():
	}
}

// serve brings one connection to TLS and hands it over.
func (l *Listener) serve(conn net.Conn) {
	remote := conn.RemoteAddr()
	session, err := l.server.Handshake(l.ctx, conn)
	if err != nil {
		if l.opts.OnError != nil {
			l.opts.OnError(remote, err)
		}
		return
	}
	out := session.Conn
	if session.Mode == StartTLS {
		out = &ServerConn{Conn: session.TLS, session: session}
	}
	select {
	case l.ready <- out:
	case <-l.ctx.Done():
		_ = conn.Close()
	}
}

// Accept returns the next connection. After Close its error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	case <-l.failed:
		if l.ctx.Err() != nil {
			return nil, net.ErrClosed
		}
		return nil, l.err
	}
}

// Close stops listening, closes connections that Accept has not returned, and
// waits until nothing runs any more. It may be called twice.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.cancel()
		l.closing = l.inner.Close()
		l.running.Wait()
	})
	return l.closing
}

// Addr returns the address of the listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// A ServerConn is the connection of a [Session] after STARTTLS, for a server that
// greets: the first reply that is written is swallowed if it is a greeting. All
// other methods are those of the TLS connection. As there, reads and writes may
// go on at the same time.
type ServerConn struct {
	*cryptotls.Conn
	session *Session

	mu      sync.Mutex
	greeted bool
	pending []byte // of the greeting, not yet ended
	err     error
}

// Session returns the session, for its state and channel binding. It is not to
// be written to.
func (c *ServerConn) Session() *Session { return c.session }

// maxGreeting bounds the greeting that is swallowed, in octets.
const maxGreeting = 8 << 10

// Write writes, after it has swallowed the greeting. It counts what was swallowed
// as written.
func (c *ServerConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.greeted {
		c.mu.Unlock()
		return c.Conn.Write(p)
	}
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.pending = append(c.pending, p...)
	end := greetingEnd(c.pending)
	if end < 0 {
		if len(c.pending) > maxGreeting {
			c.err = &ProtocolError{Protocol: c.session.Protocol, Step: stepGreeting, Err: ErrTooLong}
			return 0, c.err
		}
		return len(p), nil
	}
	rest := c.pending
	if isGreeting(c.session.Protocol, rest) {
		rest = rest[end:]
	}
	c.greeted, c.pending = true, nil
	if len(rest) > 0 {
		if _, err := c.Conn.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// greetingEnd returns where the first reply ends, -1 if it has not ended yet. In
// SMTP a reply goes on after a line with a hyphen behind its code.
func greetingEnd(b []byte) int {
	for pos := 0; ; {
		i := bytes.IndexByte(b[pos:], '\n')
		if i < 0 {
			return -1
		}
		line := b[pos : pos+i]
		pos += i + 1
		if len(line) < 4 || !digits(line[:3]) || line[3] != '-' {
			return pos
		}
	}
}

// isGreeting tells a greeting from a refusal, which the client is to see.
func isGreeting(p Protocol, b []byte) bool {
	want := map[Protocol]string{SMTP: "220", LMTP: "220", IMAP: "* OK", POP3: "+OK"}[p]
	return want != "" && bytes.HasPrefix(b, []byte(want))
}
