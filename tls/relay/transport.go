package relay

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Transport is the connection below TLS, or a plain one, with what a relay
// needs to know of it. Outside of a relay it passes everything on, unbuffered.
//
// It is to be put below TLS before the handshake, and not before what precedes
// TLS on the same connection (STARTTLS): its first octet is the first of TLS.
//
//	conn := tls.Client(relay.NewTransport(tcp), config)
//
// It makes good for three things that a *tls.Conn cannot do:
//
//   - crypto/tls says io.EOF to a connection that ends between two records
//     without close_notify. A Transport knows the difference.
//   - crypto/tls answers a key update (RFC 8446, Section 4.6.3) or a request to
//     renegotiate (RFC 5246, Section 7.4.1.1) before it goes on reading, and waits
//     for a Write that is blocked: then neither side may ever go on. Below a
//     relay no write of crypto/tls is ever blocked.
//   - crypto/tls makes a system call for each record.
//
// Its methods may be called from several goroutines, with one reader at a time.
type Transport struct {
	conn net.Conn
	raw  syscall.RawConn // nil if there is none
	live *session        // the relay that it belongs to, from then on

	relaying atomic.Bool
	ended    atomic.Bool // the end of the stream has been read

	// For the reader alone.
	frames framer
	synced bool // TLS has taken all records that were delivered
	try    bool // Read must not wait
	quiet  bool // reading is no progress
	inBuf  *[chunk + overhead]byte
	in     []byte // what has been read and not delivered, in inBuf
	rawIn  rawReader

	mu       sync.Mutex
	queue    []byte // what is to be written
	queueBuf *[chunk + overhead]byte
	held     bool // a flush will follow
	flushing bool // somebody writes the queue
	err      error

	writing sync.Mutex // held by who writes to conn
	rawOut  rawWriter
}

// NewTransport returns a Transport on top of conn, which it then owns: close
// the Transport, or the TLS connection on top of it, and not conn.
func NewTransport(conn net.Conn) *Transport {
	t := &Transport{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok && rawIO {
		if raw, err := sc.SyscallConn(); err == nil {
			t.raw = raw
		}
	}
	return t
}

// NetConn returns the connection below.
func (t *Transport) NetConn() net.Conn { return t.conn }

// Ended reports whether the connection below has been read to its end. If so, an
// io.EOF of the TLS connection above is one without close_notify.
func (t *Transport) Ended() bool { return t.ended.Load() }

// LocalAddr returns the local address of the connection below.
func (t *Transport) LocalAddr() net.Addr { return t.conn.LocalAddr() }

// RemoteAddr returns the remote address of the connection below.
func (t *Transport) RemoteAddr() net.Addr { return t.conn.RemoteAddr() }

// SetDeadline sets the deadlines of the connection below. A relay has its own,
// and has no effect of these.
func (t *Transport) SetDeadline(d time.Time) error {
	if t.relaying.Load() {
		return nil
	}
	return t.conn.SetDeadline(d)
}

// SetReadDeadline is as SetDeadline, for reading.
func (t *Transport) SetReadDeadline(d time.Time) error {
	if t.relaying.Load() {
		return nil
	}
	return t.conn.SetReadDeadline(d)
}

// SetWriteDeadline is as SetDeadline, for writing.
func (t *Transport) SetWriteDeadline(d time.Time) error {
	if t.relaying.Load() {
		return nil // (*tls.Conn).CloseWrite sets one that would cut off what is queued
	}
	return t.conn.SetWriteDeadline(d)
}

// Close closes the connection below. What has been queued is lost.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.err == nil {
		t.err = net.ErrClosed
	}
	t.mu.Unlock()
	return t.conn.Close()
}

// CloseWrite closes the connection below for writing, if it can be.
func (t *Transport) CloseWrite() error {
	cw, ok := t.conn.(writeCloser)
	if !ok {
		return net.ErrClosed
	}
	return cw.CloseWrite()
}

type writeCloser interface{ CloseWrite() error }

// Read reads from the connection below.
func (t *Transport) Read(p []byte) (int, error) {
	if !t.relaying.Load() || len(p) == 0 {
		n, err := t.conn.Read(p)
		t.frames.takeAll(p[:n])
		if err == io.EOF {
			t.ended.Store(true)
		}
		return n, err
	}
	if t.try {
		if !t.frames.boundary() || !wholeApplication(t.in) {
			return 0, errWouldBlock
		}
		return t.deliver(p), nil
	}
	if t.raw != nil && t.frames.boundary() {
		t.synced = true
	}
	if len(t.in) == 0 {
		t.answer()
		if t.raw == nil {
			n, err := t.conn.Read(p)
			t.frames.takeAll(p[:n])
			t.note(n, err)
			return n, err
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	return t.deliver(p), nil
}

// note takes down what a read in a relay said.
func (t *Transport) note(n int, err error) {
	if err == io.EOF {
		t.ended.Store(true)
	}
	if n > 0 && !t.quiet {
		t.live.touch()
	}
}

// fill waits for data and reads it. While it waits there is no buffer.
func (t *Transport) fill() error {
	err := t.rawIn.read(t.raw)
	t.inBuf, t.in = t.rawIn.buf, nil
	t.rawIn.buf = nil
	if err == nil {
		t.in = t.inBuf[:t.rawIn.n]
	}
	t.note(len(t.in), err)
	if err != nil {
		t.drop()
	}
	return err
}

// deliver moves octets that are there, not beyond the end of a record, so that
// it is known what TLS has and what it has not.
func (t *Transport) deliver(p []byte) int {
	n := 0
	for n < len(p) && len(t.in) > 0 {
		m := t.frames.take(t.in[:min(len(t.in), len(p)-n)])
		copy(p[n:], t.in[:m])
		n, t.in = n+m, t.in[m:]
		if t.frames.boundary() {
			break
		}
	}
	if len(t.in) == 0 {
		t.drop()
	}
	return n
}

// drop gives the read buffer back.
func (t *Transport) drop() {
	giveBack(t.inBuf)
	t.inBuf, t.in = nil, nil
}

// Write writes to the connection below. Below a relay it takes p at once, and p
// is written by whoever flushes.
func (t *Transport) Write(p []byte) (int, error) {
	t.mu.Lock()
	if !t.relaying.Load() {
		err := t.err
		t.mu.Unlock()
		if err != nil {
			return 0, err
		}
		return t.conn.Write(p)
	}
	defer t.mu.Unlock()
	if t.err != nil {
		return 0, t.err
	}
	if !t.held && len(t.queue)+len(p) > control {
		t.err = ErrFlood
		return 0, t.err
	}
	if t.held && t.queueBuf == nil {
		t.queueBuf = borrow()
		t.queue = append(t.queueBuf[:0], t.queue...)
	}
	t.queue = append(t.queue, p...)
	if !t.held {
		t.kickLocked()
	}
	return len(p), nil
}

// flooded reports whether the peer asked for more answers than may wait.
func (t *Transport) flooded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err == ErrFlood
}

// hold makes writes wait for flush. They must not take long.
func (t *Transport) hold() {
	t.mu.Lock()
	t.held = true
	t.mu.Unlock()
}

// answer has the queue written before the reader waits for more, if the reader
// may have put something there: while a renegotiation goes on, a writer waits for
// its end and does not flush. Any other answer is flushed by a writer that holds.
func (t *Transport) answer() {
	if !t.frames.lost && t.frames.header[0] == typeApplication {
		return
	}
	t.mu.Lock()
	if len(t.queue) > 0 && t.err == nil {
		t.kickLocked()
	}
	t.mu.Unlock()
}

// kickLocked has the queue written by another goroutine if nobody writes it.
func (t *Transport) kickLocked() {
	if t.flushing {
		return
	}
	t.flushing = true
	t.live.group.Add(1)
	go func() {
		defer t.live.group.Done()
		_ = t.flush(false) // the next write has the error
	}()
}

// flush writes the queue, and waits until all is written. It ends a hold if it
// is called by who began it.
func (t *Transport) flush(holder bool) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	for {
		t.mu.Lock()
		if holder {
			t.held = false
		}
		queue, buf, err := t.queue, t.queueBuf, t.err
		t.queue, t.queueBuf = nil, nil
		t.flushing = len(queue) > 0 && err == nil
		again := t.flushing
		t.mu.Unlock()
		if !again {
			giveBack(buf)
			return err
		}
		err = t.writeOut(queue)
		giveBack(buf)
		if err != nil {
			t.mu.Lock()
			if t.err == nil {
				t.err = err
			}
			t.mu.Unlock()
		}
	}
}

// writeOut writes p to the connection below. The caller holds writing.
func (t *Transport) writeOut(p []byte) error {
	if t.raw != nil {
		return t.rawOut.write(t.raw, p)
	}
	for len(p) > 0 {
		n, err := t.conn.Write(p[:min(len(p), maxRecord)])
		if n > 0 {
			t.live.touch()
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// sendPlain writes p without a queue.
func (t *Transport) sendPlain(p []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	return t.writeOut(p)
}

// join makes t a part of a relay, for the rest of its life. It reports whether
// it was none before.
func (t *Transport) join(s *session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live != nil {
		return false
	}
	t.live = s
	if t.raw != nil {
		t.rawIn.init()
		t.rawOut.init(s)
	}
	t.relaying.Store(true)
	return true
}

// kill ends all I/O at once. With reset the peer of a TCP connection is told
// that this is not an end, and what it has not taken is dropped.
func (t *Transport) kill(reset bool) {
	if reset {
		if l, ok := t.conn.(interface{ SetLinger(sec int) error }); ok {
			_ = l.SetLinger(0) // nothing can be done about a failure
		}
	}
	_ = t.Close()
}
