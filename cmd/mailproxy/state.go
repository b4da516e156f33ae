package main

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/account"
	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/imapproxy"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/tls"
)

// A state is what comes of one configuration. Connections go on with the one that
// they have begun with; it is closed when the last of them has ended and another
// has taken its place.
type state struct {
	conf     *config.Config
	accounts *account.Set
	services []*service // one for each listener of conf

	mu    sync.Mutex
	users int // connections, and one while it is the current state
}

// A service is what is done with the connections of a listener.
type service struct {
	conf  *config.Listener
	tls   *cryptotls.Config
	dial  *dialer
	serve func(ctx context.Context, conn net.Conn)
}

// newState makes the state of a configuration. memory is what is kept beyond it.
func newState(ctx context.Context, c *config.Config, memory *memory, m *metrics, log *slog.Logger) (_ *state, err error) {
	s := &state{conf: c, users: 1}
	if s.accounts, err = account.Open(ctx, c); err != nil {
		return nil, err
	}
	for i := range c.Listeners {
		sv, serviceErr := s.service(&c.Listeners[i], memory, m, log)
		if serviceErr != nil {
			return nil, errors.Join(serviceErr, s.accounts.Close())
		}
		s.services = append(s.services, sv)
	}
	return s, nil
}

func (s *state) service(l *config.Listener, memory *memory, m *metrics, log *slog.Logger) (*service, error) {
	c := s.conf
	config4, err := listenerTLS(l, c.Server.Name)
	if err != nil {
		return nil, err
	}
	sv := &service{conf: l, tls: config4}
	if sv.dial, err = newDialer(l, c.Server.Name, m); err != nil {
		return nil, err
	}
	startTLS := config4
	if l.Mode != tls.StartTLS {
		startTLS = nil
	}
	log = log.With("protocol", l.Protocol)
	if l.Protocol == config.IMAP4 {
		p := &imapproxy.Proxy{Name: c.Server.Name, Connect: sv.dial.connect, TLS: startTLS, RequireTLS: startTLS != nil, Open: s.accounts.Options,
			Facts: memory.facts(sv.dial.address), Idle: time.Duration(c.Limits.IdleIMAP), SpoolDir: c.Server.Spool, Log: log}
		sv.serve = p.ServeConn
		return sv, nil
	}
	p := &smtpproxy.Proxy{Name: c.Server.Name, Connect: sv.dial.connect, TLS: startTLS, Keys: s.accounts.Keys,
		Rules: c.Policy, Tags: policy.Tags{Sign: c.Tags.Sign, Encrypt: c.Tags.Encrypt, Field: c.Tags.Field},
		MaxMessage: c.Limits.Message, MaxRecipients: c.Limits.Recipients, Idle: time.Duration(c.Limits.IdleSMTP), SpoolDir: c.Server.Spool, Log: log}
	sv.serve = p.ServeConn
	return sv, nil
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
		_ = s.accounts.Close() // everything was read; what was written is written
	}
}

// memory is what is remembered across configurations.
type memory struct {
	mu  sync.Mutex
	all map[string]facts.Store
}

// facts returns what was decided of the messages of a server.
func (m *memory) facts(address string) facts.Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = make(map[string]facts.Store)
	}
	if m.all[address] == nil {
		m.all[address] = facts.NewMemory()
	}
	return m.all[address]
}

// A dialer connects to an upstream.
type dialer struct {
	address string
	client  *tls.ClientConfig
	metrics *metrics
}

func newDialer(l *config.Listener, name string, m *metrics) (*dialer, error) {
	pool, err := roots(l.Upstream.CA)
	if err != nil {
		return nil, err
	}
	d := &dialer{address: net.JoinHostPort(l.Upstream.Host, strconv.Itoa(l.Upstream.Port)), metrics: m}
	d.client = &tls.ClientConfig{Protocol: tls.SMTP, Mode: l.Upstream.Mode, LocalName: name,
		TLS: &cryptotls.Config{ServerName: l.Upstream.Name, RootCAs: pool, MinVersion: cryptotls.VersionTLS12}}
	if l.Protocol == config.IMAP4 {
		d.client.Protocol = tls.IMAP
	}
	return d, nil
}

func (d *dialer) session(ctx context.Context) (*tls.Session, error) {
	return tls.Dial(ctx, "tcp", d.address, d.client)
}

// connect is that of the proxies.
func (d *dialer) connect(ctx context.Context) (net.Conn, bool, error) {
	s, err := d.session(ctx)
	if err != nil {
		d.metrics.upstreamFailures.Add(1)
		return nil, false, err
	}
	return s.Conn, s.Next != tls.NextGreeting, nil
}
