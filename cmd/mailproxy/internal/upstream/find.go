package upstream

import (
	"context"
	"crypto/x509"
	"net"
	"strconv"
	"strings"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
)

// A Place is where a mail server is, and how it is known.
type Place struct {
	Address string // host:port
	Mode    tls.Mode
	// Names are those of which its certificate has to have one, for the first of
	// which it is asked.
	Names []string

	roots *x509.CertPool
}

// A Finder finds the mail servers of a listener.
type Finder struct {
	conf     *config.Config
	listener *config.Listener
	resolver Resolver
	roots    map[string]*x509.CertPool // by file
}

// NewFinder reads the authorities that are trusted for the upstreams of a
// listener. The resolver may be nil when none is needed.
func NewFinder(c *config.Config, l *config.Listener, r Resolver, roots func(file string) (*x509.CertPool, error)) (*Finder, error) {
	f := &Finder{conf: c, listener: l, resolver: r, roots: make(map[string]*x509.CertPool)}
	files := []string{l.Upstream.CA}
	for i := range c.Domains {
		files = append(files, c.Domains[i].CA)
		if p := f.place(&c.Domains[i]); p != nil {
			files = append(files, p.CA)
		}
	}
	for _, file := range files {
		pool, err := roots(file)
		if err != nil {
			return nil, err
		}
		f.roots[file] = pool
	}
	return f, nil
}

// place returns where a domain has its server, or nil for by SRV records.
func (f *Finder) place(d *config.Domain) *config.Place {
	if f.listener.Protocol == config.IMAP4 {
		return d.IMAP
	}
	return d.SMTP
}

// ByLogin reports whether the server depends on who logs in.
func (f *Finder) ByLogin() bool { return f.listener.Upstream.Find == config.FindLogin }

// Find returns the places that are to be tried, in their order; at least one when
// the error is nil. The account is for those that are found by its domain.
func (f *Finder) Find(ctx context.Context, c *Client, account string) ([]Place, error) {
	u := &f.listener.Upstream
	switch u.Find {
	case config.FindSRV:
		return f.bySRV(ctx, u.Domain, u.Targets, u.CA)
	case config.FindLogin:
		d, err := f.Domain(account)
		if err != nil {
			return nil, err
		}
		return f.OfDomain(ctx, d)
	case config.FindDestination:
		if c == nil || !c.Destination.IsValid() {
			return nil, &DestinationError{Reason: "nobody led this connection here"}
		}
		// The client checks whether the name belongs to where it connects to: it
		// is the one that its user has typed in.
		name := c.Name()
		if name == "" {
			name = c.Destination.Addr().String()
		}
		return []Place{{Address: c.Destination.String(), Mode: u.Mode, Names: []string{name}, roots: f.roots[u.CA]}}, nil
	}
	return []Place{f.fixed(&u.Place)}, nil
}

func (f *Finder) fixed(p *config.Place) Place {
	return Place{Address: net.JoinHostPort(p.Host, strconv.Itoa(p.Port)), Mode: p.Mode, Names: []string{p.Name}, roots: f.roots[p.CA]}
}

// Domain returns the configured domain of a login name. The error is a
// *DomainError.
func (f *Finder) Domain(account string) (*config.Domain, error) {
	name := strings.ToLower(account[strings.LastIndexByte(account, '@')+1:])
	if len(name) == len(account) {
		name = "" // there is no domain
	}
	for i := range f.conf.Domains {
		if d := &f.conf.Domains[i]; name == d.Name {
			return d, nil
		}
	}
	return nil, &DomainError{name}
}

// OfDomain returns the places of a domain.
func (f *Finder) OfDomain(ctx context.Context, d *config.Domain) ([]Place, error) {
	if p := f.place(d); p != nil {
		return []Place{f.fixed(p)}, nil
	}
	return f.bySRV(ctx, d.Name, d.Targets, d.CA)
}
