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

func newHead(max int) *head {
	if max <= 0 {
		max = mimeraw.DefaultMaxHeader
	}
	return &head{max: max}
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
	if whole && len(bytes.TrimRight(line, "\r\n")) == 0 {
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
	name := f.Name()
	return len(name) > len("Content-") && strings.EqualFold(name[:len("Content-")], "Content-")
}

// contentFields returns the fields of h that describe the body, or the others,
// with CRLF.
func contentFields(h *mimeraw.Header, content bool) *mimeraw.Header {
	out := &mimeraw.Header{Fields: make([]mimeraw.Field, 0, len(h.Fields)+1)}
	for _, f := range h.Fields {
		if isContent(f) == content {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// outerHeader returns the fields of a message but those about its body, with
// CRLF and exactly one MIME-Version, which is added at the end when there is
// none.
func outerHeader(h *mimeraw.Header) []byte {
	out := &mimeraw.Header{Fields: make([]mimeraw.Field, 0, len(h.Fields))}
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
	raw := out.CRLF()
	if !version {
		raw = append(raw, "MIME-Version: 1.0\r\n"...)
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
				out.AddRaw((&mimeraw.Header{Fields: fields[j : j+1]}).CRLF())
			}
		}
	}
	return out
}
