package imapproxy

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/smime"
)

// A Proxy shows mailboxes of an upstream. It is not changed while it serves.
type Proxy struct {
	// Name is that of this host, in the greeting.
	Name string

	// Connect returns a connection to the upstream, protected as its policy asks.
	// greeted says that its greeting has been read, as on a connection after
	// STARTTLS.
	Connect func(ctx context.Context) (conn net.Conn, greeted bool, err error)

	// Route is asked in the place of Connect where it is there: for the mail
	// server of the account that a client wants to log in to, before it has. The
	// client may log in by the mechanisms of saslrelay.Choosing then; when the
	// server refuses that, the connection ends, since the next account may be one
	// of another server.
	Route func(ctx context.Context, account string) (conn net.Conn, greeted bool, err error)

	// TLS is for STARTTLS; nil when it is not offered. Whether a connection is
	// TLS already is seen from its type. With RequireTLS nothing but STARTTLS is
	// possible before.
	TLS        *cryptotls.Config
	RequireTLS bool

	// HideID keeps ID (RFC 2971) from the upstream until the client has logged in:
	// for an upstream that believes this host what it says there of the client.
	HideID bool

	// LoggedIn is told of each login that the upstream has accepted, before Open is
	// asked. password is nil where the mechanism does not show it. It may be nil.
	LoggedIn func(account string, password []byte)

	// Learn is given each message that is opened for the first time, with the time
	// at which the upstream has received it, for those who collect certificates.
	// The message is not to be kept. It may be nil.
	Learn func(account string, m *smime.Message, received time.Time)

	// Open returns how the messages of an account are opened, by its login name;
	// nil shows them as they are. It is called once after each login.
	Open func(account string) (*render.Options, error)

	// Undecrypted is the end of login names that are for mail as it is stored, as
	// backups want it: nothing is opened then, and nothing that is stored is
	// protected. It is taken off before the upstream sees the name, where the
	// mechanism lets that be: SCRAM does not. "": there is none.
	Undecrypted string

	// Append returns what becomes of messages that an account stores in a mailbox.
	// use is the special use of the mailbox (RFC 6154) in lower case, such as
	// "\sent", or "". nil, and an Append that returns nil, stores them as they are.
	Append func(account, mailbox, use string) *Keeping

	// MaxAppend bounds a message that is protected before it is stored, in octets;
	// 0: no limit.
	MaxAppend int64

	// Facts remembers what was decided of messages, and which came encrypted; nil
	// remembers the former for as long as a connection lasts. Server is the name of
	// the upstream there. It is not closed.
	Facts  facts.Store
	Server string

	// Secret returns what facts of an account are encrypted under: at least 16
	// octets that are on no disk in the clear, and the same after a restart. nil,
	// and a Secret that returns nil, uses a key that ends with this process: the
	// facts of messages with S/MIME are found out anew by the next one then.
	Secret func(account string) ([]byte, error)

	// Idle is how long a client may say nothing; 0: 30 minutes (RFC 3501, Section
	// 5.4).
	Idle time.Duration

	// SpoolDir is the folder of temporary files. "": the system's.
	SpoolDir string

	// Log is told what happens, without secrets and content; nil is nobody.
	Log *slog.Logger

	cache cache
	base  *Proxy // whose cache it is, of a copy
}

// Copy returns a Proxy that shares what p holds in memory, and may be given other
// fields before it serves: for one connection, say.
func (p *Proxy) Copy() *Proxy {
	base := p
	if p.base != nil {
		base = p.base
	}
	return &Proxy{Name: p.Name, Connect: p.Connect, Route: p.Route, TLS: p.TLS, RequireTLS: p.RequireTLS, HideID: p.HideID,
		LoggedIn: p.LoggedIn, Learn: p.Learn, Open: p.Open, Undecrypted: p.Undecrypted, Append: p.Append, MaxAppend: p.MaxAppend, Facts: p.Facts, Server: p.Server, Secret: p.Secret, Idle: p.Idle,
		SpoolDir: p.SpoolDir, Log: p.Log, base: base}
}

const (
	defaultIdle     = 30 * time.Minute
	handshakeTime   = time.Minute
	upstreamTimeout = 10 * time.Minute // for the answer to a command
	clientTimeout   = 10 * time.Minute // for taking what was written
)

func (p *Proxy) log() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (p *Proxy) idle() time.Duration {
	if p.Idle > 0 {
		return p.Idle
	}
	return defaultIdle
}

// ServeConn serves a client until it leaves, the upstream does, or ctx is done,
// and closes conn.
func (p *Proxy) ServeConn(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newSession(ctx, p, conn)
	defer context.AfterFunc(ctx, s.hangUp)()
	err := s.serve()
	if err != nil && !errors.Is(err, errLeft) && ctx.Err() == nil {
		p.log().Info("imap connection ended", "account", s.account, "error", err)
	}
	s.hangUp()
	s.wait()
}
