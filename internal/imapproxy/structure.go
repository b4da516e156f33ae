package imapproxy

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/mimetree"
)

// writeString writes an nstring: a quoted string where that can be, else a
// literal. Line ends, which a value that was unfolded cannot have, become blanks.
func writeString(w *bufio.Writer, s string) {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			s = lineEnds.Replace(s)
			_, _ = fmt.Fprintf(w, "{%d}\r\n%s", len(s), s) // w keeps its error
			return
		}
	}
	_, _ = w.WriteString(`"` + quoting.Replace(s) + `"`)
}

var (
	lineEnds = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")
	quoting  = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
)

// writeOptional writes NIL for what is not there.
func writeOptional(w *bufio.Writer, s string, there bool) {
	if there {
		writeString(w, s)
	} else {
		_, _ = w.WriteString("NIL")
	}
}

// field writes the value of a header field, or NIL.
func field(w *bufio.Writer, h *mimeraw.Header, name string) {
	value, ok := h.Get(name)
	writeOptional(w, value, ok)
}

// writeEnvelope writes the envelope of a message (RFC 3501, Section 7.4.2).
func writeEnvelope(w *bufio.Writer, h *mimeraw.Header) {
	_ = w.WriteByte('(')
	field(w, h, "Date")
	_ = w.WriteByte(' ')
	field(w, h, "Subject")
	from := addresses(h, "From")
	for _, name := range []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc"} {
		_ = w.WriteByte(' ')
		list := addresses(h, name)
		if len(list) == 0 && (name == "Sender" || name == "Reply-To") {
			list = from
		}
		writeAddresses(w, list)
	}
	_ = w.WriteByte(' ')
	field(w, h, "In-Reply-To")
	_ = w.WriteByte(' ')
	field(w, h, "Message-ID")
	_ = w.WriteByte(')')
}

// writeStructure writes BODYSTRUCTURE, or BODY without the extensions (RFC 3501,
// Section 7.4.2).
func writeStructure(w *bufio.Writer, p *mimetree.Part, extended bool) {
	_ = w.WriteByte('(')
	if p.Multipart() {
		for _, child := range p.Parts {
			writeStructure(w, child, extended)
		}
		_ = w.WriteByte(' ')
		_, subtype, _ := strings.Cut(p.Type, "/")
		writeString(w, upper(subtype))
		if extended {
			_ = w.WriteByte(' ')
			writeParams(w, parameters(p.Fields, "Content-Type"))
			writeDisposition(w, p.Fields)
		}
		_ = w.WriteByte(')')
		return
	}
	writeSingle(w, p, extended)
	if extended {
		_ = w.WriteByte(' ')
		field(w, p.Fields, "Content-MD5")
		writeDisposition(w, p.Fields)
	}
	_ = w.WriteByte(')')
}

// writeSingle writes what every part has that is not multipart.
func writeSingle(w *bufio.Writer, p *mimetree.Part, extended bool) {
	kind, subtype, _ := strings.Cut(p.Type, "/")
	pairs := parameters(p.Fields, "Content-Type")
	if kind == "multipart" || kind == "" || subtype == "" {
		// A multipart without parts is shown as the text that it is.
		kind, subtype, pairs = "text", "plain", nil
	}
	if kind == "message" && p.Message == nil && (subtype == "rfc822" || subtype == "global") {
		kind, subtype = "application", "octet-stream"
	}
	writeString(w, upper(kind))
	_ = w.WriteByte(' ')
	writeString(w, upper(subtype))
	_ = w.WriteByte(' ')
	if kind == "text" && p.Params["charset"] == "" {
		// RFC 2046, Section 4.1.2: the default is said.
		pairs = append([][2]string{{"charset", "us-ascii"}}, pairs...)
	}
	writeParams(w, pairs)
	_ = w.WriteByte(' ')
	field(w, p.Fields, "Content-ID")
	_ = w.WriteByte(' ')
	field(w, p.Fields, "Content-Description")
	_ = w.WriteByte(' ')
	encoding, ok := p.Fields.Get("Content-Transfer-Encoding")
	if encoding = upper(strings.TrimSpace(encoding)); !ok || encoding == "" {
		encoding = "7BIT" // RFC 2045, Section 6.1
	}
	writeString(w, encoding)
	_, _ = fmt.Fprintf(w, " %d", p.Body.Size())
	switch {
	case p.Message != nil:
		_ = w.WriteByte(' ')
		writeEnvelope(w, p.Message.Fields)
		_ = w.WriteByte(' ')
		writeStructure(w, p.Message, extended)
		_, _ = fmt.Fprintf(w, " %d", p.Lines)
	case kind == "text":
		_, _ = fmt.Fprintf(w, " %d", p.Lines)
	}
}

// parameters returns those of a field as they stand there, in their order: what RFC
// 2231 makes of them is for the client.
func parameters(h *mimeraw.Header, fieldName string) (out [][2]string) {
	value, _ := h.Get(fieldName)
	s := &addressScanner{text: value}
	for s.skipTo(';') && len(out) < maxParameters {
		name := strings.TrimSpace(s.word("=;"))
		if name == "" || s.at >= len(value) || value[s.at] != '=' {
			continue
		}
		s.at++
		for s.at < len(value) && (value[s.at] == ' ' || value[s.at] == '\t') {
			s.at++
		}
		if s.at < len(value) && value[s.at] == '"' {
			s.at++
			out = append(out, [2]string{name, s.until('"')})
			continue
		}
		out = append(out, [2]string{name, strings.TrimSpace(s.word(";("))})
	}
	return out
}

// maxParameters bounds those of a field.
const maxParameters = 200

// word reads to one of the ends, which is not passed over.
func (s *addressScanner) word(ends string) string {
	begin := s.at
	for s.at < len(s.text) && !strings.ContainsRune(ends, rune(s.text[s.at])) {
		s.at++
	}
	return s.text[begin:s.at]
}

// skipTo passes over a character that is in no quoted string or comment. It returns
// false when there is none.
func (s *addressScanner) skipTo(c byte) bool {
	for s.at < len(s.text) {
		s.at++
		switch s.text[s.at-1] {
		case c:
			return true
		case '"':
			s.until('"')
		case '(':
			s.comment()
		}
	}
	return false
}

// writeParams writes the parameters of a field.
func writeParams(w *bufio.Writer, pairs [][2]string) {
	if len(pairs) == 0 {
		_, _ = w.WriteString("NIL")
		return
	}
	_ = w.WriteByte('(')
	for i, pair := range pairs {
		if i > 0 {
			_ = w.WriteByte(' ')
		}
		writeString(w, upper(pair[0]))
		_ = w.WriteByte(' ')
		writeString(w, pair[1])
	}
	_ = w.WriteByte(')')
}

// writeDisposition writes the extensions that all parts have: disposition,
// language and location.
func writeDisposition(w *bufio.Writer, h *mimeraw.Header) {
	_ = w.WriteByte(' ')
	value, ok := h.Get("Content-Disposition")
	disposition, _, _ := strings.Cut(value, ";")
	if disposition = strings.TrimSpace(disposition); !ok || disposition == "" {
		_, _ = w.WriteString("NIL")
	} else {
		_ = w.WriteByte('(')
		writeString(w, upper(disposition))
		_ = w.WriteByte(' ')
		writeParams(w, parameters(h, "Content-Disposition"))
		_ = w.WriteByte(')')
	}
	_ = w.WriteByte(' ')
	languages := strings.FieldsFunc(strings.Join(h.Values("Content-Language"), ","), func(r rune) bool { return r == ',' || r == ' ' })
	if len(languages) == 0 {
		_, _ = w.WriteString("NIL")
	} else {
		_ = w.WriteByte('(')
		for i, l := range languages {
			if i > 0 {
				_ = w.WriteByte(' ')
			}
			writeString(w, l)
		}
		_ = w.WriteByte(')')
	}
	_ = w.WriteByte(' ')
	field(w, h, "Content-Location")
}
