package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/origdst"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
)

// listen opens the socket of a listener.
func listen(ctx context.Context, l *config.Listener) (net.Listener, error) {
	if l.Transparent == config.TProxy {
		return origdst.Listen(ctx, "tcp", l.Address)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
}

// meet finds out who a client is, and where it was going. The connection that it
// returns is to be used in the place of conn.
func (sv *service) meet(ctx context.Context, conn net.Conn) (net.Conn, *upstream.Client, error) {
	c := &upstream.Client{Peer: upstream.AddrPort(conn.RemoteAddr()), Local: upstream.AddrPort(conn.LocalAddr())}
	c.Addr, c.To = c.Peer, c.Local
	switch {
	case sv.proxied(c.Addr):
		p, err := readProxyHeader(ctx, conn, time.Duration(sv.state.conf.Limits.Handshake))
		if err != nil {
			return nil, nil, err
		}
		if p.remote.IsValid() {
			c.Addr, c.Local = p.remote, p.local
		}
		return p, c, nil
	case sv.conf.Transparent != "":
		return conn, c, sv.destination(conn, c)
	}
	return conn, c, nil
}

// proxied reports whether connections from an address begin with the PROXY
// protocol.
func (sv *service) proxied(a netip.AddrPort) bool {
	return a.IsValid() && config.Contains(sv.conf.ProxyFrom, a.Addr())
}

// destination finds out where a connection was going that was led here, and
// whether it may.
func (sv *service) destination(conn net.Conn, c *upstream.Client) error {
	to := c.Local
	if sv.conf.Transparent == config.Redirect {
		var err error
		if to, err = origdst.Redirected(conn.(syscall.Conn)); err != nil {
			return &upstream.DestinationError{Reason: "nobody led this connection here: " + err.Error()}
		}
	}
	if err := upstream.Allowed(sv.conf, to, netip.AddrPortFrom(c.Local.Addr(), sv.port)); err != nil {
		return err
	}
	c.Destination, c.To = to, to
	return nil
}

// A proxiedConn is a connection that began with the PROXY protocol: what came
// together with the header is not lost.
type proxiedConn struct {
	net.Conn
	br            *bufio.Reader // until it is empty
	remote, local netip.AddrPort
}

// Read implements net.Conn.
func (p *proxiedConn) Read(b []byte) (int, error) {
	if p.br != nil {
		if p.br.Buffered() > 0 {
			return p.br.Read(b)
		}
		p.br = nil
	}
	return p.Conn.Read(b)
}

// RemoteAddr returns the address of the client.
func (p *proxiedConn) RemoteAddr() net.Addr {
	if p.remote.IsValid() {
		return net.TCPAddrFromAddrPort(p.remote)
	}
	return p.Conn.RemoteAddr()
}

// proxyBuffer holds a header, which has at most 107 octets in version 1 and, with
// addresses and little else, a few hundred in version 2.
const proxyBuffer = 4096

// errProxyHeader says that an address from which the PROXY protocol is expected
// has begun with something else.
var errProxyHeader = errors.New("the connection does not begin with the PROXY protocol")

// readProxyHeader reads the header of version 1 or 2. Of a connection that the
// proxy before us has made for itself (LOCAL), as to look whether we are there,
// the addresses are not valid.
func readProxyHeader(ctx context.Context, conn net.Conn, patience time.Duration) (*proxiedConn, error) {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	p := &proxiedConn{Conn: conn, br: bufio.NewReaderSize(conn, proxyBuffer)}
	h, err := proxyproto.Read(p.br)
	if err != nil {
		return nil, errors.Join(errProxyHeader, err)
	}
	if source, destination, ok := h.TCPAddrs(); ok && h.Command.IsProxy() {
		p.remote, p.local = upstream.AddrPort(source), upstream.AddrPort(destination)
	}
	return p, conn.SetReadDeadline(time.Time{})
}
