package main

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/account"
	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/internal/aside"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/imapproxy"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

// A state is what comes of one configuration. Connections go on with the one that
// they have begun with; it is closed when the last of them has ended and another
// has taken its place.
type state struct {
	conf     *config.Config
	accounts *account.Set
	facts    facts.Store
	file     *facts.Database // that facts are in, or nil
	services []*service      // one for each listener of conf

	mu    sync.Mutex
	users int // connections, and one while it is the current state
}

// A service is what is done with the connections of a listener.
type service struct {
	conf     *config.Listener
	state    *state
	identity *identity // nil for plaintext
	dial     *upstream.Dialer
	port     uint16           // that of the socket
	smtp     *smtpproxy.Proxy // of which each connection has a copy
	imap     *imapproxy.Proxy
	kept     *kept
	log      *slog.Logger
}

// kept is what outlives configurations.
type kept struct {
	memory  facts.Store // of messages, where no file is configured
	metrics metrics
	loops   upstream.Loops
}

// newState makes the state of a configuration.
func newState(ctx context.Context, c *config.Config, k *kept, log *slog.Logger) (_ *state, err error) {
	s := &state{conf: c, users: 1}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.accounts, err = account.Open(ctx, c); err != nil {
		return nil, err
	}
	if s.facts = k.memory; c.IMAP.Facts != "" {
		if s.file, err = facts.Open(ctx, c.IMAP.Facts); err != nil {
			return nil, err
		}
		s.facts = s.file
	}
	resolver := sync.OnceValues(func() (dane.Resolver, error) { return c.Resolver() })
	for i := range c.Listeners {
		sv := &service{conf: &c.Listeners[i], state: s, kept: k, log: log.With("protocol", c.Listeners[i].Protocol)}
		s.services = append(s.services, sv)
		if err = sv.prepare(resolver); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// prepare reads what a listener needs.
func (sv *service) prepare(resolver func() (dane.Resolver, error)) (err error) {
	c := sv.state.conf
	if sv.identity, err = newIdentity(sv.conf, c.Server.Name, sv.log); err != nil {
		return err
	}
	sv.dial, err = newDialer(c, sv.conf, resolver)
	if err == nil {
		sv.dial.Loops = &sv.kept.loops
		sv.proxies()
	}
	return err
}

// newDialer returns how the mail servers of a listener are found and connected to.
func newDialer(c *config.Config, l *config.Listener, resolver func() (dane.Resolver, error)) (*upstream.Dialer, error) {
	var r dane.Resolver
	if upstream.NeedsResolver(c, l) {
		var err error
		if r, err = resolver(); err != nil {
			return nil, err
		}
	}
	f, err := upstream.NewFinder(c, l, r, func(file string) (*x509.CertPool, error) {
		pool, rootsErr := config.Roots(file)
		if errors.Is(rootsErr, config.ErrNoPEM) {
			rootsErr = &certificateError{file, config.ErrNoPEM}
		}
		return pool, rootsErr
	})
	if err != nil {
		return nil, err
	}
	return &upstream.Dialer{Finder: f, Name: c.Server.Name}, nil
}

// serving returns what serves a client until it leaves; nil when it has not come to
// TLS. What is needed only before does not stay on the stack meanwhile.
func (sv *service) serving(ctx context.Context, conn net.Conn, c *upstream.Client) func() {
	config4 := sv.identity.config(c)
	if sv.conf.Mode == tls.Implicit {
		over := cryptotls.Server(conn, config4)
		shake, cancel := context.WithTimeout(ctx, time.Duration(sv.state.conf.Limits.Handshake))
		var err error
		aside.Do(func() { err = over.HandshakeContext(shake) })
		cancel()
		if err != nil {
			sv.kept.metrics.handshakeFailures.Add(1)
			sv.log.Info("a TLS handshake failed", "client", c.Addr.Addr().String(), "error", err)
			return nil
		}
		conn = over
	}
	if sv.conf.Mode != tls.StartTLS {
		config4 = nil
	}
	user := sv.state.accounts.Connection(sv.log)
	end := user.Close
	loggedIn := func(login string, password []byte) {
		sv.kept.metrics.logins[protocolIndex(sv.conf.Protocol)].Add(1)
		user.LoggedIn(login, password)
	}
	if sv.conf.Login != config.LoginOptional {
		late := time.AfterFunc(time.Duration(sv.state.conf.Limits.Login), func() {
			sv.log.Info("a client has not logged in for too long", "client", c.Addr.Addr().String())
			_ = conn.Close() // there is nothing that could be lost
		})
		end = func() {
			late.Stop()
			user.Close()
		}
		count := loggedIn
		loggedIn = func(login string, password []byte) {
			late.Stop()
			count(login, password)
		}
	}
	connect := func(ctx context.Context) (net.Conn, bool, error) { return sv.connect(ctx, c, "") }
	var route func(ctx context.Context, account string) (net.Conn, bool, error)
	if sv.dial.ByLogin() {
		route = func(ctx context.Context, account string) (net.Conn, bool, error) { return sv.connect(ctx, c, account) }
	}
	log := logOf(sv.log, c.Addr.Addr().String())
	if sv.conf.Protocol == config.IMAP4 {
		p := sv.imap.Copy()
		p.Connect, p.Route, p.TLS, p.RequireTLS, p.Server, p.Log = connect, route, config4, config4 != nil, sv.place(c), log
		p.Open, p.LoggedIn, p.Learn, p.Secret = user.Options, loggedIn, user.Learn, user.Secret
		p.Append = user.Keeping
		return func() {
			defer end()
			p.ServeConn(ctx, conn)
		}
	}
	p := sv.smtp.Copy()
	p.Connect, p.Route, p.TLS, p.Log = connect, route, config4, log
	p.Keys, p.LoggedIn = user.Keys, loggedIn
	return func() {
		defer end()
		p.ServeConn(ctx, conn)
	}
}

// proxies makes what the connections of a listener have in common.
func (sv *service) proxies() {
	c := sv.state.conf
	if sv.conf.Protocol == config.IMAP4 {
		sv.imap = &imapproxy.Proxy{Name: c.Server.Name, HideID: sv.conf.Upstream.ClientAddress == config.TellID, Facts: sv.state.facts,
			Undecrypted: c.IMAP.Undecrypted, MaxAppend: c.Limits.Message, Idle: time.Duration(c.Limits.IdleIMAP), SpoolDir: c.Server.Spool}
		return
	}
	sv.smtp = &smtpproxy.Proxy{Name: c.Server.Name, RequireLogin: sv.conf.Login != config.LoginOptional, Handshake: time.Duration(c.Limits.Handshake),
		Rules: c.Policy, Tags: policy.Tags{Sign: c.Tags.Sign, Encrypt: c.Tags.Encrypt, Field: c.Tags.Field},
		Replies: c.Sending.Replies, Memory: sv.state.facts, Headers: c.Sending.Headers,
		MaxMessage: c.Limits.Message, MaxRecipients: c.Limits.Recipients, Idle: time.Duration(c.Limits.IdleSMTP), SpoolDir: c.Server.Spool}
	if sv.identity != nil && sv.conf.Mode == tls.StartTLS {
		sv.smtp.TLS = sv.identity.base
	}
}

// connect is that of the proxies.
func (sv *service) connect(ctx context.Context, c *upstream.Client, account string) (net.Conn, bool, error) {
	if sv.kept.loops.Is(c.Peer, c.To) {
		sv.kept.metrics.refused.Add(1)
		return nil, false, upstream.ErrLoop
	}
	var conn net.Conn
	var greeted bool
	var err error
	aside.Do(func() { conn, greeted, err = sv.dial.Connect(ctx, c, account) })
	if err != nil {
		sv.kept.metrics.upstreamFailures.Add(1)
	}
	return conn, greeted, err
}

// place names where the mailboxes of a client are, to tell those of one server
// from those of another. Those of a host are the same at all of its ports.
func (sv *service) place(c *upstream.Client) string {
	u := &sv.conf.Upstream
	switch u.Find {
	case config.FindSRV:
		return "srv " + u.Domain
	case config.FindLogin:
		return "login" // whose name has the domain in it
	case config.FindDestination:
		return c.Destination.Addr().String()
	}
	return u.Host + " " + u.Name
}

// use counts a connection, and release ends its use.
func (s *state) use() {
	s.mu.Lock()
	s.users++
	s.mu.Unlock()
}

func (s *state) release() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if last {
		_ = s.close() // everything was read; what was written is written
	}
}

func (s *state) close() error {
	var errs []error
	if s.accounts != nil {
		errs = append(errs, s.accounts.Close())
	}
	for _, sv := range s.services {
		sv.identity.close()
	}
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}
