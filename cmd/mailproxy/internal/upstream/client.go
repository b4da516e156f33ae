package upstream

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

// ErrLoop says that a connection of this process has come back to it.
var ErrLoop = errors.New("the proxy has connected to itself")

// A Client is the one for whom a connection is made.
type Client struct {
	Addr        netip.AddrPort // its own
	Peer        netip.AddrPort // whom the connection comes from: its own, or that of a proxy before us
	Local       netip.AddrPort // what it connected to
	To          netip.AddrPort // where the connection was going: to Local, a proxy before us or Destination
	Destination netip.AddrPort // where a connection that was led here was going

	mu   sync.Mutex
	name string
}

// SetName notes the name of the server that the client asked for in its TLS
// handshake (RFC 6066, Section 3).
func (c *Client) SetName(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = name
}

// Name returns that name, or "".
func (c *Client) Name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// AddrPort returns the address of a TCP connection's end, or the zero value.
func AddrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Allowed tells whether a connection that was led to a listener may go to its
// destination. The error is a *DestinationError.
func Allowed(l *config.Listener, destination, listener netip.AddrPort) error {
	switch {
	case !destination.IsValid():
		return &DestinationError{Reason: "nobody led this connection here"}
	case destination == listener:
		return &DestinationError{destination, "this is the proxy itself: nobody led this connection here"}
	case !slices.Contains(l.Ports, destination.Port()):
		return &DestinationError{destination, "connections may not go to this port"}
	case !config.Contains(l.Destinations, destination.Addr()):
		return &DestinationError{destination, "connections may not go to this address"}
	}
	return nil
}

// Loops knows the connections to mail servers that are open. One that comes in with
// the same two ends is a connection of this process: one end alone would not do,
// since a port serves several connections that go to different places. It is certain
// of that once the client has said something: before, the other side may not have
// noted its connection yet. The zero value is ready; it is safe for concurrent use.
type Loops struct {
	mu   sync.Mutex
	open map[ends]int
}

// ends are those of a connection, seen by who has made it.
type ends struct{ from, to netip.AddrPort }

// Is reports whether a client is this process: from is whom its connection comes
// from, and to where it was going.
func (l *Loops) Is(from, to netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[ends{from, to}] > 0
}

// watch notes a connection until it is closed.
func (l *Loops) watch(conn net.Conn) net.Conn {
	w := &watched{Conn: conn, loops: l, ends: ends{AddrPort(conn.LocalAddr()), AddrPort(conn.RemoteAddr())}}
	l.add(w.ends, 1)
	return w
}

func (l *Loops) add(e ends, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = make(map[ends]int)
	}
	if l.open[e] += n; l.open[e] == 0 {
		delete(l.open, e)
	}
}

// A watched connection is one that Loops knows.
type watched struct {
	net.Conn
	loops *Loops
	ends  ends
	once  sync.Once
}

// Close implements net.Conn.
func (w *watched) Close() error {
	err := w.Conn.Close()
	w.once.Do(func() { w.loops.add(w.ends, -1) })
	return err
}
