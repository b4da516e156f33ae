package smime

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"slices"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
)

// A legacyDisplay repeats hidden fields at the beginning of the text, for people
// whose programs know nothing of header protection (RFC 9788, Section 5.2).
type legacyDisplay struct{ fields []mimeraw.Field }

const (
	legacyParam = "hp-legacy-display"
	legacyClass = "header-protection-legacy-display"
	maxLegacy   = 64 << 10 // octets of such an element
)

// isMain reports whether the part at hand is what a person reads first: text that
// is no attachment, and that no other part comes before but in other forms.
func (c *cleaner) isMain(p *partHead, m mimeraw.MediaType) bool {
	if m.Type != textPlain && m.Type != "text/html" {
		return false
	}
	if disposition, ok := p.header.Get("Content-Disposition"); ok && !strings.HasPrefix(strings.ToLower(disposition), "inline") {
		return false
	}
	for _, l := range c.stack {
		if l.parts > 1 && l.media != "multipart/alternative" {
			return false
		}
	}
	return true
}

// element returns what is to be written before the body of a part, in its
// transfer encoding.
func (l *legacyDisplay) element(m mimeraw.MediaType, encoding string, encode bool) []byte {
	utf8 := strings.EqualFold(m.Params["charset"], "utf-8") &&
		(encode || encoding == "quoted-printable" || encoding == "base64" || encoding == "8bit")
	var b strings.Builder
	for _, f := range l.fields {
		b.WriteString(f.Name() + ": " + legacyValue(f, utf8) + "\r\n")
	}
	text := b.String() + "\r\n"
	if m.Type != textPlain {
		text = "<div class=\"" + legacyClass + "\"><pre>" + html.EscapeString(b.String()) + "</pre></div>\r\n"
	}
	switch encoding {
	case "quoted-printable":
		var out bytes.Buffer
		w := mimeraw.NewQuotedPrintableWriter(&out)
		_, _ = io.WriteString(w, text) // a bytes.Buffer takes all
		_ = w.Close()
		return out.Bytes()
	case "base64":
		// Blanks before the last line end make it whole groups of base64.
		text = text[:len(text)-2] + strings.Repeat(" ", (3-len(text)%3)%3) + "\r\n"
		var out []byte
		for chunk := range slices.Chunk([]byte(text), 57) {
			out = append(base64.StdEncoding.AppendEncode(out, chunk), "\r\n"...)
		}
		return out
	}
	return []byte(text)
}

// legacyValue returns the value of a field for a text: as people read it, if that
// can be written.
func legacyValue(f mimeraw.Field, utf8 bool) string {
	value := f.Value()
	if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil && (utf8 || isASCII(decoded)) {
		value = decoded
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f:
			return ' '
		case r >= 0x80 && !utf8:
			return '?'
		}
		return r
	}, value)
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// hasLegacy reports whether the content may have such elements.
func (m *Message) hasLegacy() bool {
	if m.HeaderProtection != hpCipher {
		return false
	}
	start, err := io.ReadAll(io.LimitReader(m.content.raw(), 4*maxLegacy))
	return err == nil && bytes.Contains(bytes.ToLower(start), []byte(legacyParam))
}

// startLegacy takes the body of a part that has such an element, to cut that out.
func (c *cleaner) startLegacy(p *partHead, m mimeraw.MediaType, encoding string) bool {
	if !c.opts.cutLegacy || m.Params[legacyParam] != "1" || !c.isMain(p, m) {
		return false
	}
	delete(m.Params, legacyParam)
	field, err := mimeraw.NewField("Content-Type", m.String())
	if err != nil {
		return false
	}
	p.replace("Content-Type", field)
	c.leaf = &legacyLeaf{c: c, html: m.Type != textPlain, encoding: encoding, Buffer: spool.New(c.opts.spool)}
	return true
}

// A legacyLeaf holds a body, cuts the element out at its end, and encodes it as
// it was.
type legacyLeaf struct {
	*spool.Buffer
	c        *cleaner
	html     bool
	encoding string
}

func (l *legacyLeaf) abort() { _ = l.Buffer.Close() } // nobody needs it

// decoded returns the body without its transfer encoding.
func (l *legacyLeaf) decoded() io.Reader {
	switch l.encoding {
	case "base64":
		return mimeraw.NewBase64Reader(bufio.NewReader(l.NewReader()))
	case "quoted-printable":
		return mimeraw.NewQuotedPrintableReader(bufio.NewReader(l.NewReader()))
	}
	return l.NewReader()
}

// Close implements io.Closer.
func (l *legacyLeaf) Close() error {
	defer l.abort()
	if _, err := io.Copy(io.Discard, l.decoded()); err != nil {
		// What cannot be decoded stays as it is.
		_, err = io.Copy(&l.c.crlf, l.NewReader())
		return err
	}
	var out io.WriteCloser = passLeaf{&l.c.crlf}
	switch l.encoding {
	case "base64":
		out = mimeraw.NewBase64Writer(&l.c.crlf)
	case "quoted-printable":
		out = newCanonical(mimeraw.NewQuotedPrintableWriter(&l.c.crlf))
	}
	br := bufio.NewReaderSize(l.decoded(), maxLegacy)
	start, _ := br.Peek(maxLegacy) // less is there at the end
	from, to := legacyText(start)
	if l.html {
		from, to = legacyHTML(start)
	}
	if err := writeAll(out, start[:from]); err != nil {
		return err
	}
	_, _ = br.Discard(to) // it is buffered
	if _, err := io.Copy(out, br); err != nil {
		return err
	}
	return out.Close()
}

// legacyText finds the element of a text: lines that look like fields, up to the
// first empty one.
func legacyText(b []byte) (from, to int) {
	for at := 0; at < len(b); {
		line, whole := firstLine(b[at:])
		if !whole {
			return 0, 0
		}
		at += len(line)
		if len(bytes.TrimRight(line, " \r\n")) == 0 {
			return 0, at
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); !ok || bytes.ContainsAny(name, " \t") {
			if line[0] != ' ' && line[0] != '\t' {
				return 0, 0
			}
		}
	}
	return 0, 0
}

// legacyHTML finds the element of a text in HTML: the first div of its class.
func legacyHTML(b []byte) (from, to int) {
	lower := bytes.ToLower(b)
	class := bytes.Index(lower, []byte(legacyClass))
	if class < 0 {
		return 0, 0
	}
	from = bytes.LastIndex(lower[:class], []byte("<div"))
	end := bytes.Index(lower[class:], []byte("</div>"))
	if from < 0 || end < 0 || bytes.IndexByte(lower[from:class], '>') >= 0 {
		return 0, 0
	}
	to = class + end + len("</div>")
	for _, eol := range []string{"\r\n", "\n"} {
		if bytes.HasPrefix(b[to:], []byte(eol)) {
			return from, to + len(eol)
		}
	}
	return from, to
}
