package upstream

import (
	"cmp"
	"context"
	"crypto/x509"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// A Place is where a mail server is, or where it says that it is, and whom it has
// to be.
type Place struct {
	policy.Target
	protection *config.Protection
}

// String returns host and port, or the domain.
func (p Place) String() string {
	if p.SRV != "" {
		return "of " + p.SRV + " (" + p.Mode.String() + ")"
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
}

// A Finder finds the mail servers of a listener.
type Finder struct {
	conf     *config.Config
	listener *config.Listener
	protocol tls.Protocol
	resolver dane.Resolver
	roots    map[string]*x509.CertPool // by file

	mu      sync.Mutex
	dialers map[*config.Protection]*policy.Dialer
}

// NeedsResolver reports whether a listener needs the DNS: for SRV records, or for
// DANE.
func NeedsResolver(c *config.Config, l *config.Listener) bool {
	switch l.Upstream.Find {
	case config.FindSRV, config.FindLogin:
		return true
	}
	return l.Upstream.Policy.DANE != policy.Ignore
}

// NewFinder reads the authorities that are trusted for the upstreams of a
// listener. The resolver may be nil when none is needed.
func NewFinder(c *config.Config, l *config.Listener, r dane.Resolver, roots func(file string) (*x509.CertPool, error)) (*Finder, error) {
	f := &Finder{conf: c, listener: l, protocol: tls.SMTP, resolver: r, roots: make(map[string]*x509.CertPool), dialers: make(map[*config.Protection]*policy.Dialer)}
	if l.Protocol == config.IMAP4 {
		f.protocol = tls.IMAP
	}
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

// Tells returns how a server is told the address of a client.
func (f *Finder) Tells() string { return f.listener.Upstream.ClientAddress }

// ByLogin reports whether the server depends on who logs in.
func (f *Finder) ByLogin() bool { return f.listener.Upstream.Find == config.FindLogin }

// Find returns the places that are to be tried, in their order; at least one when
// the error is nil. The account is for those that are found by its domain.
func (f *Finder) Find(ctx context.Context, c *Client, account string) ([]Place, error) {
	u := &f.listener.Upstream
	switch u.Find {
	case config.FindSRV:
		return f.bySRV(ctx, u.Domain, u.Targets, &u.Protection)
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
		host := c.Destination.Addr().String()
		return []Place{{policy.Target{Protocol: f.protocol, Mode: u.Mode, Host: host, Port: c.Destination.Port(), ServerName: cmp.Or(c.Name(), host)}, &u.Protection}}, nil
	}
	return []Place{f.fixed(&u.Place)}, nil
}

func (f *Finder) fixed(p *config.Place) Place {
	return Place{policy.Target{Protocol: f.protocol, Mode: p.Mode, Host: p.Host, Port: uint16(p.Port), ServerName: p.Name}, &p.Protection}
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
	return f.bySRV(ctx, d.Name, d.Targets, &d.Protection)
}
