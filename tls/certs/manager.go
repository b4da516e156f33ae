package certs

import (
	"context"
	cryptotls "crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/tls"
)

// What is used of [Options] that are zero.
const (
	DefaultInterval = 10 * time.Second
	DefaultSettle   = 2 * time.Second
)

// A File is where a certificate and its key are.
type File struct {
	// Certificate is the name of a file in PEM or PKCS#12, with the issuers of the
	// certificate, if it has any, in any order. Several pairs in one file are
	// several certificates.
	Certificate string
	// Key is the name of a file with the key, in PEM or DER. When it is empty the
	// key is in the file of the certificate.
	Key string
	// Passphrase is asked whenever the file is read, if the key is encrypted. It
	// may be nil.
	Passphrase keystore.Passphrase
}

// Options say what a [Manager] has. It needs Files or ACME.
type Options struct {
	// Files are in the order of preference: among several for one name, and for
	// clients that name none, or one that is not there, the first counts that the
	// client can use.
	Files []File
	// ACME, if set, obtains certificates. They stand behind those of Files.
	ACME *ACME
	// StrictNames refuses clients that ask for a name that no certificate has, with
	// the alert unrecognized_name. Many mail clients ask for the name that people
	// have typed.
	StrictNames bool
	// OCSP gets responses to staple; nil means that none are stapled. A
	// fetch.Client should have no cache here, which would give a response again
	// that is to be renewed.
	OCSP pki.Fetcher
	// Clients, if set, has clients asked for certificates.
	Clients *Clients
	// TicketSecrets are the names of files with secrets of session tickets: see
	// tls.Tickets. The first makes new tickets. A file is the secret as it is, at
	// least 32 octets, such as "openssl rand 48" writes. Without any, crypto/tls has
	// random keys.
	TicketSecrets []string
	// Tickets say how their keys rotate. It may be nil.
	Tickets *tls.TicketOptions
	// Interval is how often files are looked at; DefaultInterval when zero, and
	// never when negative, but for Reload.
	Interval time.Duration
	// Settle is how long a file that has changed must stay as it is before it is
	// taken, so that no half of it is; DefaultSettle when zero.
	Settle time.Duration
	// Report, if set, is told what happens, one event at a time. It must not take
	// long, nor call Reload or Close.
	Report func(Event)
}

// A Manager keeps certificates. Its methods may be called by several goroutines.
type Manager struct {
	opts    Options
	tickets *tls.Tickets // nil without secrets; set by Open
	acme    *issuer      // nil without ACME
	clients *judge       // nil without

	set    atomic.Pointer[set]
	cancel context.CancelFunc
	ctx    context.Context
	group  sync.WaitGroup
	wake   chan struct{} // for who staples

	reporting sync.Mutex

	loading sync.Mutex // for what follows
	watched []*watch
	slots   [][]*entry // of Files, then of ACME
}

// Open reads all files and begins to watch them. An error is a *ConfigError, or
// those of all files that cannot be used, joined: each a *LoadError. Certificates by ACME
// that are not there yet are obtained later: see [Manager.Wait].
//
// Until Close the Manager has goroutines, and no others than its own.
func Open(opts *Options) (*Manager, error) {
	if opts == nil || len(opts.Files) == 0 && opts.ACME == nil {
		return nil, &ConfigError{"Files", "there are none, and no ACME"}
	}
	m := &Manager{opts: *opts, wake: make(chan struct{}, 1)}
	m.opts.Files = slices.Clone(opts.Files)
	if m.opts.Interval == 0 {
		m.opts.Interval = DefaultInterval
	}
	if m.opts.Settle <= 0 {
		m.opts.Settle = DefaultSettle
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	err := m.prepare()
	if err == nil {
		err = m.Reload()
	}
	if err != nil {
		m.cancel()
		return nil, err
	}
	m.start()
	return m, nil
}

// prepare makes what is to be watched.
func (m *Manager) prepare() error {
	for i, f := range m.opts.Files {
		if f.Certificate == "" {
			return &ConfigError{"Files", "one has no name"}
		}
		m.watchCertificate(i, f, false)
	}
	m.slots = make([][]*entry, len(m.opts.Files))
	if m.opts.ACME != nil {
		var err error
		if m.acme, err = newIssuer(m, m.opts.ACME); err != nil {
			return err
		}
		m.slots = append(m.slots, make([][]*entry, len(m.acme.orders))...)
	}
	if m.opts.Clients != nil {
		var err error
		if m.clients, err = m.opts.Clients.judge(); err != nil {
			return err
		}
		if len(m.clients.CAFiles) > 0 {
			m.watched = append(m.watched, &watch{files: m.clients.CAFiles, take: m.clients.takeCAs})
		}
	}
	if len(m.opts.TicketSecrets) > 0 {
		m.watched = append(m.watched, &watch{files: m.opts.TicketSecrets, take: m.takeSecrets})
	}
	m.set.Store(newSet(nil))
	return nil
}

func (m *Manager) start() {
	if m.opts.Interval > 0 {
		m.group.Go(m.watching)
	}
	if m.opts.OCSP != nil {
		m.group.Go(m.stapling)
	}
	if m.acme != nil {
		m.group.Go(m.acme.run)
	}
}

// Close ends what the Manager does. Configurations that it has given out go on
// with the certificates of that moment. It may be called twice.
func (m *Manager) Close() {
	m.cancel()
	m.group.Wait()
	if m.acme != nil {
		m.acme.close()
	}
}

func (m *Manager) report(e Event) {
	if m.opts.Report == nil {
		return
	}
	m.reporting.Lock()
	defer m.reporting.Unlock()
	m.opts.Report(e)
}

// GetCertificate chooses a certificate, as that of a cryptotls.Config does. Without
// one it returns nil, and crypto/tls refuses the client with unrecognized_name.
func (m *Manager) GetCertificate(hello *cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error) {
	return m.set.Load().choose(hello, m.opts.StrictNames, time.Now()), nil
}

// Config returns a copy of base, or of the profile Intermediate when it is nil,
// with all that the Manager has: certificates, client certificates, tickets. It is
// for tls.ServerConfig.TLS. What base itself says of these is replaced, and with
// Clients its GetConfigForClient, which could let clients in that are not judged.
func (m *Manager) Config(base *cryptotls.Config) *cryptotls.Config {
	c := tls.Intermediate.Config()
	if base != nil {
		c = base.Clone()
	}
	c.Certificates, c.GetCertificate = nil, m.GetCertificate
	if m.clients != nil {
		m.clients.apply(c)
	}
	if m.tickets != nil {
		m.tickets.Apply(c)
	}
	return c
}

// Accounts returns the accounts that the client of a connection may use by its
// certificate: see [Clients]. The error is a *ClientError.
func (m *Manager) Accounts(state *cryptotls.ConnectionState) ([]string, error) {
	if m.clients == nil {
		return nil, &ClientError{Err: ErrNoCertificate}
	}
	return m.clients.accounts(m.ctx, state)
}

// A Status says what is served, for people and monitors.
type Status struct {
	File      string    `json:"file"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Stapled is until when there is an OCSP response, zero if there is none.
	Stapled    time.Time `json:"stapled,omitzero"`
	MustStaple bool      `json:"mustStaple"`
	Revoked    bool      `json:"revoked"`
}

// Status returns what is served now, in the order of preference.
func (m *Manager) Status() []Status {
	now := time.Now()
	var out []Status
	for _, e := range m.set.Load().entries {
		st := e.status.Load()
		s := Status{
			File: e.file, Names: slices.Clone(e.names), MustStaple: e.mustStaple, Revoked: st.revoked,
			NotBefore: e.cert.Leaf.NotBefore, NotAfter: e.cert.Leaf.NotAfter,
		}
		if e.hasStaple(now) {
			s.Stapled = st.until
		}
		out = append(out, s)
	}
	return out
}

// takeSecrets is told of the files of TicketSecrets.
func (m *Manager) takeSecrets(data [][]byte, _ bool) error {
	if m.tickets != nil {
		return m.tickets.SetSecrets(data)
	}
	var err error
	m.tickets, err = tls.NewTickets(data, m.opts.Tickets)
	return err
}
