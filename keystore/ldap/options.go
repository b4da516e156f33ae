package ldap

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/tls"
)

// Defaults of [Options].
const (
	DefaultTimeout      = 20 * time.Second
	DefaultOctets       = 8 << 20
	DefaultEntries      = 20
	DefaultCertificates = 100
)

// A Scope says which entries are searched (RFC 4511, Section 4.5.1.2).
type Scope int

// The scopes.
const (
	Subtree  Scope = iota // the base and all below it
	OneLevel              // what is immediately below the base
	BaseOnly              // the base alone
)

// Options say which directory is asked, and how. Address and Base are required.
type Options struct {
	// Address is where the directory is, as host:port.
	Address string
	// Mode is TLS from the start when zero, else tls.StartTLS, or
	// tls.InsecurePlaintext: then everybody on the way sees who is asked for, and
	// can answer. The opportunistic mode is refused.
	Mode tls.Mode
	// TLS is the configuration of TLS, which is copied. Nil, or without a
	// ServerName: the name in Address has to be in the server's certificate, and
	// authorities of the system vouch for it.
	TLS *cryptotls.Config

	// Base is the distinguished name under which people are (RFC 4514).
	Base  string
	Scope Scope
	// Filter is a template (RFC 4515): in its values "{address}" stands for the
	// address, "{local}" and "{domain}" for its parts. "": [DefaultFilter].
	Filter string

	// BindDN is the name under which the directory is asked, with simple bind;
	// "" is anonymous. Password then returns the password, and is asked for every
	// Find. It needs TLS.
	BindDN   string
	Password func() ([]byte, error)

	// Timeout bounds the time of a Find; 0 is DefaultTimeout.
	Timeout time.Duration
	// Octets bounds an answer, Entries the entries in it and Certificates what
	// Find returns, of which it takes the best. 0 is the default of each.
	Octets, Entries, Certificates int

	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Dial connects to Address; nil is that of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Finder asks a directory. It makes a connection for every Find and has nothing
// to close. It may be used by several goroutines.
type Finder struct {
	opts   Options
	filter *filter
}

var _ keystore.Finder = (*Finder)(nil)

// New returns a Finder. The options are copied. Nothing is connected to yet. The
// error is a [*ConfigError].
func New(opts *Options) (*Finder, error) {
	if opts == nil {
		opts = &Options{}
	}
	f := &Finder{opts: *opts}
	o := &f.opts
	host, port, err := net.SplitHostPort(o.Address)
	switch {
	case err != nil || host == "" || port == "":
		return nil, &ConfigError{"Address", "is not a host and a port"}
	case o.Mode != tls.Implicit && o.Mode != tls.StartTLS && o.Mode != tls.InsecurePlaintext:
		return nil, &ConfigError{"Mode", "is none of TLS from the start, StartTLS and plaintext"}
	case o.Scope < Subtree || o.Scope > BaseOnly:
		return nil, &ConfigError{"Scope", "is not one of the constants"}
	case o.Timeout < 0 || o.Octets < 0 || o.Entries < 0 || o.Certificates < 0:
		return nil, &ConfigError{"Timeout, Octets, Entries or Certificates", "is negative"}
	}
	if err = o.checkBase(); err != nil {
		return nil, err
	}
	if err = o.checkBind(); err != nil {
		return nil, err
	}
	if o.Filter == "" {
		o.Filter = DefaultFilter
	}
	if f.filter, err = newFilter(o.Filter); err != nil {
		return nil, err
	}
	o.setDefaults(host)
	return f, nil
}

func (o *Options) setDefaults(host string) {
	o.TLS = o.TLS.Clone()
	if o.TLS == nil {
		o.TLS = new(cryptotls.Config)
	}
	if o.TLS.ServerName == "" {
		o.TLS.ServerName = host
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	for _, limit := range []struct {
		value *int
		zero  int
	}{{&o.Octets, DefaultOctets}, {&o.Entries, DefaultEntries}, {&o.Certificates, DefaultCertificates}} {
		if *limit.value == 0 {
			*limit.value = limit.zero
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
}

func (o *Options) checkBase() error {
	if strings.TrimSpace(o.Base) == "" {
		return &ConfigError{"Base", "is empty: under which name are the people, such as ou=people,dc=example,dc=org?"}
	}
	if _, err := goldap.ParseDN(o.Base); err != nil {
		return &ConfigError{"Base", "is not a distinguished name such as ou=people,dc=example,dc=org"}
	}
	return nil
}

func (o *Options) checkBind() error {
	switch {
	case o.BindDN == "" && o.Password == nil:
		return nil
	case o.BindDN == "":
		return &ConfigError{"BindDN", "is empty, and there is a password"}
	case o.Password == nil:
		// RFC 4513, Section 5.1.2: a name without a password is anonymous, which
		// is hardly what was meant.
		return &ConfigError{"Password", "is missing for BindDN"}
	case o.Mode == tls.InsecurePlaintext:
		return &ConfigError{"Mode", "is plaintext, in which no password is sent"}
	}
	return nil
}

var errNoPassword = errors.New("the password is empty")

// Source implements keystore.Finder.
func (f *Finder) Source() string { return f.opts.url() }
