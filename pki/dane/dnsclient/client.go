package dnsclient

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/pki/dane"
)

// Options say whom a [Client] asks, and how. Zero values are the defaults.
type Options struct {
	// Servers are the resolvers, in the order in which they are asked. There
	// must be one. [SystemServers] are those of the system.
	Servers []netip.AddrPort

	// DangerouslyTrust names those of Servers, by address and port, whose AD bit
	// is believed although they are not on a loopback address. Whoever can
	// change packets on the way to them can forge every answer.
	DangerouslyTrust []netip.AddrPort

	// Timeout is how long an answer of one server is waited for; default 5
	// seconds. Over TCP it counts anew.
	Timeout time.Duration
	// Attempts is how often all servers are asked when none answers; default 2.
	Attempts int

	// Dial makes connections for the networks "udp" and "tcp"; nil means a
	// net.Dialer. It must connect to the address that it is given: whether an
	// answer is believed depends on it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Client asks resolvers. It may be used by several goroutines, and has nothing
// to close.
type Client struct {
	opts    Options
	servers []server
}

type server struct {
	addr    netip.AddrPort
	trusted bool
}

var _ dane.Resolver = (*Client)(nil)

// New returns a Client. opts is copied. The error is [ErrNoServers] or
// [ErrServer].
func New(opts *Options) (*Client, error) {
	if opts == nil || len(opts.Servers) == 0 {
		return nil, ErrNoServers
	}
	c := &Client{opts: *opts}
	c.opts.Servers, c.opts.DangerouslyTrust = nil, nil // not needed any more, and the caller's
	if c.opts.Timeout <= 0 {
		c.opts.Timeout = 5 * time.Second
	}
	if c.opts.Attempts <= 0 {
		c.opts.Attempts = 2
	}
	if c.opts.Dial == nil {
		c.opts.Dial = new(net.Dialer).DialContext
	}
	for _, addr := range opts.Servers {
		if !addr.IsValid() || addr.Port() == 0 {
			return nil, ErrServer
		}
		c.servers = append(c.servers, server{addr: addr,
			trusted: addr.Addr().Unmap().IsLoopback() || slices.Contains(opts.DangerouslyTrust, addr)})
	}
	if c.Validating() {
		c.servers = slices.DeleteFunc(c.servers, func(s server) bool { return !s.trusted })
	}
	return c, nil
}

// Validating reports whether an answer can be secure: whether a server is
// trusted. It does not mean that the server validates.
func (c *Client) Validating() bool {
	return slices.ContainsFunc(c.servers, func(s server) bool { return s.trusted })
}

// ResolvConf is where the resolvers of the system are named.
const ResolvConf = "/etc/resolv.conf"

// maxResolvConf and maxServers bound what is read of it.
const (
	maxResolvConf = 64 << 10
	maxServers    = 8
)

// SystemServers returns the servers that a file in the form of resolv.conf(5)
// names; usually the file is [ResolvConf]. A file that names none means the one on
// the loopback address, as it does there. The first 8 count. Its option trust-ad
// is not looked at: the address alone decides.
func SystemServers(path string) ([]netip.AddrPort, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	config, err := dns.ClientConfigFromReader(io.LimitReader(f, maxResolvConf))
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, s := range config.Servers {
		addr, parseErr := netip.ParseAddr(s)
		if parseErr == nil && len(out) < maxServers {
			out = append(out, netip.AddrPortFrom(addr, 53))
		}
	}
	switch {
	case len(out) == 0 && len(config.Servers) > 0:
		return nil, ErrServer
	case len(out) == 0:
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53))
	}
	return out, nil
}
