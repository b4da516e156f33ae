package upstream

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// A Dialer connects to mail servers. It is not changed while it is used.
type Dialer struct {
	*Finder
	// Name is that of this host, in EHLO.
	Name string
	// Loops is told of all connections; it may be nil.
	Loops *Loops
}

// connectTime bounds connecting to one server, with what leads to TLS.
const connectTime = 30 * time.Second

// Connect connects to the mail server for a client and, where that matters, an
// account. With greeted the greeting of the server has been read. The caller
// closes the connection.
func (d *Dialer) Connect(ctx context.Context, c *Client, account string) (conn net.Conn, greeted bool, err error) {
	places, err := d.Find(ctx, c, account)
	if err != nil {
		return nil, false, err
	}
	var errs []error
	for _, p := range places {
		s, dialErr := d.Session(ctx, p, c)
		if dialErr == nil {
			greeted, dialErr = d.introduce(ctx, s.Session, c)
		}
		if dialErr == nil {
			return s.Conn, greeted || s.Next != tls.NextGreeting, nil
		}
		if !errors.As(dialErr, new(*policy.Error)) { // which names it
			dialErr = &PlaceError{p.String(), dialErr}
		}
		errs = append(errs, dialErr)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, false, errors.Join(errs...)
}

// A PlaceError says why one server was not reached.
type PlaceError struct {
	Place string
	Err   error
}

func (e *PlaceError) Error() string { return e.Place + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *PlaceError) Unwrap() error { return e.Err }

// forClient is the key of a *Client in a context.
type forClient struct{}

// Session connects to one server, up to where its protocol begins.
func (d *Dialer) Session(ctx context.Context, p Place, c *Client) (*policy.Connection, error) {
	dialer, err := d.dialer(p.protection)
	if err != nil {
		return nil, err
	}
	return dialer.Dial(context.WithValue(ctx, forClient{}, c), &p.Target)
}

// dialer returns the one for a protection, which keeps TLS sessions.
func (d *Dialer) dialer(p *config.Protection) (*policy.Dialer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.dialers[p]; known != nil {
		return known, nil
	}
	dialer, err := policy.New(&policy.Options{Policy: p.Policy, Resolver: d.resolver, Roots: d.roots[p.CA], LocalName: d.Name, Timeout: connectTime, Dial: d.connection})
	if err == nil {
		d.dialers[p] = dialer
	}
	return dialer, err
}

// connection makes one for the client of a context.
func (d *Dialer) connection(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.Loops != nil {
		conn = d.Loops.watch(conn)
	}
	c, _ := ctx.Value(forClient{}).(*Client)
	if err = d.proxyHeader(ctx, conn, c); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// proxyHeader begins with the PROXY protocol, where that is wanted.
func (d *Dialer) proxyHeader(ctx context.Context, conn net.Conn, c *Client) error {
	var version byte
	switch d.listener.Upstream.ClientAddress {
	case config.TellProxyV1:
		version = 1
	case config.TellProxyV2:
		version = 2
	default:
		return nil
	}
	h := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if c != nil && c.Addr.IsValid() && c.Local.IsValid() {
		h = proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(c.Addr), net.TCPAddrFromAddrPort(c.Local))
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := h.WriteTo(conn); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}
