package relay

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// The limits of a relay whose options do not name others.
const (
	// DefaultIdle is longer than the 30 minutes after which an IMAP server may
	// first end an idle session: RFC 9051, Section 5.4.
	DefaultIdle = 35 * time.Minute
	// DefaultLinger is the limit of the second direction.
	DefaultLinger = time.Minute
)

// Options are the limits of a relay. Their zero value is safe.
type Options struct {
	// Idle is how long the relay goes on while no octet moves in either
	// direction, neither from a connection nor into one. Zero means DefaultIdle,
	// a negative value that there is no limit.
	Idle time.Duration
	// Linger takes the place of Idle when one direction has ended. Zero means
	// DefaultLinger, a negative value that Idle stays in force.
	Linger time.Duration
	// Total is how long the relay goes on at most. Zero means no limit.
	Total time.Duration
	// AllowTruncation takes the end of a TLS connection without close_notify
	// for an ordinary end. An attacker on the way can make such an end, so it
	// is for protocols alone in which an end says nothing, such as IMAP and
	// SMTP, where many clients and servers end like this.
	AllowTruncation bool
}

// A Flow is what happened to one direction of a relay.
type Flow struct {
	// Bytes is how many octets of content were read from one side and handed to
	// the other, down to its socket. Of a write that failed nothing is counted.
	Bytes int64
	// Duration is the time from the start of the relay to the end of this
	// direction.
	Duration time.Duration
	// Truncated says that the end was one without close_notify, also if
	// Options.AllowTruncation made it good.
	Truncated bool
	// Err is nil if the end of the one side was read and passed on to the other,
	// and an *Error if not.
	Err error
}

// A Result is what a relay did.
type Result struct {
	// AToB and BToA are the two directions.
	AToB, BToA Flow
	// First is the side that ended first: by its end, or by a failure of its
	// connection. It is Neither if the relay was ended from outside or by a limit
	// before.
	First Side
	// Duration is the time from start to end.
	Duration time.Duration
}

// tlsConn is what a relay uses of *tls.Conn.
type tlsConn interface {
	net.Conn
	writeCloser
	NetConn() net.Conn
	ConnectionState() tls.ConnectionState
	HandshakeContext(ctx context.Context) error
}

// Run joins two connections: what comes from a goes to b, and the other way
// round, until both have ended. It owns the connections and has closed both when
// it returns; then no goroutine of it is left.
//
// A connection is one of
//
//   - a *tls.Conn on a [Transport], or a type that embeds one, after its
//     handshake. It may be client or server.
//   - any other connection that has a method CloseWrite, such as *net.TCPConn and
//     *net.UnixConn, or a [Transport] on such a one.
//
// Everything else is a *UsageError.
//
// The end of one side is passed on as the end of what the other side reads, as
// close_notify on TLS and as a FIN on TCP, and the other direction goes on. The
// error is nil if both directions ended so. Else it is an *Error with the first
// cause; the result is filled in all the same. The end of a context ends the
// relay at once; its cause is in the error.
//
// When a connection fails, or a TLS connection ends without close_notify, the
// other side is not told of an end in order: a TLS connection is closed without
// close_notify, and a TCP connection is reset. When one side takes no more, what
// it has sent is still handed to the other side, as is its end.
func Run(ctx context.Context, a, b net.Conn, opts *Options) (Result, error) {
	s := &session{start: time.Now()}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.setDefaults()
	for i, conn := range []net.Conn{a, b} {
		if err := s.side[i].init(Side(i+1), conn); err != nil {
			closeAll(a, b)
			return Result{}, err
		}
	}
	if s.side[0].t == s.side[1].t {
		closeAll(a, b)
		return Result{}, &UsageError{B, "it is the same connection as side A"}
	}
	for i := range s.side {
		if !s.side[i].t.join(s) {
			closeAll(a, b)
			return Result{}, &UsageError{Side(i + 1), "the connection has been relayed before"}
		}
	}
	return s.run(ctx)
}

func closeAll(conns ...net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

func (o *Options) setDefaults() {
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Linger == 0 {
		o.Linger = DefaultLinger
	}
	if o.Linger < 0 {
		o.Linger = o.Idle
	}
}

// A side is one connection of a relay.
type side struct {
	id   Side
	conn net.Conn
	tls  tlsConn // conn, or nil if it is plain
	t    *Transport
	// canRenegotiate says that it is a version of TLS that can.
	canRenegotiate bool
}

func (s *side) init(id Side, conn net.Conn) error {
	s.id, s.conn = id, conn
	if conn == nil {
		return &UsageError{id, "there is no connection"}
	}
	if t, ok := conn.(*Transport); ok {
		s.t = t
	} else if tc, isTLS := conn.(tlsConn); isTLS {
		if s.t, ok = tc.NetConn().(*Transport); !ok {
			return &UsageError{id, "the TLS connection is not on a relay.Transport"}
		}
		state := tc.ConnectionState()
		if !state.HandshakeComplete {
			return &UsageError{id, "the TLS handshake has not taken place"}
		}
		s.tls, s.canRenegotiate = tc, state.Version < tls.VersionTLS13
	} else {
		s.t = NewTransport(conn)
	}
	if _, isTLS := s.t.conn.(tlsConn); isTLS {
		return &UsageError{id, "the relay.Transport belongs below the TLS connection, not above"}
	}
	if _, ok := s.t.conn.(writeCloser); !ok && s.tls == nil {
		return &UsageError{id, "the connection cannot be closed for writing alone"}
	}
	return nil
}

// closeWrite tells the peer that no more will come.
func (s *side) closeWrite(ctx context.Context) error {
	if s.tls == nil {
		if cw, ok := s.conn.(writeCloser); ok {
			return cw.CloseWrite()
		}
		return s.t.CloseWrite()
	}
	// RFC 8446, Section 6.1: "Each party MUST send a "close_notify" alert before
	// closing its write side of the connection".
	return s.send(ctx, s.tls.CloseWrite)
}

// send has TLS make records and then writes them.
func (s *side) send(ctx context.Context, write func() error) error {
	s.t.hold()
	err := write()
	// A write that meets the start of a renegotiation by the reader fails
	// without having done anything, and is good after it.
	for try := 0; err != nil && s.canRenegotiate && try < maxRenegotiations; try++ {
		if s.tls.HandshakeContext(ctx) != nil {
			break
		}
		err = write()
	}
	if flushErr := s.t.flush(true); err == nil {
		err = flushErr
	}
	return err
}

// maxRenegotiations is how many may follow each other while one write waits.
const maxRenegotiations = 8
