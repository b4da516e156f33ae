package mimeraw

import (
	"bytes"
	"io"
)

// bareLF returns the index of the first LF in p that no CR precedes, or -1.
// prevCR tells whether the octet before p was a CR.
func bareLF(p []byte, prevCR bool) int {
	for i := 0; ; {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			return -1
		}
		j += i
		if j == 0 && !prevCR || j > 0 && p[j-1] != '\r' {
			return j
		}
		i = j + 1
	}
}

// appendCRLF appends p to out with CRLF for every bare LF.
func appendCRLF(out, p []byte) []byte {
	prevCR := false
	for {
		j := bareLF(p, prevCR)
		if j < 0 {
			return append(out, p...)
		}
		out = append(out, p[:j]...)
		out = append(out, "\r\n"...)
		p = p[j+1:]
		prevCR = false
	}
}

// NewCRLFReader returns a reader that gives the octets of src with CRLF for
// every bare LF (RFC 8551, Section 3.1.1). CRLF and lone CR stay as they are.
// Errors of src are passed on as they are.
func NewCRLFReader(src io.Reader) io.Reader {
	return &crlfReader{src: src}
}

type crlfReader struct {
	src    io.Reader
	buf    []byte
	rest   []byte // what is not given out yet, part of buf
	err    error  // of src, given out after rest
	prevCR bool   // the octet before rest was a CR
	lf     bool   // a CR was given out, its LF was not
}

// Read implements io.Reader.
func (r *crlfReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for empty := 0; len(r.rest) == 0 && !r.lf; {
		if r.err != nil {
			return 0, r.err
		}
		if r.buf == nil {
			r.buf = make([]byte, blockSize)
		}
		var n int
		n, r.err = r.src.Read(r.buf)
		r.rest = r.buf[:n]
		if n > 0 {
			break
		}
		if empty++; empty >= maxEmptyReads && r.err == nil {
			return 0, io.ErrNoProgress
		}
	}
	return r.convert(p), nil
}

// convert fills p from rest.
func (r *crlfReader) convert(p []byte) (n int) {
	for n < len(p) {
		if r.lf {
			p[n] = '\n'
			n++
			r.lf = false
			continue
		}
		if len(r.rest) == 0 {
			break
		}
		part := r.rest[:min(len(r.rest), len(p)-n)]
		j := bareLF(part, r.prevCR)
		if j < 0 {
			n += copy(p[n:], part)
			r.prevCR = part[len(part)-1] == '\r'
			r.rest = r.rest[len(part):]
			continue
		}
		n += copy(p[n:], part[:j])
		p[n] = '\r'
		n++
		r.lf = true
		r.prevCR = false
		r.rest = r.rest[j+1:]
	}
	return n
}

// CRLFWriter writes to another writer, with CRLF for every bare LF. It holds
// nothing back between calls of Write.
type CRLFWriter struct {
	dst     io.Writer
	buf     []byte // converted octets, within one Write only
	prevCR  bool   // the last octet was a CR
	changed bool
	err     error
}

// NewCRLFWriter returns a CRLFWriter that writes to dst.
func NewCRLFWriter(dst io.Writer) *CRLFWriter {
	return &CRLFWriter{dst: dst}
}

// Write writes p. Octets without a bare LF go to the destination as they are, in
// one call. It returns len(p), or the first error of the destination, which
// every later call returns again; the count is then that of the octets of p
// known to be written.
func (w *CRLFWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	done := 0
	for done < len(p) {
		n, err := w.block(p[done:])
		if err != nil {
			w.err = err
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// WriteCanonical is Write for octets without a bare LF, which are not looked at
// again.
func (w *CRLFWriter) WriteCanonical(p []byte) (int, error) {
	if w.err != nil || len(p) == 0 {
		return 0, w.err
	}
	w.prevCR = p[len(p)-1] == '\r'
	if w.err = w.write(p); w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// block writes the start of p: all that is clean, or as much as fills the
// buffer when converted. It returns how many octets of p that was.
func (w *CRLFWriter) block(p []byte) (int, error) {
	j := bareLF(p, w.prevCR)
	if j < 0 {
		w.prevCR = p[len(p)-1] == '\r'
		return len(p), w.write(p)
	}
	w.changed = true
	if j >= blockSize/2 {
		w.prevCR = p[j-1] == '\r'
		return j, w.write(p[:j])
	}
	if w.buf == nil {
		w.buf = make([]byte, 0, blockSize)
	}
	out, n := w.buf[:0], 0
	for j >= 0 && len(out)+j+2 <= cap(out) {
		out = append(out, p[n:n+j]...)
		out = append(out, "\r\n"...)
		n += j + 1
		w.prevCR = false
		// One line must be found within what the buffer can hold.
		j = bareLF(p[n:min(len(p), n+cap(out)-len(out))], false)
	}
	// What is left of a small p goes along, to spare a call.
	if rest := p[n:]; j < 0 && len(rest) > 0 && len(out)+len(rest) <= cap(out) {
		out = append(out, rest...)
		n = len(p)
		w.prevCR = p[n-1] == '\r'
	}
	return n, w.write(out)
}

// write passes p on.
func (w *CRLFWriter) write(p []byte) error {
	n, err := w.dst.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// Changed reports whether a bare LF was seen, so that what was written is not
// what was given.
func (w *CRLFWriter) Changed() bool { return w.changed }

// Flush returns the error of an earlier Write, if any. There is never anything
// to write.
func (w *CRLFWriter) Flush() error { return w.err }
