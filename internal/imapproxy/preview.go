package imapproxy

import (
	"bufio"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/ianaindex"

	"github.com/postseal/postseal/internal/mimetree"
)

// RFC 8970, Section 3.1: a preview has at most 200 characters.
const (
	maxPreview = 200
	previewed  = 32 << 10 // octets of a part that are looked at
)

// writePreview writes the beginning of the text of a message.
func (m *shown) writePreview(w *bufio.Writer) error {
	text := ""
	if part := previewPart(m.tree); part != nil {
		r, err := m.decoded(part, &item{path: []int{1}})
		if err == nil {
			text = readPreview(r, part)
		}
	}
	writeString(w, text)
	return nil
}

// previewPart returns the first part with text for people.
func previewPart(p *mimetree.Part) *mimetree.Part {
	switch {
	case p.Type == "text/plain" || p.Type == "text/html":
		return p
	case p.Message != nil:
		return previewPart(p.Message)
	}
	var found *mimetree.Part
	for _, child := range p.Parts {
		if part := previewPart(child); part != nil {
			if found == nil {
				found = part
			}
			if p.Type != "multipart/alternative" || part.Type == "text/plain" {
				return part
			}
		}
	}
	return found
}

// readPreview reads text, as far as it can be read.
func readPreview(r io.Reader, part *mimetree.Part) string {
	r = io.LimitReader(r, previewed)
	if charset := part.Params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		e, err := ianaindex.MIME.Encoding(charset)
		if err != nil || e == nil {
			return ""
		}
		r = e.NewDecoder().Reader(r)
	}
	if part.Type == "text/html" {
		return words(htmlText(r))
	}
	data, err := io.ReadAll(r)
	if err != nil && len(data) == 0 {
		return ""
	}
	return words(string(data))
}

// htmlText returns the text of HTML that people see.
func htmlText(r io.Reader) string {
	var b strings.Builder
	hidden := false
	for z := html.NewTokenizer(r); b.Len() < previewed; {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			if !hidden {
				b.Write(z.Text())
			}
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if token.Data == "style" || token.Data == "script" || token.Data == "title" {
				hidden = token.Type == html.StartTagToken
			}
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// words returns the beginning of a text, with one blank between its words.
func words(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	n := 0
	for i := range text {
		if n++; n > maxPreview {
			return text[:i]
		}
	}
	return text
}
