package mimeraw

import (
	"errors"
	"io"
	"io/fs"
)

const (
	// qpColumns is the longest encoded line (RFC 2045, Section 6.7, rule 5),
	// less the equals sign of a soft line break.
	qpColumns = 75

	// qpAhead is the number of octets that must be seen to encode one: as many
	// as tell a line that starts with "From ".
	qpAhead = len(fromPrefix)
)

// NewQuotedPrintableWriter returns a writer that encodes text with CRLF line ends
// to dst in quoted-printable (RFC 2045, Section 6.7), so that it survives mail
// servers and mbox files: lines of at most 76 characters; every octet that is not
// printable US-ASCII encoded, also a CR or LF that is not part of a CRLF; a blank
// at the end of a line, a dot at its start, and the F of a line that starts with
// "From " encoded, too (RFC 2049, Section 3). That holds for the lines made by
// soft line breaks as well.
//
// Close writes what is left; it adds no line end and does not close dst. The
// first error of dst is returned by every later call.
func NewQuotedPrintableWriter(dst io.Writer) io.WriteCloser {
	return &qpWriter{dst: dst}
}

type qpWriter struct {
	dst   io.Writer
	out   []byte // encoded, not written yet
	col   int    // columns of the current line
	carry [16]byte
	n     int // octets in carry, which wait for what follows
	err   error
}

// Write implements io.Writer.
func (w *qpWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	rest := p
	if w.n > 0 {
		held := w.n
		added := copy(w.carry[held:], rest)
		all := w.carry[:held+added]
		used := w.encode(all, false)
		if used < held { // then all of p is in carry
			w.n = copy(w.carry[:], all[used:])
			return len(p), w.err
		}
		w.n = 0
		rest = rest[used-held:]
	}
	rest = rest[w.encode(rest, false):]
	w.n = copy(w.carry[:], rest)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Close implements io.Closer. A second call returns nil when the first one did.
func (w *qpWriter) Close() error {
	if errors.Is(w.err, fs.ErrClosed) {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	w.encode(w.carry[:w.n], true)
	w.flush()
	if w.err != nil {
		return w.err
	}
	w.err = fs.ErrClosed
	return nil
}

// encode encodes p and returns how many octets of it; unless p is final, the
// last ones may have to wait for what follows them.
func (w *qpWriter) encode(p []byte, final bool) int {
	if w.out == nil {
		w.out = make([]byte, 0, blockSize)
	}
	for i := 0; i < len(p); {
		if len(w.out) > blockSize-2*(qpColumns+1) {
			w.flush()
		}
		if n := w.plain(p[i:]); n > 0 {
			i += n
			continue
		}
		if len(p)-i < qpAhead && !final {
			return i
		}
		i += w.special(p[i:])
	}
	return len(p)
}

// plain copies octets that need no thought, up to the end of the line.
func (w *qpWriter) plain(p []byte) int {
	if w.col == 0 { // the first octet of a line may be special
		return 0
	}
	n, most := 0, min(len(p), qpColumns-w.col)
	for n < most && p[n] > ' ' && p[n] < 0x7f && p[n] != '=' {
		n++
	}
	w.out = append(w.out, p[:n]...)
	w.col += n
	return n
}

// special encodes the first octet of p, or a line end, with regard to the octets
// that follow and to its place in the line.
func (w *qpWriter) special(p []byte) int {
	if isCRLF(p) {
		w.out = append(w.out, "\r\n"...)
		w.col = 0
		return 2
	}
	c := p[0]
	literal := c > ' ' && c < 0x7f && c != '='
	if isBlank(c) {
		// RFC 2045, Section 6.7, rule 3: not at the end of a line.
		literal = len(p) > 1 && !isCRLF(p[1:])
	}
	width := 3
	if literal {
		width = 1
	}
	if w.col+width > qpColumns {
		w.out = append(w.out, "=\r\n"...)
		w.col = 0
	}
	if w.col == 0 && (c == '.' || len(p) >= len(fromPrefix) && string(p[:len(fromPrefix)]) == fromPrefix) {
		literal = false
	}
	if literal {
		w.out = append(w.out, c)
		w.col++
		return 1
	}
	w.out = append(w.out, '=', upperHex[c>>4], upperHex[c&15])
	w.col += 3
	return 1
}

// isCRLF reports whether p starts with a line end.
func isCRLF(p []byte) bool {
	return len(p) > 1 && p[0] == '\r' && p[1] == '\n'
}

// flush writes what is encoded; after an error it only forgets it.
func (w *qpWriter) flush() {
	if w.err == nil && len(w.out) > 0 {
		n, err := w.dst.Write(w.out)
		if err == nil && n < len(w.out) {
			err = io.ErrShortWrite
		}
		w.err = err
	}
	w.out = w.out[:0]
}

// NewQuotedPrintableReader returns a reader that decodes quoted-printable (RFC
// 2045, Section 6.7) as it is found in mail: line ends stay as they are, lines
// may have any length, blanks at the end of a line are removed, and an equals
// sign that starts neither an octet nor a soft line break is taken literally, but
// removed at the very end. It has no errors of its own. Errors of src are passed
// on as they are.
func NewQuotedPrintableReader(src io.Reader) io.Reader {
	return &qpReader{src: src}
}

// qpWindow is the greatest number of blanks at the end of a line that are
// recognised as such, in octets.
const qpWindow = 4 << 10

type qpReader struct {
	src  io.Reader
	buf  []byte
	in   []byte // not decoded yet, part of buf
	keep int    // blanks at the start of in that are known to be text
	err  error  // of src, given out when in is used up
}

// Read implements io.Reader.
func (r *qpReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := r.decode(p); n > 0 {
			return n, nil
		}
		if r.err != nil { // then decode has used up all of in
			return 0, r.err
		}
		if err := r.refill(); err != nil {
			return 0, err
		}
	}
}

// refill reads more of the source behind what is left in the buffer.
func (r *qpReader) refill() error {
	if r.buf == nil {
		r.buf = make([]byte, qpWindow)
	}
	left := copy(r.buf, r.in)
	r.in = r.buf[:left]
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[left:])
		r.in = r.buf[:left+n]
		r.err = err
		if n > 0 || err != nil {
			return nil
		}
	}
	return io.ErrNoProgress
}

// decode fills p. It returns 0 when it needs more of the source.
func (r *qpReader) decode(p []byte) int {
	n := 0
	for n < len(p) && len(r.in) > 0 {
		c := r.in[0]
		switch {
		case c == '=':
			used, out, has := r.equals()
			if used == 0 {
				return n
			}
			if has {
				p[n] = out
				n++
			}
			r.in = r.in[used:]
		case isBlank(c):
			m, ok := r.blanks(p[n:])
			if !ok {
				return n
			}
			n += m
		default:
			m, most := 1, min(len(r.in), len(p)-n)
			for m < most && r.in[m] != '=' && !isBlank(r.in[m]) {
				m++
			}
			n += copy(p[n:], r.in[:m])
			r.in = r.in[m:]
		}
	}
	return n
}

// lookPast returns what follows the blanks at in[from:]: a line end of the given
// length, or none. It answers known false when more must be seen.
func (r *qpReader) lookPast(from int) (end, lineEnd int, known bool) {
	end = from
	for end < len(r.in) && isBlank(r.in[end]) {
		end++
	}
	rest := r.in[end:]
	switch {
	case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
		return end, 2, true
	case len(rest) > 0 && rest[0] == '\n':
		return end, 1, true
	case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
		return end, 0, r.err != nil || len(r.in) == qpWindow
	}
	return end, 0, true
}

// equals decodes what starts with an equals sign. It returns how many octets
// that takes, 0 when more must be seen.
func (r *qpReader) equals() (used int, out byte, has bool) {
	if len(r.in) > 2 {
		hi, lo := hexValue(r.in[1]), hexValue(r.in[2])
		if hi >= 0 && lo >= 0 {
			return 3, byte(hi<<4 | lo), true
		}
	} else if r.err == nil {
		return 0, 0, false
	}
	end, lineEnd, known := r.lookPast(1)
	switch {
	case !known:
		return 0, 0, false
	case lineEnd > 0:
		return end + lineEnd, 0, false
	case end == len(r.in) && r.err != nil:
		return end, 0, false
	}
	return 1, '=', true
}

// blanks copies or drops the blanks at the start of in.
func (r *qpReader) blanks(p []byte) (n int, ok bool) {
	if r.keep == 0 {
		end, lineEnd, known := r.lookPast(0)
		switch {
		case !known:
			return 0, false
		case lineEnd > 0 || end == len(r.in) && r.err != nil:
			r.in = r.in[end:]
			return 0, true
		}
		r.keep = end
	}
	n = copy(p, r.in[:r.keep])
	r.keep -= n
	r.in = r.in[n:]
	return n, true
}
