package smime

import (
	"bufio"
	"bytes"
	"io"
	"sync"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

// peekBuffer is the size of a buffer to look at the start of something, in
// octets. Who reads more at a time goes past it.
const peekBuffer = 4 << 10

var peekers = sync.Pool{New: func() any { return bufio.NewReaderSize(eofReader{}, peekBuffer) }}

// getPeeker returns a buffer before src. putPeeker takes it back, when nobody
// reads from it any more.
func getPeeker(src io.Reader) *bufio.Reader {
	br, _ := peekers.Get().(*bufio.Reader) // nothing else is in there
	br.Reset(src)
	return br
}

func putPeeker(br *bufio.Reader) {
	br.Reset(eofReader{})
	peekers.Put(br)
}

// A lending is memory that is used while a message is opened, and not after.
type lending struct {
	peekers []*bufio.Reader
	base64  []*mimeraw.Base64Reader

	// What these have room for from the start.
	peekerRoom [6]*bufio.Reader
	base64Room [2]*mimeraw.Base64Reader
}

// peeker returns a buffer before src.
func (l *lending) peeker(src io.Reader) *bufio.Reader {
	br := getPeeker(src)
	if l.peekers == nil {
		l.peekers = l.peekerRoom[:0]
	}
	l.peekers = append(l.peekers, br)
	return br
}

// end takes everything back.
func (l *lending) end() {
	for _, br := range l.peekers {
		putPeeker(br)
	}
	for _, r := range l.base64 {
		r.Free()
	}
	*l = lending{}
}

// decodeTransfer returns the DER or BER in the body of an entity. The transfer
// encoding is a hint: mail has DER under the name of base64, base64 without its
// name, and PEM under either.
func (l *lending) decodeTransfer(body io.Reader, encoding string) io.Reader {
	br := l.peeker(body)
	if encoding == "quoted-printable" {
		br = l.peeker(mimeraw.NewQuotedPrintableReader(br))
	}
	for range 3 {
		switch first(br) {
		case 0x30: // SEQUENCE; no base64 of one starts with this digit
			return br
		case '-':
			if _, err := skipLine(br); err != nil {
				return br
			}
		}
		decoded := mimeraw.NewBase64Reader(br)
		if l.base64 == nil {
			l.base64 = l.base64Room[:0]
		}
		l.base64 = append(l.base64, decoded)
		br = l.peeker(&base64Body{decoded})
	}
	return br
}

// first skips white space and returns the octet after it, or 0.
func first(br *bufio.Reader) byte {
	for {
		b, err := br.Peek(1)
		if err != nil {
			return 0
		}
		if !bytes.Contains([]byte(" \t\r\n"), b) {
			return b[0]
		}
		_, _ = br.Discard(1) // it is buffered
	}
}

// skipLine skips the first line of PEM (RFC 7468, Section 3).
func skipLine(br *bufio.Reader) (line []byte, err error) {
	const begin = "-----BEGIN "
	if line, err = br.Peek(len(begin)); err != nil || string(line) != begin {
		return nil, &cms.SyntaxError{Offset: -1, Field: "PEM"}
	}
	return br.ReadSlice('\n')
}

// A base64Body makes the faults of base64 those of a message.
type base64Body struct{ src io.Reader }

// Read implements io.Reader.
func (b *base64Body) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if be, ok := err.(*mimeraw.Base64Error); ok {
		err = &cms.SyntaxError{Offset: be.Offset, Field: "base64"}
	} else if err == io.ErrUnexpectedEOF {
		err = &cms.SyntaxError{Offset: -1, Field: "base64", Err: err}
	}
	return n, err
}
