// Package mimetree finds the parts of a MIME message: where the header and the
// body of each of them begin and end. It copies nothing: whoever wants the octets
// of a part reads them from the message, so that every view of a message comes
// from the same octets.
//
// It follows RFC 2046, Section 5.1, for multiparts and Section 5.2.1 for
// messages in messages. The delimiters of an outer multipart end what is inside,
// whatever the inside says.
//
// The depth and number of parts and the size of headers are limited; what lies
// beyond the limits is part of the body that it stands in. Memory grows with the
// number of parts and the size of their headers, and not with the message.
package mimetree

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/postseal/postseal/internal/mimeraw"
)

// Limits of what is looked into.
const (
	MaxDepth  = 50
	MaxParts  = 5000
	maxHeader = 1 << 20 // octets of one header
	maxAll    = 4 << 20 // octets of all headers
)

// A Span is a range of octets.
type Span struct{ Start, End int64 }

// Size returns the number of octets.
func (s Span) Size() int64 { return s.End - s.Start }

// A Part is a message, or a part of one.
type Part struct {
	// Header is the span of the header with the blank line that ends it, and Body
	// what follows. The line end before a delimiter belongs to neither.
	Header, Body Span
	// Fields is the header.
	Fields *mimeraw.Header
	// Type is the media type in lower case, text/plain by default (RFC 2045,
	// Section 5.2), and message/rfc822 in a multipart/digest; Params are its
	// parameters.
	Type   string
	Params map[string]string
	// Lines is the number of line ends in the body.
	Lines int64
	// Parts are those of a multipart; Message is what a message/rfc822 holds.
	Parts   []*Part
	Message *Part
}

// Multipart reports whether a part has parts of its own.
func (p *Part) Multipart() bool { return strings.HasPrefix(p.Type, "multipart/") && p.Parts != nil }

// Parse finds the parts of the message in src. The error is that of src, or
// mimeraw.ErrHeaderTooLong for the header of the message itself.
func Parse(src io.ReaderAt, size int64) (*Part, error) {
	p := &parser{src: src, parts: MaxParts, octets: maxAll}
	return p.entity(Span{0, size}, "text/plain", MaxDepth, true)
}

type parser struct {
	src    io.ReaderAt
	parts  int // that may still be found
	octets int // of headers that may still be read
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// reader returns a reader, which is to be released.
func (p *parser) reader(s Span) *bufio.Reader {
	return newReader(io.NewSectionReader(p.src, s.Start, s.Size()))
}

func newReader(src io.Reader) *bufio.Reader {
	br := readers.Get().(*bufio.Reader)
	br.Reset(src)
	return br
}

func release(br *bufio.Reader) {
	br.Reset(nil)
	readers.Put(br)
}

// entity reads a header and what it announces.
func (p *parser) entity(s Span, defaultType string, depth int, top bool) (*Part, error) {
	section := io.NewSectionReader(p.src, s.Start, s.Size())
	br := newReader(section)
	header, err := mimeraw.ReadHeader(br, min(maxHeader, max(p.octets, 1)))
	ahead := int64(br.Buffered())
	release(br)
	if err == mimeraw.ErrHeaderTooLong && !top {
		// Nobody needs such a header: it is text.
		return p.leaf(&Part{Header: Span{s.Start, s.Start}, Body: s, Fields: &mimeraw.Header{}, Type: "text/plain"})
	}
	if err != nil {
		return nil, err
	}
	at, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	split := s.Start + at - ahead
	p.octets -= int(split - s.Start)
	part := &Part{Header: Span{s.Start, split}, Body: Span{split, s.End}, Fields: header}
	part.readType(defaultType)
	boundary := part.Params["boundary"]
	switch {
	case depth > 0 && strings.HasPrefix(part.Type, "multipart/") && boundary != "":
		return part, p.multipart(part, boundary, depth)
	case depth > 0 && (part.Type == "message/rfc822" || part.Type == "message/global") && identity(header) && p.parts > 0:
		p.parts--
		if part.Message, err = p.entity(part.Body, "text/plain", depth-1, false); err != nil {
			return nil, err
		}
	}
	return p.leaf(part)
}

// identity reports whether a body stands as it is: one in base64 is no message
// that could be looked into (RFC 2046, Section 5.2.1 forbids it).
func identity(h *mimeraw.Header) bool {
	value, _ := h.Get("Content-Transfer-Encoding")
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

func (part *Part) readType(defaultType string) {
	part.Type, part.Params = defaultType, map[string]string{}
	value, ok := part.Fields.Get("Content-Type")
	if !ok {
		return
	}
	mt, err := mimeraw.ParseMediaType(value)
	if err != nil {
		part.Type = "text/plain" // RFC 2045, Section 5.2
		return
	}
	part.Type, part.Params = mt.Type, mt.Params
}

// leaf counts the lines of a body.
func (p *parser) leaf(part *Part) (*Part, error) {
	br := p.reader(part.Body)
	defer release(br)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 && line[len(line)-1] == '\n' {
			part.Lines++
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return part, nil
		default:
			return nil, err
		}
	}
}

// multipart finds the parts of a multipart.
func (p *parser) multipart(part *Part, boundary string, depth int) error {
	spans, lines, err := p.split(part.Body, strings.TrimRight(boundary, " \t"))
	if err != nil {
		return err
	}
	part.Lines = lines
	inner := "text/plain"
	if part.Type == "multipart/digest" {
		inner = "message/rfc822" // RFC 2046, Section 5.1.5
	}
	for _, s := range spans {
		child, childErr := p.entity(s, inner, depth-1, false)
		if childErr != nil {
			return childErr
		}
		part.Parts = append(part.Parts, child)
	}
	return nil
}

// split finds the spans between delimiters.
func (p *parser) split(body Span, boundary string) (spans []Span, lines int64, err error) {
	delimiter := []byte("--" + boundary)
	br := p.reader(body)
	defer release(br)
	at, start := body.Start, int64(-1)
	lineStart, lastEnd := true, int64(0) // lastEnd is the size of the line end before at
	for {
		line, readErr := br.ReadSlice('\n')
		if readErr != nil && readErr != io.EOF && readErr != bufio.ErrBufferFull {
			return nil, 0, readErr
		}
		whole := len(line) > 0 && line[len(line)-1] == '\n'
		if whole {
			lines++
		}
		if lineStart && bytes.HasPrefix(line, delimiter) && p.parts > 0 {
			rest := line[len(delimiter):]
			last := bytes.HasPrefix(rest, []byte("--"))
			if last || len(bytes.TrimSpace(rest)) == 0 {
				if start >= 0 {
					p.parts--
					spans = append(spans, Span{start, max(start, at-lastEnd)})
				}
				start = at + int64(len(line))
				if last {
					return spans, lines + countRest(br), nil
				}
			}
		}
		at += int64(len(line))
		lineStart, lastEnd = whole, endSize(line, whole)
		if readErr == io.EOF {
			break
		}
	}
	if start >= 0 { // it was cut off
		spans = append(spans, Span{start, max(start, body.End)})
	}
	return spans, lines, nil
}

// endSize is the size of the line end of a line.
func endSize(line []byte, whole bool) int64 {
	switch {
	case !whole:
		return 0
	case len(line) > 1 && line[len(line)-2] == '\r':
		return 2
	}
	return 1
}

// countRest counts the line ends of the epilogue. An error is met again by those
// who read it.
func countRest(br *bufio.Reader) int64 {
	var n int64
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 && line[len(line)-1] == '\n' {
			n++
		}
		if err != nil && err != bufio.ErrBufferFull {
			return n
		}
	}
}

// Find returns the part of a path as IMAP counts them (RFC 3501, Section 6.4.5):
// an empty path is the message itself, 1 is the body of a message that is not
// multipart. It is nil when there is no such part.
func (part *Part) Find(path []int) *Part {
	if len(path) == 0 {
		return part
	}
	current := part
	inMessage := true // current is a message, whose parts are meant
	for _, n := range path {
		if current.Message != nil && !inMessage {
			current, inMessage = current.Message, true
		}
		switch {
		case current.Multipart():
			if n < 1 || n > len(current.Parts) {
				return nil
			}
			current, inMessage = current.Parts[n-1], false
		case inMessage && n == 1:
			inMessage = false
		default:
			return nil
		}
	}
	return current
}
