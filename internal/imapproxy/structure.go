package imapproxy

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"mime"
	"net/mail"
	"slices"
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

// addresses returns those of a field that can be read.
func addresses(h *mimeraw.Header, name string) []*mail.Address {
	var out []*mail.Address
	for _, value := range h.Values(name) {
		list, err := mail.ParseAddressList(value)
		if err == nil {
			out = append(out, list...)
		}
	}
	return out
}

func writeAddresses(w *bufio.Writer, list []*mail.Address) {
	if len(list) == 0 {
		_, _ = w.WriteString("NIL")
		return
	}
	_ = w.WriteByte('(')
	for _, a := range list {
		local, domain := a.Address, ""
		if i := strings.LastIndexByte(a.Address, '@'); i >= 0 {
			local, domain = a.Address[:i], a.Address[i+1:]
		}
		_ = w.WriteByte('(')
		writeOptional(w, mime.QEncoding.Encode("utf-8", a.Name), a.Name != "")
		_, _ = w.WriteString(" NIL ")
		writeString(w, local)
		_ = w.WriteByte(' ')
		writeString(w, domain)
		_ = w.WriteByte(')')
	}
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
			writeParams(w, p.Fields, "Content-Type", p.Params)
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
	params := p.Params
	if kind == "multipart" || kind == "" || subtype == "" {
		// A multipart without parts is shown as the text that it is.
		kind, subtype, params = "text", "plain", nil
	}
	if kind == "message" && p.Message == nil && (subtype == "rfc822" || subtype == "global") {
		kind, subtype = "application", "octet-stream"
	}
	writeString(w, upper(kind))
	_ = w.WriteByte(' ')
	writeString(w, upper(subtype))
	_ = w.WriteByte(' ')
	if kind == "text" && params["charset"] == "" {
		// RFC 2046, Section 4.1.2: the default is said.
		params = maps.Clone(params)
		if params == nil {
			params = make(map[string]string)
		}
		params["charset"] = "us-ascii"
	}
	writeParams(w, p.Fields, "Content-Type", params)
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

// writeParams writes the parameters of a field, in the order that they have
// there.
func writeParams(w *bufio.Writer, h *mimeraw.Header, fieldName string, params map[string]string) {
	if len(params) == 0 {
		_, _ = w.WriteString("NIL")
		return
	}
	value, _ := h.Get(fieldName)
	value = strings.ToLower(value)
	names := slices.SortedFunc(maps.Keys(params), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Index(value, a), strings.Index(value, b)), cmp.Compare(a, b))
	})
	_ = w.WriteByte('(')
	for i, name := range names {
		if i > 0 {
			_ = w.WriteByte(' ')
		}
		writeString(w, upper(name))
		_ = w.WriteByte(' ')
		writeString(w, params[name])
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
		// A disposition has the form of a media type without its second half.
		mt, _ := mimeraw.ParseMediaType("x/" + strings.TrimSpace(value))
		_ = w.WriteByte('(')
		writeString(w, upper(disposition))
		_ = w.WriteByte(' ')
		writeParams(w, h, "Content-Disposition", mt.Params)
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
