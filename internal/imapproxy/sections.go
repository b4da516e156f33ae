package imapproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/mimetree"
)

// A shown is a message as the client sees it: its octets and its parts.
type shown struct {
	src  io.ReaderAt
	size int64
	tree *mimetree.Part
}

// newShown looks into a message.
func newShown(src io.ReaderAt, size int64) (*shown, error) {
	tree, err := mimetree.Parse(src, size)
	if err != nil {
		return nil, err
	}
	return &shown{src, size, tree}, nil
}

// errUnknownEncoding says that a part cannot be decoded (RFC 3516, Section 4.3).
var errUnknownEncoding = fmt.Errorf("%w: a content transfer encoding that is not known", ErrSyntax)

// write answers an item of content: its name, a blank, and its value.
func (m *shown) write(w *bufio.Writer, it *item) error {
	switch it.name {
	case "RFC822.SIZE":
		_, err := fmt.Fprintf(w, "RFC822.SIZE %d", m.size)
		return err
	case "ENVELOPE":
		_, _ = w.WriteString("ENVELOPE ") // w keeps its error
		writeEnvelope(w, m.tree.Fields)
		return nil
	case "BODYSTRUCTURE":
		_, _ = w.WriteString("BODYSTRUCTURE ")
		writeStructure(w, m.tree, true)
		return nil
	case "RFC822":
		return m.writeSpan(w, "RFC822", mimetree.Span{End: m.size}, it)
	case "RFC822.HEADER":
		return m.writeSpan(w, "RFC822.HEADER", m.tree.Header, it)
	case "RFC822.TEXT":
		return m.writeSpan(w, "RFC822.TEXT", m.tree.Body, it)
	case "BINARY", "BINARY.SIZE":
		return m.writeBinary(w, it)
	case "PREVIEW":
		_, _ = w.WriteString("PREVIEW ")
		return m.writePreview(w)
	}
	if !it.bracket { // BODY: BODYSTRUCTURE without extensions
		_, _ = w.WriteString("BODY ")
		writeStructure(w, m.tree, false)
		return nil
	}
	return m.writeSection(w, it)
}

// check looks for items that cannot be answered. The error is a *messageError.
func (m *shown) check(items []item) error {
	for i := range items {
		it := &items[i]
		if it.name != "BINARY" && it.name != "BINARY.SIZE" {
			continue
		}
		part := m.tree.Find(it.path)
		if part == nil {
			continue
		}
		// RFC 3516, Section 4.3: the server says so when it cannot decode.
		if _, err := m.decodedSize(part, it); err != nil {
			return &messageError{"UNKNOWN-CTE", "a part cannot be decoded", err}
		}
	}
	return nil
}

// label is how a section is named in an answer.
func (it *item) label() string {
	text := it.name + "[" + it.section + "]"
	if it.partial {
		text += fmt.Sprintf("<%d>", it.offset)
	}
	return text
}

// writeSection answers BODY[...].
func (m *shown) writeSection(w *bufio.Writer, it *item) error {
	part := m.tree.Find(it.path)
	if part == nil {
		_, err := w.WriteString(it.label() + " NIL")
		return err
	}
	if len(it.path) > 0 && (it.what == "HEADER" || it.what == "TEXT" || strings.HasPrefix(it.what, "HEADER.")) {
		// They are for messages in messages alone (RFC 3501, Section 6.4.5).
		if part = part.Message; part == nil {
			_, err := w.WriteString(it.label() + " NIL")
			return err
		}
	}
	switch it.what {
	case "HEADER", "MIME":
		return m.writeSpan(w, it.label(), part.Header, it)
	case "TEXT":
		return m.writeSpan(w, it.label(), part.Body, it)
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		return writeBytes(w, it.label(), chosenFields(part.Fields, it), it)
	}
	if len(it.path) == 0 {
		return m.writeSpan(w, it.label(), mimetree.Span{End: m.size}, it)
	}
	return m.writeSpan(w, it.label(), part.Body, it)
}

// chosenFields returns the fields that are asked for, and a blank line.
func chosenFields(h *mimeraw.Header, it *item) []byte {
	var out bytes.Buffer
	for _, f := range h.Fields {
		if slices.Contains(it.fields, upper(f.Name())) != (it.what == "HEADER.FIELDS.NOT") {
			out.Write(f.Raw)
			if !bytes.HasSuffix(f.Raw, []byte("\n")) {
				out.WriteString("\r\n")
			}
		}
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

// cutSpan applies <offset.count>.
func (it *item) cutSpan(s mimetree.Span) mimetree.Span {
	if !it.partial {
		return s
	}
	start := min(s.Start+it.offset, s.End)
	return mimetree.Span{Start: start, End: start + min(it.count, s.End-start)}
}

// writeSpan answers with octets of the message, as a literal.
func (m *shown) writeSpan(w *bufio.Writer, label string, s mimetree.Span, it *item) error {
	s = it.cutSpan(s)
	if _, err := fmt.Fprintf(w, "%s {%d}\r\n", label, s.Size()); err != nil {
		return err
	}
	n, err := io.Copy(w, io.NewSectionReader(m.src, s.Start, s.Size()))
	if err == nil && n != s.Size() {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func writeBytes(w *bufio.Writer, label string, data []byte, it *item) error {
	s := it.cutSpan(mimetree.Span{End: int64(len(data))})
	_, err := fmt.Fprintf(w, "%s {%d}\r\n%s", label, s.Size(), data[s.Start:s.End])
	return err
}

// writeBinary answers BINARY[...] and BINARY.SIZE[...] (RFC 3516).
func (m *shown) writeBinary(w *bufio.Writer, it *item) error {
	part := m.tree.Find(it.path)
	if part == nil {
		nothing := " NIL"
		if it.name == "BINARY.SIZE" {
			nothing = " 0"
		}
		_, err := w.WriteString(it.label() + nothing)
		return err
	}
	size, err := m.decodedSize(part, it)
	if err != nil {
		return err
	}
	if it.name == "BINARY.SIZE" {
		_, err = fmt.Fprintf(w, "%s %d", it.label(), size)
		return err
	}
	s := it.cutSpan(mimetree.Span{End: size})
	if _, err = fmt.Fprintf(w, "%s ~{%d}\r\n", it.label(), s.Size()); err != nil {
		return err
	}
	r, err := m.decoded(part, it)
	if err != nil {
		return err
	}
	if _, err = io.CopyN(io.Discard, r, s.Start); err == nil {
		_, err = io.CopyN(w, r, s.Size())
	}
	return err
}

// decoded returns the content of a part without its transfer encoding.
func (m *shown) decoded(part *mimetree.Part, it *item) (io.Reader, error) {
	if len(it.path) == 0 {
		return io.NewSectionReader(m.src, 0, m.size), nil
	}
	body := io.NewSectionReader(m.src, part.Body.Start, part.Body.Size())
	encoding, _ := part.Fields.Get("Content-Transfer-Encoding")
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary":
		return body, nil
	case "base64":
		return mimeraw.NewBase64Reader(body), nil
	case "quoted-printable":
		return mimeraw.NewQuotedPrintableReader(body), nil
	}
	return nil, errUnknownEncoding
}

func (m *shown) decodedSize(part *mimetree.Part, it *item) (int64, error) {
	r, err := m.decoded(part, it)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return 0, errUnknownEncoding
	}
	return n, nil
}
