package smtpproxy

import (
	"context"
	cryptotls "crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/postseal/postseal/internal/aside"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/smime"
	"github.com/postseal/postseal/tls"
)

// Keys is what is known of one account.
type Keys = outgoing.Keys

// ErrNoIdentity says that an account has no identity for an address.
var ErrNoIdentity = outgoing.ErrNoIdentity

// A Proxy takes mail and gives it to an upstream. It is not changed while it
// serves.
type Proxy struct {
	// Name is that of this host, in greetings and notifications.
	Name string

	// Connect returns a connection to the upstream, protected as its policy asks.
	// greeted says that its greeting has been read, as on a connection after
	// STARTTLS.
	Connect func(ctx context.Context) (conn net.Conn, greeted bool, err error)

	// Route is asked in the place of Connect where it is there: for the mail
	// server of the account that a client wants to log in to, before it has. What
	// the server can do is not known then when the client says EHLO: it is offered
	// the mechanisms of saslrelay.Choosing, and no extensions but 8BITMIME and
	// CHUNKING.
	Route func(ctx context.Context, account string) (conn net.Conn, greeted bool, err error)

	// TLS is for STARTTLS, without which nothing else is to be had then (RFC 3207,
	// Section 4); nil when it is not offered. Whether a connection is TLS already
	// is seen from its type. Handshake bounds the time until there is TLS; 0: a
	// minute.
	TLS       *cryptotls.Config
	Handshake time.Duration

	// RequireLogin refuses mail of clients that have not logged in. The upstream
	// may take everything that comes from this host.
	RequireLogin bool

	// LoggedIn is told of each login that the upstream has accepted, before Keys
	// is asked. password is nil where the mechanism does not show it. It may be
	// nil.
	LoggedIn func(account string, password []byte)

	// Keys returns those of an account, by its login name, which is empty when
	// nobody has logged in or the name could not be seen. It may return nil.
	Keys func(account string) Keys

	// Rules is the policy. Tags are how people ask for more.
	Rules *policy.Rules
	Tags  policy.Tags

	// Replies says what becomes of messages that answer one that came encrypted,
	// which Memory knows; nil knows of none.
	Replies policy.Replies
	Memory  outgoing.Memory

	// Headers says how the header of what is encrypted is protected.
	Headers smime.HeaderPolicy

	// MaxMessage bounds a message, in octets; 0: 100 MiB. MaxRecipients bounds the
	// recipients of one; 0: 1,000.
	MaxMessage    int64
	MaxRecipients int

	// Idle is how long a client may say nothing; 0: 5 minutes (RFC 5321, Section
	// 4.5.3.2.7).
	Idle time.Duration

	// SpoolDir is the folder of temporary files. "": the system's.
	SpoolDir string

	// Log is told what happens, without secrets and content; nil is nobody.
	Log *slog.Logger

	// Now is the clock; nil: time.Now.
	Now func() time.Time

	once    sync.Once // for what follows
	sealer  *outgoing.Sealer
	toTLS   *tls.Server
	problem error  // of the configuration of TLS
	base    *Proxy // with which it shares the keys of TLS sessions, of a copy

	rest time.Duration // restTime when zero
}

// Copy returns a Proxy that shares the keys of TLS sessions with p, unless it is
// given another TLS, and may be given other fields before it serves: for one
// connection, say.
func (p *Proxy) Copy() *Proxy {
	return &Proxy{Name: p.Name, Connect: p.Connect, Route: p.Route, TLS: p.TLS, Handshake: p.Handshake,
		RequireLogin: p.RequireLogin, LoggedIn: p.LoggedIn, Keys: p.Keys, Rules: p.Rules, Tags: p.Tags, Replies: p.Replies,
		Memory: p.Memory, Headers: p.Headers, MaxMessage: p.MaxMessage, MaxRecipients: p.MaxRecipients, Idle: p.Idle,
		SpoolDir: p.SpoolDir, Log: p.Log, Now: p.Now, base: p, rest: p.rest}
}

// Defaults of a Proxy.
const (
	defaultMaxMessage    = 100 << 20
	defaultMaxRecipients = 1000
	defaultIdle          = 5 * time.Minute
)

// growth is how much larger a message gets by being protected, at most: base64
// in lines, signatures and certificates, and one part for each recipient.
func grown(size int64, recipients int) int64 {
	return size + size*2/5 + 32<<10 + int64(recipients)*2<<10
}

// shrunk is the largest size whose grown size fits.
func shrunk(size int64) int64 { return max((size-32<<10)*5/7, 1) }

// prepare makes what all connections share.
func (p *Proxy) prepare() {
	p.sealer = &outgoing.Sealer{Rules: p.Rules, Tags: p.Tags, Replies: p.Replies, Memory: p.Memory, Headers: p.Headers,
		MaxMessage: p.maxMessage(), SpoolDir: p.SpoolDir, Now: p.Now}
	if p.base != nil && p.base.TLS == p.TLS {
		p.base.once.Do(p.base.prepare)
		p.toTLS, p.problem = p.base.toTLS, p.base.problem
		return
	}
	if p.TLS != nil {
		p.toTLS, p.problem = tls.NewServer(&tls.ServerConfig{Protocol: tls.SMTP, Mode: tls.StartTLS, TLS: p.TLS,
			Greeting: p.Name + " ESMTP ready", Timeout: p.Handshake})
	}
}

// ServeConn serves a client until it leaves, and closes conn. When ctx is done the
// client may finish the message that it is in the middle of.
func (p *Proxy) ServeConn(ctx context.Context, conn net.Conn) {
	p.once.Do(p.prepare)
	b := &backend{p: p, ctx: context.WithoutCancel(ctx), client: conn.RemoteAddr()}
	_, b.secure = conn.(*cryptotls.Conn)
	upgraded := p.TLS != nil && !b.secure
	if upgraded {
		if conn = p.startTLS(ctx, conn); conn == nil {
			return
		}
		b.secure = true
	}
	b.front = newFront(conn, p.idle(), p.maxMessage(), upgraded, b.keywords)
	b.front.mayRest, b.front.rest = b.mayRest, restTime
	if p.rest > 0 {
		b.front.rest = p.rest
	}
	defer context.AfterFunc(ctx, b.drain)()
	b.serve()
	b.hangUp()
}

// startTLS brings a client to TLS; it returns nil when that fails.
func (p *Proxy) startTLS(ctx context.Context, conn net.Conn) net.Conn {
	if p.problem != nil {
		p.log().Error("STARTTLS is not possible", "error", p.problem)
		_ = conn.Close() // nothing was said
		return nil
	}
	var session *tls.Session
	var err error
	aside.Do(func() { session, err = p.toTLS.Handshake(ctx, conn) })
	if err != nil {
		p.log().Info("a client did not come to TLS", "client", conn.RemoteAddr().String(), "error", err)
		return nil
	}
	return session.Conn
}

func (p *Proxy) maxMessage() int64 {
	if p.MaxMessage > 0 {
		return p.MaxMessage
	}
	return defaultMaxMessage
}

func (p *Proxy) maxRecipients() int {
	if p.MaxRecipients > 0 {
		return p.MaxRecipients
	}
	return defaultMaxRecipients
}

func (p *Proxy) idle() time.Duration {
	if p.Idle > 0 {
		return p.Idle
	}
	return defaultIdle
}

func (p *Proxy) log() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (p *Proxy) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// quiet takes go-smtp's log, which is about clients that hang up.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, _ ...any) { q.log.Debug("smtp server", "event", format) }
func (q quiet) Println(...any)                 { q.log.Debug("smtp server") }

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
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
