package mimeraw

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

const (
	// maxBoundary is the longest boundary that is taken, in octets. RFC 2046,
	// Section 5.1.1 allows 70.
	maxBoundary = 256

	// maxPadding is the greatest number of blanks after a boundary, plus one.
	// It bounds what must be seen to recognise a delimiter.
	maxPadding = 1 << 10

	// minMultipartBuffer is the smallest buffer in which a delimiter and what
	// surrounds it always fit.
	minMultipartBuffer = 4 << 10
)

// Errors of this file.
var (
	// ErrBoundary is returned by [Multipart.Next] when the boundary is empty,
	// longer than 256 octets, or holds a line end.
	ErrBoundary = errors.New("mimeraw: not a usable boundary")

	// ErrPartSkipped is returned by the reader of a part after Next was
	// called again.
	ErrPartSkipped = errors.New("mimeraw: reading a part after the next one was asked for")
)

// delimiter says what follows the octets that are known to be content.
type delimiter int

const (
	delimUnknown delimiter = iota // content, or more must be seen
	delimNone                     // not a delimiter
	delimOpen
	delimClose
)

// Multipart splits the body of a multipart entity into its parts (RFC 2046,
// Section 5.1) in constant memory and without changing an octet.
//
// A delimiter is "--", the boundary, blanks (fewer than 1,024) and a line end,
// at the start of a line; "--", the boundary and "--" closes, whatever follows
// on that line. Lines end in CRLF or LF, also mixed; a lone CR is content. The
// line end before a delimiter belongs to the delimiter.
type Multipart struct {
	src   *bufio.Reader
	delim []byte // LF, "--", boundary

	part  *part // the part that is being read; nil before the first
	start bool  // the source is at the start of a line
	ready int   // octets in the buffer that are known to be content
	next  delimiter
	skip  int // length of the delimiter that next speaks of, line ends included

	eof      bool // of the source
	closed   bool
	preamble int64
	epilogue int64
	err      error
}

// NewMultipart returns a splitter of src, whose parts are separated by boundary.
// White space at the end of the boundary, which RFC 2046, Section 5.1.1 forbids,
// is ignored. The buffer of src should be large, 64 KiB for example; when it
// holds less than 4 KiB, another one is put around it.
func NewMultipart(src *bufio.Reader, boundary string) *Multipart {
	if src.Size() < minMultipartBuffer {
		src = bufio.NewReaderSize(src, minMultipartBuffer)
	}
	boundary = strings.TrimRight(boundary, " \t")
	m := &Multipart{src: src, delim: []byte("\n--" + boundary), start: true}
	if boundary == "" || len(boundary) > maxBoundary || strings.ContainsAny(boundary, "\r\n") {
		m.err = ErrBoundary
	}
	return m
}

// Next skips what remains of the current part and returns a reader of the next
// one: its header and body as received. The reader is valid until Next is called
// again, and implements [io.WriterTo] too. A part that the source cuts off ends
// with io.EOF; [Multipart.Closed] tells.
//
// Next returns io.EOF when there is no other part; it has then read the source
// to its end. Errors of the source are returned as they are, and again by every
// later call.
func (m *Multipart) Next() (io.Reader, error) {
	for m.err == nil {
		ok, err := m.find()
		if err != nil {
			m.err = err
			break
		}
		if !ok {
			break
		}
		if m.part == nil {
			m.preamble += int64(m.ready)
		}
		m.discard(m.ready)
	}
	m.part = nil
	if m.err != nil {
		return nil, m.err
	}
	next := m.next
	_, _ = m.src.Discard(m.skip) // all of it is buffered
	m.next, m.skip = delimUnknown, 0
	switch next {
	case delimOpen:
		m.start = true
		m.part = &part{m: m}
		return m.part, nil
	case delimClose:
		m.closed = true
		m.err = m.drain()
	default:
		m.err = io.EOF
	}
	return nil, m.err
}

// Preamble returns the number of octets before the first delimiter and the line
// end that belongs to it. It is valid after the first call of Next.
func (m *Multipart) Preamble() int64 { return m.preamble }

// Epilogue returns the number of octets after the line of the closing delimiter.
// It is valid after Next has returned io.EOF.
func (m *Multipart) Epilogue() int64 { return m.epilogue }

// Closed reports whether the closing delimiter was seen.
func (m *Multipart) Closed() bool { return m.closed }

// discard removes n octets of content from the buffer.
func (m *Multipart) discard(n int) {
	_, _ = m.src.Discard(n) // they are buffered
	m.ready -= n
}

// find makes sure that there are octets of content in the buffer. It returns
// false when there are none left: a delimiter or the end of the source follows.
func (m *Multipart) find() (bool, error) {
	for m.ready == 0 && m.next == delimUnknown {
		w, _ := m.src.Peek(m.src.Buffered())
		m.scan(w)
		if m.ready > 0 || m.next != delimUnknown {
			break
		}
		if m.eof {
			m.next = delimNone
			break
		}
		// What is held back is less than minMultipartBuffer, so there is room.
		if _, err := m.src.Peek(len(w) + 1); err == io.EOF {
			m.eof = true
		} else if err != nil {
			return false, err
		}
	}
	return m.ready > 0, nil
}

// scan looks for a delimiter in the buffered octets w. It sets ready to the
// number of octets that are content for certain, and next and skip when a
// delimiter follows them.
func (m *Multipart) scan(w []byte) {
	if m.start {
		kind, n := m.classify(w)
		switch kind {
		case delimUnknown:
			return
		case delimOpen, delimClose:
			m.next, m.skip = kind, n
			return
		}
		m.start = false
	}
	for i := 0; ; {
		j := bytes.Index(w[i:], m.delim)
		if j < 0 {
			break
		}
		j += i
		kind, n := m.classify(w[j+1:])
		if kind == delimNone {
			i = j + 1
			continue
		}
		// RFC 2046, Section 5.1.1: the line end before the delimiter is part
		// of the delimiter.
		m.ready = beforeLF(w, j)
		if kind != delimUnknown {
			m.next, m.skip = kind, j-m.ready+1+n
		}
		return
	}
	m.ready = len(w)
	if !m.eof {
		m.ready -= m.held(w)
	}
}

// held returns how many octets at the end of w could be the start of a
// delimiter.
func (m *Multipart) held(w []byte) int {
	if len(w) == 0 {
		return 0
	}
	tail := max(0, len(w)-len(m.delim))
	if k := bytes.LastIndexByte(w[tail:], '\n'); k >= 0 {
		k += tail
		if bytes.HasPrefix(m.delim, w[k:]) {
			return len(w) - beforeLF(w, k)
		}
	}
	if w[len(w)-1] == '\r' {
		return 1
	}
	return 0
}

// beforeLF returns where the line end starts whose LF is at w[lf].
func beforeLF(w []byte, lf int) int {
	if lf > 0 && w[lf-1] == '\r' {
		return lf - 1
	}
	return lf
}

// classify says whether the line w is a delimiter, and how many octets of it
// belong to that. It answers delimUnknown when more must be seen.
func (m *Multipart) classify(w []byte) (delimiter, int) {
	dash := m.delim[1:]
	more := delimUnknown
	if m.eof {
		more = delimNone
	}
	if len(w) < len(dash) {
		if bytes.HasPrefix(dash, w) {
			return more, 0
		}
		return delimNone, 0
	}
	if !bytes.HasPrefix(w, dash) {
		return delimNone, 0
	}
	tail := w[len(dash):]
	if bytes.HasPrefix(tail, []byte("--")) {
		return delimClose, len(dash) + 2
	}
	n := 0
	for n < len(tail) && n < maxPadding && isBlank(tail[n]) {
		n++
	}
	tail = tail[n:]
	n += len(dash)
	switch {
	case n == len(dash)+maxPadding:
		return delimNone, 0
	case len(tail) == 0 && m.eof:
		return delimOpen, n
	case len(tail) == 0:
		return delimUnknown, 0
	case tail[0] == '\n':
		return delimOpen, n + 1
	case len(tail) > 1 && tail[0] == '\r' && tail[1] == '\n':
		return delimOpen, n + 2
	case len(tail) == 1 && (tail[0] == '\r' || tail[0] == '-' && n == len(dash)):
		return more, 0
	}
	return delimNone, 0
}

// drain reads the rest of the closing delimiter's line, and the epilogue. It
// returns io.EOF, or an error of the source.
func (m *Multipart) drain() error {
	for line := true; ; {
		_, err := m.src.Peek(1)
		if err != nil {
			return err
		}
		w, _ := m.src.Peek(m.src.Buffered())
		n := len(w)
		if line {
			if j := bytes.IndexByte(w, '\n'); j >= 0 {
				n = j + 1
				line = false
			}
		} else {
			m.epilogue += int64(n)
		}
		_, _ = m.src.Discard(n) // they are buffered
	}
}

// part is the reader of one part.
type part struct {
	m *Multipart
}

// Read implements io.Reader.
func (p *part) Read(b []byte) (int, error) {
	m := p.m
	if err := p.check(); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	ok, err := m.find()
	if err != nil {
		m.err = err
		return 0, err
	}
	if !ok {
		return 0, io.EOF
	}
	w, _ := m.src.Peek(min(m.ready, len(b)))
	n := copy(b, w)
	m.discard(n)
	return n, nil
}

// WriteTo implements io.WriterTo. It writes from the buffer of the source,
// without a copy.
func (p *part) WriteTo(dst io.Writer) (int64, error) {
	m := p.m
	if err := p.check(); err != nil {
		return 0, err
	}
	var total int64
	for {
		ok, err := m.find()
		if err != nil {
			m.err = err
			return total, err
		}
		if !ok {
			return total, nil
		}
		w, _ := m.src.Peek(m.ready)
		n, err := dst.Write(w)
		if n < 0 || n > len(w) {
			n = 0
		}
		total += int64(n)
		m.discard(n)
		if err == nil && n < len(w) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}

// check returns an error when the part can no longer be read.
func (p *part) check() error {
	if p.m.part != p {
		return ErrPartSkipped
	}
	return p.m.err
}
