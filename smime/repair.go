package smime

import (
	"bytes"
	"io"
)

// A repair is the common part of writers that pass encoded text with canonical
// line ends on as it is, unless it would not survive its way. What they change
// does not change what the text decodes to.
type repair struct {
	dst    io.Writer
	out    []byte
	line   int    // octets written of the current line
	blanks []byte // that may turn out to be at the end of a line
	cr     bool   // a CR of which the LF may follow
}

// maxRepairLine is where a line is broken, in octets; RFC 5322, Section 2.1.1
// allows 998.
const maxRepairLine = 900

// clean reports whether p can pass: whole lines of moderate length, without
// anything that is not printable US-ASCII, and not like a delimiter.
func (r *repair) clean(p []byte) bool {
	if r.line+len(r.blanks) > 0 || r.cr || len(p) == 0 || p[len(p)-1] != '\n' {
		return false
	}
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') // there is one
		if i == 0 || i > maxRepairLine || rest[0] == '-' || rest[i-1] != '\r' || !graphic(rest[:i-1]) {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}

// graphic reports whether p consists of visible US-ASCII.
func graphic(p []byte) bool {
	for _, b := range p {
		if b-'!' > '~'-'!' {
			return false
		}
	}
	return true
}

// flush writes what is ready.
func (r *repair) flush() error {
	err := writeAll(r.dst, r.out)
	r.out = r.out[:0]
	return err
}

// put adds an octet, after the blanks before it.
func (r *repair) put(b byte) {
	r.out = append(append(r.out, r.blanks...), b)
	r.line += len(r.blanks) + 1
	r.blanks = r.blanks[:0]
}

// endLine adds a line end, without the blanks before it.
func (r *repair) endLine(end string) {
	r.out = append(r.out, end...)
	r.blanks, r.line = r.blanks[:0], 0
}

// A base64Repair is for base64. It drops what decoders have to ignore: RFC
// 2045, Section 6.8.
type base64Repair struct{ repair }

// Write implements io.Writer.
func (w *base64Repair) Write(p []byte) (int, error) {
	n := len(p)
	start := bytes.IndexByte(p, '\n') + 1
	if w.line+len(w.blanks) == 0 {
		start = 0
	}
	w.slow(p[:start])
	end := bytes.LastIndexByte(p, '\n') + 1
	if end > start && w.clean(p[start:end]) {
		if err := w.flush(); err != nil {
			return 0, err
		}
		if err := writeAll(w.dst, p[start:end]); err != nil {
			return 0, err
		}
		start = end
	}
	w.slow(p[start:])
	return n, w.flush()
}

// slow takes octets one by one.
func (w *base64Repair) slow(p []byte) {
	for _, b := range p {
		switch {
		case b == '\n':
			w.endLine("\r\n")
		case b == ' ', b == '\t':
			if len(w.blanks) < maxRepairLine {
				w.blanks = append(w.blanks, b)
			}
		case b == '\r', b == 0, b >= 0x80:
		case b == '-' && w.line+len(w.blanks) == 0:
			// What is dropped behind it must not make a delimiter of the line.
		default:
			if w.line+len(w.blanks) >= maxRepairLine {
				w.endLine("\r\n")
			}
			w.put(b)
		}
	}
}

// Close implements io.Closer.
func (w *base64Repair) Close() error { return nil }

// A quotedRepair is for quoted-printable. It encodes what should have been, and
// drops the blanks at the ends of lines, which decoders have to drop: RFC 2045,
// Section 6.7.
type quotedRepair struct {
	repair
	octet int  // how many octets of an encoded one may follow
	from  int  // how many octets of the line agree with "From "; -1: it differs
	held  bool // a "=" at the end of a long line: it may be a soft line break
}

// Write implements io.Writer.
func (w *quotedRepair) Write(p []byte) (int, error) {
	for _, b := range p {
		if w.held {
			w.release(b == '\r' || b == '\n')
		}
		if w.cr && b != '\n' {
			w.encode('\r')
		}
		switch w.cr = b == '\r'; {
		case w.cr:
		case b == '\n':
			w.endLine("\r\n")
			w.octet, w.from = 0, 0
		case b == ' ' && w.from == 4:
			w.out = append(w.out[:len(w.out)-4], "=46rom"...) // the line is not broken there
			w.from, w.line = -1, w.line+2
			w.blanks = append(w.blanks, b)
		case b == ' ', b == '\t':
			w.from = -1
			w.blanks = append(w.blanks, b)
			w.breakLine()
		case b == 0, b >= 0x80:
			w.encode(b)
		default:
			w.literal(b)
		}
	}
	if w.from > 0 && w.from <= 4 {
		// Octets that may have to be encoded stay until the next call.
		keep := len(w.out) - w.from
		err := writeAll(w.dst, w.out[:keep])
		w.out = w.out[:copy(w.out, w.out[keep:])]
		return len(p), err
	}
	return len(p), w.flush()
}

// release adds the "=" that was held. One that ends the line is the break that
// a long line needs.
func (w *quotedRepair) release(endsLine bool) {
	w.held = false
	if !endsLine {
		w.breakLine()
	}
	w.from, w.octet = -1, 2
	w.put('=')
}

// literal adds an octet that is fine.
func (w *quotedRepair) literal(b byte) {
	if b == '=' && w.tooLong() {
		w.held = true
		return
	}
	w.breakLine()
	if w.from >= 0 && w.from < 4 && "From"[w.from] == b {
		w.from++
	} else {
		w.from = -1
	}
	w.put(b)
	switch {
	case b == '=':
		w.octet = 2
	case w.octet > 0:
		w.octet--
	}
}

// encode adds an octet in its encoded form.
func (w *quotedRepair) encode(b byte) {
	const digits = "0123456789ABCDEF"
	w.breakLine()
	w.from, w.octet = -1, 0
	w.put('=')
	w.put(digits[b>>4])
	w.put(digits[b&15])
}

// breakLine breaks a line that has become too long with a soft line break, but
// not within an encoded octet.
func (w *quotedRepair) breakLine() {
	if !w.tooLong() {
		return
	}
	w.put('=')
	w.endLine("\r\n")
	w.from = 0
}

// tooLong reports whether the line has to be broken here.
func (w *quotedRepair) tooLong() bool { return w.line+len(w.blanks) >= maxRepairLine && w.octet == 0 }

// Close implements io.Closer.
func (w *quotedRepair) Close() error {
	if w.held {
		w.release(true)
	}
	if w.cr {
		w.encode('\r')
	}
	return w.flush()
}
