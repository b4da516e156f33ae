package mimeraw

import (
	"errors"
	"io"
	"io/fs"

	"github.com/segmentio/asm/base64"
)

const (
	base64Columns = 76 // RFC 2045, Section 6.8: at most 76
	base64Line    = base64Columns / 4 * 3
	base64Row     = base64Columns + 2     // with its end
	base64Lines   = blockSize / base64Row // lines in one block
)

// NewBase64Writer returns a writer that encodes to dst in base64 (RFC 2045,
// Section 6.8), in lines of 76 characters that end in CRLF. Close writes what is
// left and the last line end, and does not close dst; without any data it writes
// nothing. The first error of dst is returned by every later call.
//
// When dst is a [Lender], lines are encoded into its memory.
func NewBase64Writer(dst io.Writer) io.WriteCloser {
	w := &base64Writer{dst: dst}
	w.lender, _ = dst.(Lender)
	return w
}

// A Lender is a destination that lends the memory where it puts what is written.
// Lend returns an empty slice with some capacity or none; what is appended to it
// within that, and given to the very next Write, need not be copied. It is what
// AvailableBuffer is for a bufio.Writer, under a name that no type has by accident:
// one that embeds a bufio.Writer may put something else there before.
type Lender interface {
	io.Writer
	Lend() []byte
}

type base64Writer struct {
	dst    io.Writer
	lender Lender           // dst, or nil
	line   [base64Line]byte // a line that is not complete
	n      int              // octets in line
	room   *[blockSize]byte // nil before the first line, and after Close
	out    []byte           // encoded lines, not written yet, part of room
	used   int              // octets of room that were ever in use
	err    error
}

// Write implements io.Writer.
func (w *base64Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	total := len(p)
	if w.n > 0 {
		n := copy(w.line[w.n:], p)
		w.n += n
		p = p[n:]
		if w.n < base64Line {
			return total, nil
		}
		w.n = 0
		if err := w.encode(w.line[:]); err != nil {
			return 0, err
		}
	}
	for len(p) >= base64Line {
		n := min(len(p)/base64Line, base64Lines) * base64Line
		if err := w.encode(p[:n]); err != nil {
			return total - len(p), err
		}
		p = p[n:]
	}
	w.n = copy(w.line[:], p)
	return total, nil
}

// encode encodes whole lines.
func (w *base64Writer) encode(p []byte) error {
	for len(p) > 0 {
		var lent []byte
		if w.lender != nil && len(w.out) == 0 {
			lent = w.lender.Lend()
		}
		if lines := min(len(p)/base64Line, cap(lent)/base64Row); lines > 0 {
			lent = lent[:lines*base64Row]
			encodeLines(lent, p[:lines*base64Line])
			if err := w.write(lent); err != nil {
				return err
			}
			p = p[lines*base64Line:]
			continue
		}
		w.allocate()
		at := len(w.out)
		lines := min(len(p)/base64Line, (cap(w.out)-at)/base64Row)
		if cap(lent) > 0 {
			lines = 1 // behind it there is more to be lent
		}
		w.out = w.out[:at+lines*base64Row]
		encodeLines(w.out[at:], p[:lines*base64Line])
		p = p[lines*base64Line:]
		if cap(lent) > 0 || len(w.out) == cap(w.out) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// allocate sees to it that out has room.
func (w *base64Writer) allocate() {
	if w.room == nil {
		w.room, _ = scratches.Get().(*[blockSize]byte) // nothing else is in there
		w.out = w.room[: 0 : base64Lines*base64Row]
	}
}

// encodeLines encodes whole lines into dst, which has their size. The code for
// vectors is slow at the end of what it is given, so all lines are encoded at
// one go, to the end of dst, and then moved forward to make room for their ends.
func encodeLines(dst, src []byte) {
	lines := len(src) / base64Line
	text := dst[2*lines:]
	base64.StdEncoding.Encode(text, src)
	for range lines {
		copy(dst, text[:base64Columns])
		dst[base64Columns], dst[base64Columns+1] = '\r', '\n'
		dst, text = dst[base64Columns+2:], text[base64Columns:]
	}
}

// flush writes the encoded lines.
func (w *base64Writer) flush() error {
	err := w.write(w.out)
	w.used = max(w.used, len(w.out))
	w.out = w.out[:0]
	return err
}

func (w *base64Writer) write(out []byte) error {
	n, err := w.dst.Write(out)
	if err == nil && n < len(out) {
		err = io.ErrShortWrite
	}
	w.err = err
	return err
}

// Close implements io.Closer. A second call returns nil when the first one did.
func (w *base64Writer) Close() error {
	if errors.Is(w.err, fs.ErrClosed) {
		return nil
	}
	defer w.free()
	if w.err != nil {
		return w.err
	}
	if w.n > 0 {
		w.allocate()
		at := len(w.out)
		w.out = w.out[:at+base64.StdEncoding.EncodedLen(w.n)]
		base64.StdEncoding.Encode(w.out[at:], w.line[:w.n])
		w.out = append(w.out, "\r\n"...)
	}
	if len(w.out) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.err = fs.ErrClosed
	return nil
}

// free gives the memory back.
func (w *base64Writer) free() {
	if w.room == nil {
		return
	}
	clear(w.room[:max(w.used, len(w.out))]) // it may have been secret
	scratches.Put(w.room)
	w.room, w.out = nil, nil
}
