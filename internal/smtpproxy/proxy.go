package smtpproxy

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/recipients"
)

// Keys is what is known of one account: with what it signs, and to whom it can
// encrypt. Implementations are safe for concurrent use.
type Keys interface {
	// Signer returns how to sign in the name of an address, which has to be one
	// of the account's. The error wraps ErrNoIdentity when there is no identity;
	// any other error is a failure that may pass.
	Signer(ctx context.Context, address string) (*cms.Signer, error)
	// Recipient returns the certificate to encrypt to an address with. The error
	// is a [*recipients.NoneError] or a [*recipients.UntrustedError] when there is
	// none; any other error is a failure that may pass.
	Recipient(ctx context.Context, address string) (*recipients.Candidate, error)
}

// ErrNoIdentity says that an account has no identity for an address.
var ErrNoIdentity = errors.New("there is no identity for this address")

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
	// the mechanisms of saslrelay.Choosing, and no extensions.
	Route func(ctx context.Context, account string) (conn net.Conn, greeted bool, err error)

	// TLS is for STARTTLS; nil when it is not offered. Whether a connection is
	// TLS already is seen from its type. Without RequireTLS clients may send
	// mail, though not log in, on a connection that anybody can read.
	TLS        *cryptotls.Config
	RequireTLS bool

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
}

// Defaults of a Proxy.
const (
	defaultMaxMessage    = 100 << 20
	defaultMaxRecipients = 1000
	defaultIdle          = 5 * time.Minute
)

// maxLine is the longest line of a client, in octets. RFC 4954, Section 4 has
// 12,288 for authentication; go-smtp applies it to the lines of messages, too.
const maxLine = 1 << 20

// growth is how much larger a message gets by being protected, at most: base64
// in lines, signatures and certificates, and one part for each recipient.
func grown(size int64, recipients int) int64 {
	return size + size*2/5 + 32<<10 + int64(recipients)*2<<10
}

// shrunk is the largest size whose grown size fits.
func shrunk(size int64) int64 { return max((size-32<<10)*5/7, 1) }

// ServeConn serves a client until it leaves, and closes conn. When ctx is done the
// client may finish the message that it is in the middle of.
func (p *Proxy) ServeConn(ctx context.Context, conn net.Conn) {
	b := &backend{p: p, ctx: context.WithoutCancel(ctx), conn: conn}
	srv := smtp.NewServer(b)
	srv.Domain = p.Name
	srv.TLSConfig = p.TLS
	srv.MaxLineLength = maxLine
	srv.MaxRecipients = p.maxRecipients()
	srv.MaxMessageBytes = p.maxMessage()
	srv.ReadTimeout, srv.WriteTimeout = p.idle(), p.idle()
	srv.ErrorLog = quiet{p.log()}
	if _, isTLS := conn.(*cryptotls.Conn); !isTLS {
		conn = &guard{Conn: conn}
	}
	l := &oneConn{conn: conn, taken: make(chan struct{}), done: make(chan struct{})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l) // its error is that there is no other connection
	}()
	<-l.taken
	defer context.AfterFunc(ctx, b.drain)()
	_ = srv.Shutdown(context.Background()) // waits for the connection to end
	<-served
	b.hangUp()
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
type oneConn struct {
	conn  net.Conn
	taken chan struct{} // closed when somebody serves the connection
	done  chan struct{} // closed by Close
}

// Accept returns the connection, and after Close net.ErrClosed.
func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	close(l.taken)
	<-l.done
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *oneConn) Close() error {
	close(l.done)
	return nil
}

// Addr implements net.Listener.
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
