package smtpproxy

import (
	"bytes"
	"sync"
)

// dotBuffer is how much of a message is written at once, in octets.
const dotBuffer = 64 << 10

// dotted is text in lines that end in CRLF: bare CR and LF become that, since
// nothing else may stand in mail (RFC 5321, Section 2.3.8), and dots at the
// beginning of lines are doubled (Section 4.5.2). No content can end it.
type dotted struct {
	out   []byte
	most  int  // octets that were in out before it was emptied
	plain bool // dots stay as they are, and none ends the text
	inner bool // the last octet was not the end of a line
	cr    bool // a CR was held back
}

// empty empties out.
func (d *dotted) empty() { d.most, d.out = max(d.most, len(d.out)), d.out[:0] }

// put adds an octet: at most three are written for it.
func (d *dotted) put(c byte) {
	if d.cr || c == '\n' {
		d.out, d.inner = append(d.out, '\r', '\n'), false
	}
	if d.cr = c == '\r'; d.cr || c == '\n' {
		return
	}
	if c == '.' && !d.inner && !d.plain {
		d.out = append(d.out, '.')
	}
	d.out, d.inner = append(d.out, c), true
}

// line adds what p begins with as far as it is a line, or the rest of one, that
// ends in CRLF and has no other CR or LF, and returns how much that was: 0 is for
// put. Nearly everything is such lines.
func (d *dotted) line(p []byte) int {
	n := bytes.IndexByte(p, '\n') + 1
	if n < 2 || d.cr || p[n-2] != '\r' || bytes.IndexByte(p[:n-2], '\r') >= 0 {
		return 0
	}
	if p[0] == '.' && !d.inner && !d.plain {
		d.out = append(d.out, '.')
	}
	d.out, d.inner = append(d.out, p[:n]...), false
	return n
}

// lineLength is how much of p is the rest of a line, or all of it. What line does
// not take goes octet by octet up to there, so that nothing is searched twice.
func lineLength(p []byte) int {
	if n := bytes.IndexByte(p, '\n') + 1; n > 0 {
		return n
	}
	return len(p)
}

// end adds the last line end, where it is missing, and the dot.
func (d *dotted) end() {
	if d.inner || d.cr {
		d.out = append(d.out, '\r', '\n')
	}
	if !d.plain {
		d.out = append(d.out, ".\r\n"...)
	}
}

// buffers are for messages on their way in and out, so that each does not need its
// own.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// A buffer has two parts of a message: as it is read, and as it is written. Those who
// use it say how much of it they have used.
type buffer struct {
	in, out         []byte
	usedIn, usedOut int // octets
}

// getBuffer returns an empty one.
func getBuffer() *buffer {
	b := buffers.Get().(*buffer)
	if b.in == nil {
		b.in, b.out = make([]byte, textBuffer), make([]byte, 0, dotBuffer)
	}
	return b
}

// written takes back what text has written to.
func (b *buffer) written(text *dotted) {
	text.empty()
	b.out, b.usedOut = text.out, text.most
}

// free gives it back, without what was in it.
func (b *buffer) free() {
	clear(b.in[:b.usedIn])
	clear(b.out[:b.usedOut])
	b.usedIn, b.usedOut = 0, 0
	if b.out = b.out[:0]; cap(b.out) <= 2*dotBuffer {
		buffers.Put(b)
	}
}

// A dotWriter writes the text of DATA to an upstream.
type dotWriter struct {
	u    *upstream
	text dotted
	most int // octets of a Write
}

// Write implements io.Writer.
func (w *dotWriter) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	slow := 0 // up to where it goes octet by octet
	for i := 0; i < len(p); {
		part, n := p[i:min(len(p), i+dotBuffer)], 0
		if i >= slow {
			if n = w.text.line(part); n == 0 {
				slow = i + lineLength(part)
			}
		}
		if n == 0 {
			w.text.put(p[i])
			n = 1
		}
		i += n
		if len(w.text.out) >= dotBuffer-8 {
			if err := w.flush(); err != nil {
				return i, err
			}
		}
	}
	return len(p), nil
}

func (w *dotWriter) flush() error {
	err := w.u.write(w.text.out)
	w.text.empty()
	return err
}

// end ends the text.
func (w *dotWriter) end() error {
	w.text.end()
	return w.flush()
}
