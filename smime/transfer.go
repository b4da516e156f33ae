package smime

import (
	"bufio"
	"bytes"
	"io"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

// peekBuffer is the size of a buffer to look at the start of something, in
// octets. Who reads more at a time goes past it.
const peekBuffer = 4 << 10

// decodeTransfer returns the DER or BER in the body of an entity. The transfer
// encoding is a hint: mail has DER under the name of base64, base64 without its
// name, and PEM under either.
func decodeTransfer(body io.Reader, encoding string) io.Reader {
	br := bufio.NewReaderSize(body, peekBuffer)
	if encoding == "quoted-printable" {
		br = bufio.NewReaderSize(mimeraw.NewQuotedPrintableReader(br), peekBuffer)
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
		br = bufio.NewReaderSize(&base64Body{mimeraw.NewBase64Reader(br)}, peekBuffer)
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
