package smime

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"github.com/emersion/go-message/textproto"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

// A head collects the header of an entity with all its octets.
type head struct {
	raw  []byte // what was fed: the header, and what had to be seen of the body
	line int    // where the last line starts in raw
	done bool
	max  int

	header *mimeraw.Header
	marks  int // octets before the fields that are no part of the header
	body   int // where the body starts in raw
}

func makeHead(max int) head {
	if max <= 0 {
		max = mimeraw.DefaultMaxHeader
	}
	return head{max: max}
}

func newHead(max int) *head {
	h := makeHead(max)
	return &h
}

// maxFieldName is within how many octets a line of a header has a colon.
const maxFieldName = 998

// usualHeader is what there is room for from the start, in octets.
const usualHeader = 512

// feed takes octets up to the end of the header and returns how many. Beyond
// the greatest size it fails, with the octets kept.
func (h *head) feed(p []byte) (int, error) {
	used := 0
	for used < len(p) && !h.done {
		end := bytes.IndexByte(p[used:], '\n')
		whole := end >= 0
		if !whole {
			end = len(p) - used - 1
		}
		if h.raw == nil {
			h.raw = make([]byte, 0, usualHeader)
		}
		h.raw = append(h.raw, p[used:used+end+1]...)
		used += end + 1
		h.done = h.ends(whole)
		if whole && !h.done {
			h.line = len(h.raw)
		}
		if len(h.raw) > h.max {
			h.done = true
			return used, &cms.LimitError{Limit: "size of a header", Max: int64(h.max)}
		}
	}
	return used, nil
}

// ends reports whether the last line, of which more may come if it is not
// whole, is behind the fields: it is empty, or cannot be part of a header.
func (h *head) ends(whole bool) bool {
	line := h.raw[h.line:]
	if whole && len(line) == lineEndSize(line) {
		return true
	}
	if line[0] == ' ' || line[0] == '\t' {
		return false
	}
	if h.line == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte("\xef\xbb\xbf"))) {
		return false
	}
	if !whole && len(line) < maxFieldName {
		return false
	}
	return bytes.IndexByte(line[:min(len(line), maxFieldName)], ':') < 0
}

// lineEndSize returns how many octets at the end of a line are CR or LF.
func lineEndSize(line []byte) int {
	n := 0
	for n < len(line) && (line[len(line)-1-n] == '\n' || line[len(line)-1-n] == '\r') {
		n++
	}
	return n
}

// parse cuts what was fed into fields.
func (h *head) parse() error {
	var err error
	if h.header, h.body, err = mimeraw.CutHeader(h.raw, h.max); err != nil {
		h.header, h.body = &mimeraw.Header{}, 0
		return &cms.LimitError{Limit: "size of a header", Max: int64(h.max)}
	}
	h.marks = h.body - len(h.header.Separator)
	for _, f := range h.header.Fields {
		h.marks -= len(f.Raw)
	}
	return nil
}

// read collects the header at the start of br.
func (h *head) read(br *bufio.Reader) error {
	if h.raw == nil {
		// As much room as it will take, if its end is in sight.
		_, _ = br.Peek(1) // the error comes again
		seen, _ := br.Peek(br.Buffered())
		for _, end := range []string{"\n\r\n", "\n\n"} {
			if i := bytes.Index(seen, []byte(end)); i >= 0 {
				h.raw = make([]byte, 0, i+len(end))
				break
			}
		}
	}
	for !h.done {
		line, err := br.ReadSlice('\n')
		if _, ferr := h.feed(line); ferr != nil { // it has taken all
			return ferr
		}
		if err == io.EOF {
			break
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	return h.parse()
}

// isContent reports whether a field describes the body, and so belongs inside
// (RFC 8551, Section 3.1).
func isContent(f mimeraw.Field) bool {
	const prefix = "Content-"
	if len(f.Raw) <= len(prefix) || !strings.EqualFold(string(f.Raw[:len(prefix)]), prefix) {
		return false // what is in front of a name is no blank
	}
	return len(f.Name()) > len(prefix)
}

// usualFields is how many fields there is room for from the start.
const usualFields = 16

// contentFields returns the fields of h that describe the body, or the others,
// with CRLF.
func contentFields(h *mimeraw.Header, content bool) *mimeraw.Header {
	out := mimeraw.NewHeader(len(h.Fields)+1, nil)
	out.Fields = out.Fields[:0]
	for _, f := range h.Fields {
		if isContent(f) == content {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// outerHeader returns the fields of a message but those about its body, with
// CRLF and exactly one MIME-Version, which is added at the end when there is
// none. There is room for as many octets more.
func outerHeader(h *mimeraw.Header, more int) []byte {
	var room [usualFields]mimeraw.Field
	out := mimeraw.Header{Fields: room[:0]}
	version := false
	for _, f := range h.Fields {
		if isContent(f) {
			continue
		}
		if f.Is("MIME-Version") {
			if version {
				continue
			}
			version = true
		}
		out.Fields = append(out.Fields, f)
	}
	const added = "MIME-Version: 1.0\r\n"
	raw := out.CRLF(len(added) + len("\r\n") + more)
	if !version {
		raw = append(raw, added...)
	}
	return raw
}

// transferEncoding returns the Content-Transfer-Encoding in lower case, "" when
// there is none.
func transferEncoding(h *mimeraw.Header) string {
	value, _ := h.Get("Content-Transfer-Encoding")
	if i := strings.IndexAny(value, "(;"); i >= 0 {
		value = value[:i]
	}
	return strings.ToLower(strings.Trim(value, " \t\"'"))
}

// toTextproto returns fields in the form of go-message. Fields without a valid
// name are left out.
func toTextproto(lists ...*mimeraw.Header) textproto.Header {
	var out textproto.Header
	for i := len(lists) - 1; i >= 0; i-- {
		fields := lists[i].Fields
		for j := len(fields) - 1; j >= 0; j-- { // it takes them from the last on
			if fields[j].Name() != "" {
				out.AddRaw((&mimeraw.Header{Fields: fields[j : j+1]}).CRLF(0))
			}
		}
	}
	return out
}
