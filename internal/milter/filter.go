package milter

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	gomilter "github.com/emersion/go-milter"

	"github.com/postseal/postseal/internal/outgoing"
)

// A Filter answers a mail server. It is not changed while it serves.
type Filter struct {
	// Sealer has the policy; it is required. Its MaxMessage bounds a message; 0:
	// 100 MiB.
	Sealer *outgoing.Sealer

	// Keys returns those of an account, by the name that it has logged in with; nil
	// for one that is not known.
	Keys func(login string) outgoing.Keys

	// Owner returns the login name of the account that an address is one of, or "".
	// It is asked for mail of hosts in Trusted, and may be nil.
	Owner func(address string) string
	// Trusted are hosts whose mail is filtered although nobody has logged in, since
	// they are known to send mail of their own users alone. The mail server itself,
	// with mail from its command line, is 127.0.0.1.
	Trusted []netip.Prefix

	// Idle is how long a mail server may say nothing; 0: 30 minutes.
	Idle time.Duration
	// MaxRecipients bounds those of a message; 0: 1,000.
	MaxRecipients int
	// Log is told what happens, without secrets and content; nil is nobody.
	Log *slog.Logger
}

// Defaults of a Filter.
const (
	defaultIdle          = 30 * time.Minute
	defaultMaxMessage    = 100 << 20
	defaultMaxRecipients = 1000
)

// ServeConn serves a mail server until it leaves, and closes conn. When ctx is
// done it ends after the message that is under way.
func (f *Filter) ServeConn(ctx context.Context, conn net.Conn) {
	c := &deadlines{Conn: conn, idle: f.Idle, closed: make(chan struct{})}
	if c.idle <= 0 {
		c.idle = defaultIdle
	}
	s := &session{f: f, ctx: context.WithoutCancel(ctx), conn: conn}
	// One session for the connection: go-milter would make a new one after every
	// message, which knew nothing of the client.
	srv := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return s },
		Actions:   gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody,
		Protocol:  gomilter.OptNoHelo,
	}
	defer context.AfterFunc(ctx, s.drain)()
	_ = srv.Serve(&oneConn{c}) // its error is that there is no other connection
	<-c.closed
	s.forget()
}

func (f *Filter) log() *slog.Logger {
	if f.Log != nil {
		return f.Log
	}
	return slog.New(slog.DiscardHandler)
}

// trusts reports whether mail of a host is filtered without a login.
func (f *Filter) trusts(host netip.Addr) bool {
	return slices.ContainsFunc(f.Trusted, func(p netip.Prefix) bool { return host.IsValid() && p.Contains(host) })
}

// A oneConn is a listener for one connection.
type oneConn struct{ conn net.Conn }

// Accept returns the connection, and then net.ErrClosed.
func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *oneConn) Close() error { return nil }

// Addr implements net.Listener.
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }
