package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/postseal/postseal/tls/relay"
)

// write and read are for small things that must work.
func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

func expectEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d octets, %v; want the end", n, err)
	}
}

// TestHalfClose ends one direction and goes on in the other.
func TestHalfClose(t *testing.T) {
	for _, a := range []kind{plain, client12, server12, client13, server13} {
		for _, b := range []kind{plain, server12, client13} {
			t.Run(a.name+"/"+b.name, func(t *testing.T) {
				nearA, farA := pair(t, a)
				nearB, farB := pair(t, b)
				done := start(t, t.Context(), nearA, nearB, nil)
				sendAll(t, farB, bytes.NewReader([]byte("question")))
				expect(t, farA, "question")
				expectEnd(t, farA)
				for range 3 {
					write(t, farA, "answer")
					expect(t, farB, "answer")
				}
				if err := farA.(halfCloser).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				expectEnd(t, farB)
				o := wait(t, done)
				if o.err != nil || o.First != relay.B || o.AToB.Bytes != 18 || o.BToA.Bytes != 8 {
					t.Errorf("%+v", o)
				}
				if o.BToA.Duration > o.AToB.Duration {
					t.Error("the direction that ended first took longer")
				}
			})
		}
	}
}

// A typeConn notes the type of the last record that it has read: of TLS 1.2,
// where alerts (21) have their own also when they are encrypted.
type typeConn struct {
	net.Conn
	header []byte
	skip   int
	last   byte
}

func (c *typeConn) CloseWrite() error { return c.Conn.(halfCloser).CloseWrite() }

func (c *typeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, octet := range p[:n] {
		if c.skip > 0 {
			c.skip--
			continue
		}
		if c.header = append(c.header, octet); len(c.header) == 5 {
			c.last, c.skip, c.header = c.header[0], int(c.header[3])<<8|int(c.header[4]), nil
		}
	}
	return n, err
}

// watched returns a connection of TLS 1.2 and what watches the peer's end.
func watched(t *testing.T, k kind) (near, far *tls.Conn, watch *typeConn) {
	t.Helper()
	nearConn, farConn := tcpPair(t)
	watch = &typeConn{Conn: farConn}
	near, far = handshake(t, k, nearConn, watch)
	return near, far, watch
}

const alert = 21

// TestTruncation ends a TLS connection without close_notify.
func TestTruncation(t *testing.T) {
	for _, a := range []kind{client12, server13} {
		t.Run(a.name, func(t *testing.T) {
			t.Run("to plain", func(t *testing.T) {
				nearA, farA := pair(t, a)
				nearB, farB := pair(t, plain)
				done := start(t, t.Context(), nearA, nearB, nil)
				write(t, farA, "half a sen")
				expect(t, farB, "half a sen")
				_ = farA.(*tls.Conn).NetConn().Close()
				if _, err := farB.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the other side read %v, want a reset", err)
				}
				o := wait(t, done)
				wantError(t, o.err, relay.A, relay.OpRead, io.ErrUnexpectedEOF)
				wantError(t, o.AToB.Err, relay.A, relay.OpRead, io.ErrUnexpectedEOF)
				if !o.AToB.Truncated || o.BToA.Truncated || o.BToA.Err == nil || o.First != relay.A || o.AToB.Bytes != 10 {
					t.Errorf("%+v", o)
				}
			})
			t.Run("to TLS", func(t *testing.T) {
				nearA, farA := pair(t, a)
				nearB, farB, watch := watched(t, server12)
				done := start(t, t.Context(), nearB, nearA, nil)
				write(t, farA, "half a sen")
				_ = farA.(*tls.Conn).NetConn().Close()
				expect(t, farB, "half a sen")
				_, _ = farB.Read(make([]byte, 1))
				if watch.last == alert {
					t.Error("the other side got close_notify")
				}
				wantError(t, wait(t, done).err, relay.B, relay.OpRead, io.ErrUnexpectedEOF)
			})
			t.Run("allowed", func(t *testing.T) {
				nearA, farA := pair(t, a)
				nearB, farB, watch := watched(t, server12)
				done := start(t, t.Context(), nearB, nearA, &relay.Options{AllowTruncation: true})
				write(t, farA, "QUIT")
				_ = farA.(*tls.Conn).NetConn().(halfCloser).CloseWrite()
				expect(t, farB, "QUIT")
				expectEnd(t, farB)
				if watch.last != alert {
					t.Error("the other side got no close_notify")
				}
				write(t, farB, "bye")
				expect(t, farA, "bye")
				_ = farB.CloseWrite()
				o := wait(t, done)
				if o.err != nil || !o.BToA.Truncated || o.AToB.Truncated {
					t.Errorf("%+v", o)
				}
			})
		})
	}
}

// A cutConn lets a given number of octets out and then closes.
type cutConn struct {
	net.Conn
	left int
	cut  bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if !c.cut {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:min(c.left, len(p))])
	if c.left -= n; c.left == 0 {
		return n, c.Close()
	}
	return n, nil
}

// TestCutRecord ends a TLS connection within a record, which no option allows.
func TestCutRecord(t *testing.T) {
	for _, left := range []int{1, 4, 5, 6, 500, 5000} {
		for _, a := range []kind{client12, server13} {
			nearConn, farConn := tcpPair(t)
			cut := &cutConn{Conn: farConn, left: left}
			nearA, farA := handshake(t, a, nearConn, cut)
			nearB, farB := pair(t, plain)
			done := start(t, t.Context(), nearA, nearB, &relay.Options{AllowTruncation: true})
			cut.cut = true
			_, _ = farA.Write(make([]byte, 10000))
			_, _ = io.Copy(io.Discard, farB)
			o := wait(t, done)
			wantError(t, o.err, relay.A, relay.OpRead, io.ErrUnexpectedEOF)
			if !o.AToB.Truncated {
				t.Errorf("%s, %d octets of a record: %+v", a.name, left, o)
			}
		}
	}
}

// TestReset has a peer reset its connection.
func TestReset(t *testing.T) {
	for _, a := range []kind{plain, client12, server13} {
		nearA, farA := pair(t, a)
		nearB, farB, watch := watched(t, client12)
		done := start(t, t.Context(), nearA, nearB, nil)
		write(t, farA, "x")
		expect(t, farB, "x")
		tcp := farA
		if tc, ok := farA.(*tls.Conn); ok {
			tcp = tc.NetConn()
		}
		_ = tcp.(*net.TCPConn).SetLinger(0)
		_ = tcp.Close()
		_, _ = farB.Read(make([]byte, 1))
		if watch.last == alert {
			t.Error("the other side got close_notify")
		}
		o := wait(t, done)
		wantError(t, o.err, relay.A, relay.OpRead, syscall.ECONNRESET)
		if o.First != relay.A {
			t.Errorf("%+v", o)
		}
	}
}

// TestEarlyAnswer has a server answer and close while its client still sends. The
// client must get all of the answer.
func TestEarlyAnswer(t *testing.T) {
	for _, a := range []kind{plain, server12, server13} {
		for _, b := range []kind{plain, client13} {
			nearA, farA := pair(t, a)
			nearB, farB := pair(t, b)
			done := start(t, t.Context(), nearA, nearB, nil)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = writePlenty(farA)
			}()
			expect(t, farB, string(make([]byte, 1000)))
			write(t, farB, "552 too much")
			_ = farB.Close() // unread input makes this a reset
			expect(t, farA, "552 too much")
			<-sent
			_ = farA.Close()
			o := wait(t, done)
			if e := (*relay.Error)(nil); !errors.As(o.err, &e) || e.Side != relay.B || o.First != relay.B {
				t.Errorf("%s/%s: %v", a.name, b.name, o.err)
			}
		}
	}
}

// TestClosedFromOutside closes a connection under a relay, twice.
func TestClosedFromOutside(t *testing.T) {
	for _, a := range []kind{plain, client12, server13} {
		nearA, farA := pair(t, a)
		nearB, farB := pair(t, server13)
		done := start(t, t.Context(), nearA, nearB, nil)
		write(t, farA, "x")
		expect(t, farB, "x")
		_, _ = nearA.Close(), nearA.Close()
		wantError(t, wait(t, done).err, relay.A, relay.OpRead, net.ErrClosed)
		_, _ = nearA.Close(), nearB.Close()
	}
}

// TestUsage makes mistakes.
func TestUsage(t *testing.T) {
	good := func() net.Conn { near, _ := tcpPair(t); return near }
	used, far := pair(t, server13)
	once := good()
	done := start(t, t.Context(), used, once, nil)
	_, _ = far.Close(), once.Close()
	wait(t, done)

	near, _ := tcpPair(t)
	onTLS, _ := pair(t, server13)
	pipe, otherEnd := net.Pipe()
	defer otherEnd.Close()
	same := relay.NewTransport(good())
	for name, c := range map[string]struct {
		a, b net.Conn
		side relay.Side
	}{
		"nil":                 {nil, good(), relay.A},
		"no transport":        {good(), tls.Client(near, clientConfig(tls.VersionTLS13)), relay.B},
		"no handshake":        {tls.Client(relay.NewTransport(near), clientConfig(tls.VersionTLS13)), good(), relay.A},
		"transport above TLS": {good(), relay.NewTransport(onTLS), relay.B},
		"no half-close":       {pipe, good(), relay.A},
		"the same twice":      {same, same, relay.B},
		"used before":         {good(), used, relay.B},
	} {
		_, err := relay.Run(t.Context(), c.a, c.b, nil)
		if ue := (*relay.UsageError)(nil); !errors.As(err, &ue) || ue.Side != c.side {
			t.Errorf("%s: %v", name, err)
		}
		for _, conn := range []net.Conn{c.a, c.b} {
			if tcp, ok := conn.(*net.TCPConn); ok && tcp.SetDeadline(timeZero) == nil {
				t.Errorf("%s: a connection is still open", name)
			}
		}
	}
}

// TestCancelledBefore gives a context that is over.
func TestCancelledBefore(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	nearA, farA := pair(t, server13)
	nearB, farB := pair(t, plain)
	o := wait(t, start(t, ctx, nearA, nearB, nil))
	wantError(t, o.err, relay.Neither, relay.OpWait, cause)
	if o.First != relay.Neither {
		t.Errorf("%+v", o)
	}
	for _, c := range []net.Conn{farA, farB} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is still open")
		}
	}
}
