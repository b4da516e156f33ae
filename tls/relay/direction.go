package relay

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// A direction carries what comes from one side to the other. While nothing
// comes it holds no buffer but a small one.
type direction struct {
	s        *session
	from, to *side
	result   Flow
	writing  atomic.Bool
	discard  bool   // the other side takes no more
	full     int    // how many reads in a row have filled small
	medium   []byte // of a connection that cannot be asked what is there, or nil
	big      *[chunk + overhead]byte
	small    [small]byte
}

func (d *direction) init(s *session, from, to *side) { d.s, d.from, d.to = s, from, to }

// pump runs until the direction has ended.
func (d *direction) pump(ctx context.Context) {
	for {
		p, err := d.read()
		if len(p) > 0 && !d.discard {
			d.send(ctx, p)
		}
		d.release()
		if err != nil {
			d.result.Duration = time.Since(d.s.start)
			d.end(ctx, err)
			return
		}
	}
}

// read waits for data. They are valid until release.
func (d *direction) read() ([]byte, error) {
	t := d.from.t
	if d.from.tls == nil {
		if t.raw != nil {
			err := t.fill()
			return t.in, err
		}
		return d.readUnknown(t)
	}
	if !t.synced && d.from.canRenegotiate {
		return d.readUnknown(d.from.conn)
	}
	n, err := d.from.conn.Read(d.small[:])
	if err != nil || n < small && len(t.in) == 0 {
		return d.small[:n], err
	}
	// There is more. Take what is there, without waiting. What else happens is
	// met again by the next read.
	d.big = borrow()
	copy(d.big[:], d.small[:n])
	t.try = true
	for n < chunk && err == nil {
		var m int
		m, err = d.from.conn.Read(d.big[n:chunk])
		n += m
	}
	t.try = false
	return d.big[:n], nil
}

// readUnknown reads from a connection that cannot be asked what is there. It may
// wait, so it borrows nothing.
func (d *direction) readUnknown(r io.Reader) ([]byte, error) {
	if d.medium != nil {
		n, err := r.Read(d.medium)
		return d.medium[:n], err
	}
	n, err := r.Read(d.small[:])
	if n < small {
		d.full = 0
	} else if d.full++; d.full == 4 {
		d.medium = make([]byte, medium)
	}
	return d.small[:n], err
}

// release gives back all buffers.
func (d *direction) release() {
	giveBack(d.big)
	d.big = nil
	if d.from.tls == nil {
		d.from.t.drop()
	}
}

// send hands p to the other side.
func (d *direction) send(ctx context.Context, p []byte) {
	var err error
	n := len(p)
	d.writing.Store(true)
	if d.to.tls != nil {
		err = d.to.send(ctx, func() error {
			m, writeErr := d.to.conn.Write(p)
			p = p[m:]
			if len(p) == 0 {
				d.release() // it is in the queue
			}
			return writeErr
		})
	} else {
		err = d.to.t.sendPlain(p)
	}
	d.writing.Store(false)
	if err != nil {
		d.failedWrite(err)
		return
	}
	d.result.Bytes += int64(n)
}

// failedWrite stops writing. Reading goes on, so that the peer that sends is
// not kept from reading why: the reset that answers what nobody reads would
// drop it.
func (d *direction) failedWrite(err error) {
	s := d.s
	s.mu.Lock()
	d.result.Err = s.blame(&Error{d.to.id, OpWrite, err})
	s.mu.Unlock()
	d.discard, d.from.t.quiet = true, true
	s.linger()
}

// end passes on what the last read said.
func (d *direction) end(ctx context.Context, err error) {
	s := d.s
	truncated := d.from.tls != nil && d.from.t.ended.Load() && (err == io.EOF || err == io.ErrUnexpectedEOF)
	d.result.Truncated = truncated
	switch {
	case d.discard:
		return // the first error counts
	case truncated && (err == io.ErrUnexpectedEOF || !s.opts.AllowTruncation):
		d.result.Err = s.abort(&Error{d.from.id, OpRead, io.ErrUnexpectedEOF}, false)
	case d.from.t.flooded():
		// crypto/tls lost track of its keys when it could not answer.
		d.result.Err = s.abort(&Error{d.from.id, OpWrite, ErrFlood}, false)
	case err != io.EOF:
		d.result.Err = s.abort(&Error{d.from.id, OpRead, err}, false)
	default:
		s.endedFirst(d.from.id)
		d.writing.Store(true)
		err = d.to.closeWrite(ctx)
		d.writing.Store(false)
		if err != nil {
			d.failedWrite(err)
		}
		s.linger()
	}
}

// endedFirst notes which side ended first.
func (s *session) endedFirst(id Side) {
	s.mu.Lock()
	if s.first == Neither && !s.aborted {
		s.first = id
	}
	s.mu.Unlock()
}
