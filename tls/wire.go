package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
	"unicode/utf8"
)

// Limits of the dialogue before the handshake. They are generous: what servers
// say before TLS is short.
const (
	maxLine  = 8 << 10  // octets of a line, with its end
	maxReply = 64 << 10 // octets that the peer may send in all
	maxLines = 512      // lines in one reply
)

// A wire is a connection before TLS. It reads in chunks, so that what comes out
// of turn is seen, and never gives to TLS what it has read.
type wire struct {
	conn  net.Conn
	proto Protocol
	step  string // what is being waited for, or was read last
	buf   []byte // read and not yet consumed
	chunk []byte
	total int
	last  []byte // the line that was read last
	err   error  // of the connection; sticky
}

func newWire(conn net.Conn, proto Protocol) *wire {
	return &wire{conn: conn, proto: proto, chunk: make([]byte, 4096)}
}

// fill reads at least one octet more, or fails.
func (w *wire) fill() error {
	if w.err != nil {
		return w.err
	}
	if w.total >= maxReply {
		w.err = ErrTooLong
		return w.err
	}
	n, err := w.conn.Read(w.chunk[:min(len(w.chunk), maxReply-w.total)])
	w.total += n
	w.buf = append(w.buf, w.chunk[:n]...)
	if n > 0 {
		return nil
	}
	switch {
	case err == nil:
		err = io.ErrNoProgress
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	w.err = err
	return err
}

// ReadByte lets a parser read without reading ahead of itself.
func (w *wire) ReadByte() (byte, error) {
	for len(w.buf) == 0 {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	c := w.buf[0]
	w.buf = w.buf[1:]
	return c, nil
}

// line reads a line and returns it without its CRLF. It is valid until the next
// call. Lines end in CRLF alone, and are UTF-8 without NUL, CR and LF.
func (w *wire) line() ([]byte, error) {
	from := 0
	for {
		if i := bytes.IndexByte(w.buf[from:], '\n'); i >= 0 {
			return w.take(from + i + 1)
		}
		from = len(w.buf)
		if from >= maxLine {
			return nil, w.fail(ErrTooLong, w.buf)
		}
		if err := w.fill(); err != nil {
			return nil, w.fail(err, w.buf)
		}
	}
}

func (w *wire) take(n int) ([]byte, error) {
	line := w.buf[:n:n]
	w.buf = w.buf[n:]
	w.last = line
	if n > maxLine {
		return nil, w.fail(ErrTooLong, line)
	}
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.ContainsAny(text, "\x00\r\n") || !utf8.Valid(text) {
		return nil, w.fail(ErrSyntax, line)
	}
	return text, nil
}

// fail makes a *ProtocolError.
func (w *wire) fail(err error, reply []byte) error {
	return &ProtocolError{Protocol: w.proto, Step: w.step, Reply: printable(reply), Err: err}
}

// quiet fails if the peer has sent more than what was read.
func (w *wire) quiet() error {
	if len(w.buf) == 0 {
		return nil
	}
	return &InjectionError{Protocol: w.proto, Step: w.step, Octets: len(w.buf)}
}

// send sends, after it has made sure that the peer does not speak out of turn.
func (w *wire) send(step, data string) error {
	if err := w.quiet(); err != nil {
		return err
	}
	w.step = step
	return w.write(data)
}

func (w *wire) write(data string) error {
	if _, err := io.WriteString(w.conn, data); err != nil {
		w.err = err
		return w.fail(err, nil)
	}
	return nil
}

// A watch bounds what is done with a connection by a context.
type watch struct {
	ctx  context.Context
	conn net.Conn
	stop func() bool
}

// past is a deadline that has been.
var past = time.Unix(1, 0)

// watchOver makes reads and writes of a connection fail when the context ends.
func watchOver(ctx context.Context, conn net.Conn) *watch {
	w := &watch{ctx: ctx, conn: conn}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	w.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	return w
}

// end gives the connection back without a deadline. It returns the error of the
// context if that came first, and else err.
func (w *watch) end(err error) error {
	if !w.stop() && err == nil {
		return w.ctx.Err()
	}
	if err == nil {
		return w.conn.SetDeadline(time.Time{})
	}
	if ctxErr := w.ctx.Err(); ctxErr != nil {
		return withCause(err, ctxErr)
	}
	// The deadline of the connection may come a little before the context's.
	if _, ok := w.ctx.Deadline(); ok && errors.Is(err, os.ErrDeadlineExceeded) {
		return withCause(err, context.DeadlineExceeded)
	}
	return err
}

// withCause says in a *ProtocolError or *HandshakeError why the connection
// failed.
func withCause(err, cause error) error {
	var p *ProtocolError
	var h *HandshakeError
	switch {
	case errors.As(err, &p) && errors.Is(p.Err, os.ErrDeadlineExceeded):
		p.Err = cause
	case errors.As(err, &h) && errors.Is(h.Err, os.ErrDeadlineExceeded):
		h.Err = cause
	}
	return err
}
