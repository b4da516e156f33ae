package milter

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// deadlines is a connection on which silence has an end. go-milter reads a packet
// in several pieces, so it is buffered.
type deadlines struct {
	net.Conn
	idle   time.Duration
	in     *bufio.Reader
	once   sync.Once
	closed chan struct{}
}

// Read implements net.Conn.
func (c *deadlines) Read(p []byte) (int, error) {
	if c.in == nil {
		c.in = bufio.NewReader(timed{c})
	}
	return c.in.Read(p)
}

// timed reads within the time.
type timed struct{ c *deadlines }

// Read implements io.Reader.
func (t timed) Read(p []byte) (int, error) {
	if err := t.c.SetReadDeadline(time.Now().Add(t.c.idle)); err != nil {
		return 0, err
	}
	return t.c.Conn.Read(p)
}

// writeTime is how long the mail server may take to read an answer.
const writeTime = 5 * time.Minute

// Write implements net.Conn.
func (c *deadlines) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *deadlines) Close() error {
	var err error
	c.once.Do(func() {
		err = c.Conn.Close()
		close(c.closed)
	})
	return err
}
