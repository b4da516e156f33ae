package mimeraw

import (
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
)

const (
	base64Columns = 76 // RFC 2045, Section 6.8: at most 76
	base64Line    = base64Columns / 4 * 3
	base64Lines   = blockSize / (base64Columns + 2) // lines in one block
)

// NewBase64Writer returns a writer that encodes to dst in base64 (RFC 2045,
// Section 6.8), in lines of 76 characters that end in CRLF. Close writes what is
// left and the last line end, and does not close dst; without any data it writes
// nothing. The first error of dst is returned by every later call.
func NewBase64Writer(dst io.Writer) io.WriteCloser {
	return &base64Writer{dst: dst, out: make([]byte, 0, base64Lines*(base64Columns+2))}
}

type base64Writer struct {
	dst  io.Writer
	line [base64Line]byte // a line that is not complete
	n    int              // octets in line
	out  []byte           // encoded lines, not written yet
	err  error
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
		if len(w.out) == cap(w.out) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		at := len(w.out)
		w.out = w.out[:at+base64Columns+2]
		line := w.out[at:]
		base64.StdEncoding.Encode(line[:base64Columns], p[:base64Line])
		line[base64Columns], line[base64Columns+1] = '\r', '\n'
		p = p[base64Line:]
	}
	return nil
}

// flush writes the encoded lines.
func (w *base64Writer) flush() error {
	n, err := w.dst.Write(w.out)
	if err == nil && n < len(w.out) {
		err = io.ErrShortWrite
	}
	w.out = w.out[:0]
	w.err = err
	return err
}

// Close implements io.Closer. A second call returns nil when the first one did.
func (w *base64Writer) Close() error {
	if errors.Is(w.err, fs.ErrClosed) {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	if w.n > 0 {
		if len(w.out) == cap(w.out) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.out = base64.StdEncoding.AppendEncode(w.out, w.line[:w.n])
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
