package imapproxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Most connections are idle most of the time. Buffers are held only while there is
// something in them.
var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, wireBuffer) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, wireBuffer) }}
)

// A prefixed reader gives an octet that was read before the others.
type prefixed struct {
	src   io.Reader
	first [1]byte
	has   bool
}

// Read implements io.Reader.
func (p *prefixed) Read(b []byte) (int, error) {
	if p.has && len(b) > 0 {
		b[0], p.has = p.first[0], false
		return 1, nil
	}
	return p.src.Read(b)
}

// newBuffered returns a buffered reader of src, from the pool.
func newBuffered(src io.Reader) *bufio.Reader {
	br := readers.Get().(*bufio.Reader)
	br.Reset(src)
	return br
}

// release gives a reader back.
func release(br *bufio.Reader) {
	br.Reset(nil)
	readers.Put(br)
}

// await waits until there is something to read, without a buffer meanwhile: there is
// another reader afterwards, also with an error.
func await(br **bufio.Reader, src io.Reader) error {
	if (*br).Buffered() > 0 {
		return nil
	}
	release(*br)
	*br = nil // it is another's now, and nobody else may hold it
	p := &prefixed{src: src}
	n, err := io.ReadFull(src, p.first[:])
	p.has = n > 0
	*br = newBuffered(p)
	return err
}

// A lazyWriter is a buffered writer without a buffer while it has nothing to write.
// Like bufio.Writer it keeps its first error.
type lazyWriter struct {
	dst io.Writer
	bw  *bufio.Writer // nil while there is nothing
}

// buffer returns what is written to.
func (w *lazyWriter) buffer() *bufio.Writer {
	if w.bw == nil {
		w.bw = writers.Get().(*bufio.Writer)
		w.bw.Reset(w.dst)
	}
	return w.bw
}

// Write implements io.Writer.
func (w *lazyWriter) Write(p []byte) (int, error) { return w.buffer().Write(p) }

// WriteString implements io.StringWriter.
func (w *lazyWriter) WriteString(s string) (int, error) { return w.buffer().WriteString(s) }

// writeNumber writes a number in digits.
func (w *lazyWriter) writeNumber(n int64) {
	bw := w.buffer()
	_, _ = bw.Write(strconv.AppendInt(bw.AvailableBuffer(), n, 10)) // bw keeps its error
}

// WriteByte implements io.ByteWriter.
func (w *lazyWriter) WriteByte(c byte) error { return w.buffer().WriteByte(c) }

// ReadFrom implements io.ReaderFrom.
func (w *lazyWriter) ReadFrom(r io.Reader) (int64, error) { return w.buffer().ReadFrom(r) }

// Flush writes what there is.
func (w *lazyWriter) Flush() error {
	if w.bw == nil {
		return nil
	}
	if err := w.bw.Flush(); err != nil {
		return err // which bw keeps
	}
	w.bw.Reset(nil)
	writers.Put(w.bw)
	w.bw = nil
	return nil
}

// A hurried writer gives a client the time that it has for taking what is written.
type hurried struct{ conn net.Conn }

// Write implements io.Writer.
func (h hurried) Write(p []byte) (int, error) {
	if err := h.conn.SetWriteDeadline(time.Now().Add(clientTimeout)); err != nil {
		return 0, err
	}
	return h.conn.Write(p)
}

// restTime is how long a client may be silent before the messages that it has
// looked at last are not held any more.
const restTime = 15 * time.Second

// awaitClient waits for the client to say something, for as long as it may be
// silent.
func (s *session) awaitClient() error {
	if s.cr.Buffered() > 0 {
		return s.client.SetReadDeadline(time.Now().Add(s.p.idle()))
	}
	if s.holds() && s.p.idle() > restTime {
		if err := s.client.SetReadDeadline(time.Now().Add(restTime)); err != nil {
			return err
		}
		if err := await(&s.cr, s.client); !errors.Is(err, os.ErrDeadlineExceeded) {
			return s.awaited(err)
		}
		s.rest()
	}
	if err := s.client.SetReadDeadline(time.Now().Add(s.p.idle())); err != nil {
		return err
	}
	return s.awaited(await(&s.cr, s.client))
}

// holds reports whether there is something that is not held for a client that is
// silent.
func (s *session) holds() bool {
	s.out.Lock()
	defer s.out.Unlock()
	return s.rendered.list != nil || s.places.uids != nil
}

// rest frees what is not held for a client that is silent.
func (s *session) rest() {
	s.rendered.clear()
	s.out.Lock()
	s.places.rest()
	s.out.Unlock()
}

// awaited gives the client the time that it has for the rest of a line.
func (s *session) awaited(err error) error {
	if err != nil {
		return err
	}
	return s.client.SetReadDeadline(time.Now().Add(s.p.idle()))
}
