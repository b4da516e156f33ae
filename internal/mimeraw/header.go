package mimeraw

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
)

// DefaultMaxHeader is the limit of [ReadHeader], in octets, when its argument
// max is zero or less.
const DefaultMaxHeader = 1 << 20

// maxFieldName is the length, in octets, within which a line must show a colon
// to be taken for a field. It keeps a line of the body, which may be of any
// length, from being searched to its end.
const maxFieldName = 998

// Errors of headers and fields.
var (
	// ErrHeaderTooLong is returned by [ReadHeader] when the header is longer
	// than allowed.
	ErrHeaderTooLong = errors.New("mimeraw: header too long")

	// ErrField is returned by [NewField] when a name or value cannot be
	// written as a header field.
	ErrField = errors.New("mimeraw: not a valid header field")
)

// Header is the header of a message or of a body part.
type Header struct {
	Fields []Field

	// Separator is the blank line that ended the header, as received: "\r\n"
	// or "\n". It is nil when the header ended without one: at the end of the
	// source, or before a line that cannot be part of a header.
	Separator []byte
}

// ReadHeader reads a header up to and including the blank line that ends it,
// and leaves br at the first octet of the body.
//
// It takes headers as they are. A UTF-8 byte order mark and then an mbox "From "
// line are dropped at the very start. A line that starts with a blank continues
// the field before it; as the first line it is kept as a field without a name. A
// line with a colon is a field, whatever stands before the colon. Any other line
// ends the header: it is the first line of the body and stays in br. An empty
// header, and one that ends with the source, are fine.
//
// More than max octets (zero or less: [DefaultMaxHeader]), dropped ones included,
// are [ErrHeaderTooLong]. Errors of the source are returned as they are. The
// buffer of br should hold 1 KiB or more: a smaller one limits the length of a
// field name to its size.
func ReadHeader(br *bufio.Reader, max int) (*Header, error) {
	if max <= 0 {
		max = DefaultMaxHeader
	}
	r := headerReader{br: br, room: max}
	if err := r.dropMarks(); err != nil {
		return nil, err
	}
	for {
		kind, err := r.classify()
		if err != nil {
			return nil, err
		}
		switch kind {
		case lineEnd:
			return r.header(nil), nil
		case lineBlank:
			at := len(r.raw)
			if err = r.take(); err != nil {
				return nil, err
			}
			return r.header(r.raw[at:len(r.raw):len(r.raw)]), nil
		case lineField:
			r.starts = append(r.starts, len(r.raw))
		case lineContinuation:
			if len(r.starts) == 0 {
				r.starts = append(r.starts, 0)
			}
		}
		if err = r.take(); err != nil {
			return nil, err
		}
	}
}

// headerReader collects the lines of a header in one slice.
type headerReader struct {
	br     *bufio.Reader
	room   int    // octets that may still be read
	raw    []byte // all lines
	starts []int  // where the fields start in raw
}

// lineKind is what a line of a header turns out to be.
type lineKind int

const (
	lineEnd lineKind = iota // no line, or one that belongs to the body
	lineBlank
	lineField
	lineContinuation
)

// header cuts the lines into fields.
func (r *headerReader) header(separator []byte) *Header {
	return cut(r.raw, r.starts, len(r.raw)-len(separator), separator)
}

// dropMarks skips a byte order mark and an mbox separator line.
func (r *headerReader) dropMarks() error {
	marked, err := r.startsWith("\xef\xbb\xbf")
	if err != nil {
		return err
	}
	if marked {
		if r.room < 3 {
			return ErrHeaderTooLong
		}
		r.room -= 3
		_, _ = r.br.Discard(3) // they are buffered
	}
	from, err := r.startsWith(fromPrefix)
	if err != nil || !from {
		return err
	}
	// RFC 5322, Section 4.5: "From :" is an old form of the field.
	for n := len(fromPrefix) + 1; n <= r.br.Size(); n++ {
		b, peekErr := r.br.Peek(n)
		if peekErr != nil && peekErr != io.EOF {
			return peekErr
		}
		if peekErr == nil && b[n-1] == ':' {
			return nil
		}
		if peekErr != nil || !isBlank(b[n-1]) {
			break
		}
	}
	err = r.take()
	r.raw = r.raw[:0]
	return err
}

// startsWith reports whether the source goes on with prefix. It reads no more
// than it must to find out.
func (r *headerReader) startsWith(prefix string) (bool, error) {
	for n := 1; n <= len(prefix); n++ {
		b, err := r.br.Peek(n)
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if b[n-1] != prefix[n-1] {
			return false, nil
		}
	}
	return true, nil
}

// classify looks at the next line without taking it.
func (r *headerReader) classify() (lineKind, error) {
	limit := min(r.br.Size(), maxFieldName)
	for n := 1; ; {
		_, err := r.br.Peek(n)
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return lineEnd, err
		}
		b, _ := r.br.Peek(min(r.br.Buffered(), limit))
		kind, known := classifyLine(b)
		switch {
		case known:
			return kind, nil
		case err != nil || len(b) >= limit:
			return lineEnd, nil
		}
		n = len(b) + 1
	}
}

// classifyLine does the work of classify; known is false when more of the line
// is needed.
func classifyLine(b []byte) (kind lineKind, known bool) {
	if len(b) == 0 {
		return lineEnd, false
	}
	switch b[0] {
	case ' ', '\t':
		return lineContinuation, true
	case '\n':
		return lineBlank, true
	case '\r':
		if len(b) > 1 && b[1] == '\n' {
			return lineBlank, true
		}
		if len(b) == 1 {
			return lineEnd, false
		}
	}
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		b = b[:end]
		known = true
	}
	if bytes.IndexByte(b, ':') >= 0 {
		return lineField, true
	}
	return lineEnd, known
}

// take moves the next line to raw.
func (r *headerReader) take() error {
	for {
		line, err := r.br.ReadSlice('\n')
		if len(line) > r.room {
			return ErrHeaderTooLong
		}
		r.room -= len(line)
		r.raw = append(r.raw, line...)
		switch err {
		case nil, io.EOF:
			return nil // the end is seen again by classify
		case bufio.ErrBufferFull:
		default:
			return err
		}
	}
}

// Get returns the value of the first field with the given name, and whether
// there is one.
func (h *Header) Get(name string) (string, bool) {
	for _, f := range h.Fields {
		if f.Is(name) {
			return f.Value(), true
		}
	}
	return "", false
}

// Has reports whether there is a field with the given name.
func (h *Header) Has(name string) bool {
	return slices.ContainsFunc(h.Fields, func(f Field) bool { return f.Is(name) })
}

// Count returns how many fields have the given name.
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.Fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Values returns the values of all fields with the given name, in their order.
func (h *Header) Values(name string) []string {
	var values []string
	for _, f := range h.Fields {
		if f.Is(name) {
			values = append(values, f.Value())
		}
	}
	return values
}

// Bytes returns the fields as received, without the separator.
func (h *Header) Bytes() []byte {
	n := 0
	for _, f := range h.Fields {
		n += len(f.Raw)
	}
	out := make([]byte, 0, n)
	for _, f := range h.Fields {
		out = append(out, f.Raw...)
	}
	return out
}

// CRLF returns the fields with CRLF for every line end, without the separator. A
// field that was cut off before its line end gets one. There is room for as many
// octets more, if no line end becomes longer.
func (h *Header) CRLF(more int) []byte {
	size := 0
	for _, f := range h.Fields {
		size += len(f.Raw) + 2
	}
	out := make([]byte, 0, size+more)
	for _, f := range h.Fields {
		out = appendCRLF(out, f.Raw)
		if n := len(f.Raw); n > 0 && f.Raw[n-1] != '\n' {
			out = append(out, "\r\n"...)
		}
	}
	return out
}
