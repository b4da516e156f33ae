package relay_test

import (
	"errors"
	"io"
	"net"
	"time"
)

// A memConn is one end of a connection without sockets. It has no deadlines.
type memConn struct {
	*io.PipeReader
	*io.PipeWriter
}

func memPair() (a, b *memConn) {
	ra, wb := io.Pipe()
	rb, wa := io.Pipe()
	return &memConn{ra, wa}, &memConn{rb, wb}
}

func (c *memConn) Close() error      { return errors.Join(c.PipeReader.Close(), c.PipeWriter.Close()) }
func (c *memConn) CloseWrite() error { return c.PipeWriter.Close() }

func (*memConn) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "memory"} }
func (*memConn) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "memory"} }
func (*memConn) SetDeadline(time.Time) error      { return nil }
func (*memConn) SetReadDeadline(time.Time) error  { return nil }
func (*memConn) SetWriteDeadline(time.Time) error { return nil }
