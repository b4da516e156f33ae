package outgoing

import (
	"bytes"
	"io"
)

// lineEnds writes to another writer, with CRLF for every bare CR and LF, and at
// the end.
type lineEnds struct {
	dst    io.Writer
	buf    []byte
	cr     bool // a CR was held back
	inLine bool
}

// block is how much is written at once, in octets.
const block = 32 << 10

// Write implements io.Writer.
func (w *lineEnds) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		part := p[done:min(len(p), done+block)]
		out := part
		if w.cr || !clean(part) {
			w.buf = w.append(w.buf[:0], part)
			out = w.buf
		} else {
			w.inLine = part[len(part)-1] != '\n'
		}
		if _, err := w.dst.Write(out); err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(p), nil
}

// clean reports whether all line ends are CRLF already.
func clean(p []byte) bool {
	crs := bytes.Count(p, []byte{'\r'})
	for rest := p; ; {
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			return crs == 0 // each is before one of the LFs
		}
		if n == 0 || rest[n-1] != '\r' {
			return false
		}
		crs--
		rest = rest[n+1:]
	}
}

func (w *lineEnds) append(out, p []byte) []byte {
	slow := 0 // up to where it goes octet by octet, so that nothing is searched twice
	for i := 0; i < len(p); i++ {
		if i >= slow && !w.cr {
			// A line that ends as it should, or the rest of one.
			n := bytes.IndexByte(p[i:], '\n') + 1
			if n > 1 && p[i+n-2] == '\r' && bytes.IndexByte(p[i:i+n-2], '\r') < 0 {
				out, w.inLine = append(out, p[i:i+n]...), false
				i += n - 1
				continue
			}
			if slow = i + n; n == 0 {
				slow = len(p)
			}
		}
		c := p[i]
		switch {
		case c == '\n':
			out, w.cr, w.inLine = append(out, '\r', '\n'), false, false
			continue
		case w.cr:
			out, w.inLine = append(out, '\r', '\n'), false
		}
		if w.cr = c == '\r'; !w.cr {
			out, w.inLine = append(out, c), true
		}
	}
	return out
}

// end writes the last line end where it is missing.
func (w *lineEnds) end() error {
	if !w.cr && !w.inLine {
		return nil
	}
	_, err := w.dst.Write([]byte("\r\n"))
	return err
}
