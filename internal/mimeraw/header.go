package mimeraw

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// DefaultMaxHeader is the limit of [ReadHeader], in octets, when its argument
// max is zero or less.
const DefaultMaxHeader = 1 << 20

// maxFieldName is the length, in octets, within which a line must show a colon
// to be taken for a field. It keeps a line of the body, which may be of any
// length, from being searched to its end.
const maxFieldName = 998

// Errors of this file.
var (
	// ErrHeaderTooLong is returned by [ReadHeader] when the header is longer
	// than allowed.
	ErrHeaderTooLong = errors.New("mimeraw: header too long")

	// ErrField is returned by [NewField] when a name or value cannot be
	// written as a header field.
	ErrField = errors.New("mimeraw: not a valid header field")
)

// Field is one header field.
type Field struct {
	// Raw is the field with its folding and line ends, exactly as received.
	// The last field of a header that was cut off may have no line end.
	Raw []byte
}

// Name returns the name of the field as it was written, without the blanks that
// may precede the colon (RFC 5322, Section 4.5). It is empty when there is no
// colon, and when what stands before the colon cannot be a name (because it
// holds blanks or control characters).
func (f Field) Name() string {
	name, _ := f.split()
	return string(name)
}

// Is reports whether the field has the given name, without regard to case.
func (f Field) Is(name string) bool {
	own, _ := f.split()
	return len(own) > 0 && len(own) == len(name) && strings.EqualFold(string(own), name)
}

// Value returns what stands after the colon, unfolded (RFC 5322, Section 2.2.3:
// line ends are removed, the blanks after them stay) and without blanks at both
// ends. A field without a name has the whole line as its value.
func (f Field) Value() string {
	_, value := f.split()
	value = bytes.Trim(value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	var b strings.Builder
	b.Grow(len(value))
	for {
		end := bytes.IndexByte(value, '\n')
		if end < 0 {
			b.Write(value)
			return b.String()
		}
		line := value[:end]
		if end > 0 && line[end-1] == '\r' {
			line = line[:end-1]
		}
		b.Write(line)
		value = value[end+1:]
	}
}

// split returns the name (nil when it is not valid) and what follows the colon.
func (f Field) split() (name, value []byte) {
	colon := bytes.IndexByte(f.Raw, ':')
	if colon < 0 {
		return nil, f.Raw
	}
	name = bytes.TrimRight(f.Raw[:colon], " \t")
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return nil, f.Raw
		}
	}
	if len(name) == 0 {
		return nil, f.Raw
	}
	return name, f.Raw[colon+1:]
}

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

// roomCRLF is for what comes behind a header, or for line ends that become longer.
const roomCRLF = 64

// CRLF returns the fields with CRLF for every line end, without the separator. A
// field that was cut off before its line end gets one.
func (h *Header) CRLF() []byte {
	size := 0
	for _, f := range h.Fields {
		size += len(f.Raw) + 2
	}
	out := make([]byte, 0, size+roomCRLF)
	for _, f := range h.Fields {
		out = appendCRLF(out, f.Raw)
		if n := len(f.Raw); n > 0 && f.Raw[n-1] != '\n' {
			out = append(out, "\r\n"...)
		}
	}
	return out
}

// NewField returns a field that ends in CRLF. The value is folded at its blanks
// to lines of at most 78 columns where that is possible; unfolding gives the same
// value, less the blanks at both ends.
//
// It returns [ErrField] when the name is not a field name, when the value holds
// CR, LF or NUL, and when a line would be longer than 998 octets.
func NewField(name, value string) (Field, error) {
	// RFC 5322, Section 2.2: a name is of printable US-ASCII except the colon.
	if name == "" || len(name) > 76 {
		return Field{}, ErrField
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return Field{}, ErrField
		}
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return Field{}, ErrField
	}
	value = strings.Trim(value, " \t")
	raw := make([]byte, 0, len(name)+len(value)+len(value)/32+8)
	raw = append(raw, name...)
	raw = append(raw, ':')
	if value == "" {
		return Field{Raw: append(raw, "\r\n"...)}, nil
	}
	return fold(raw, " "+value)
}

// fold appends value, which starts with a blank and does not end in one, to raw
// and folds it before blanks.
func fold(raw []byte, value string) (Field, error) {
	const (
		maxColumns = 78  // RFC 5322, Section 2.1.1: SHOULD
		maxLine    = 998 // RFC 5322, Section 2.1.1: MUST
	)
	column := len(raw)
	for first := true; value != ""; first = false {
		// One piece: blanks, and the word after them. A line therefore never
		// consists of blanks alone, which RFC 5322, Section 3.2.2 forbids.
		word := len(value) - len(strings.TrimLeft(value, " \t"))
		end := len(value)
		if i := strings.IndexAny(value[word:], " \t"); i >= 0 {
			end = word + i
		}
		// The first word leaves the line of the name only when that helps.
		if column+end > maxColumns && (!first || end <= maxColumns) {
			raw = append(raw, "\r\n"...)
			column = 0
		}
		raw = append(raw, value[:end]...)
		if column += end; column > maxLine {
			return Field{}, ErrField
		}
		value = value[end:]
	}
	return Field{Raw: append(raw, "\r\n"...)}, nil
}
