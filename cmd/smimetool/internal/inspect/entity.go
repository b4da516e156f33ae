package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
)

// entity reads a header and a body.
func (w *walker) entity(n *Node, br *bufio.Reader) error {
	leave, err := w.enter()
	defer leave()
	if err != nil {
		return err
	}
	h, err := mimeraw.ReadHeader(br, 0)
	if err != nil {
		return err
	}
	describe(n, h)
	mt := mediaType(h)
	encoding := transferEncoding(h)
	body, err := w.node(n, mt.Type, fileName(h, mt))
	if err != nil {
		return err
	}
	for _, p := range []string{"protocol", "micalg", "smime-type", "charset", "hp"} {
		body.set(strings.ReplaceAll(p, "-", "_"), mt.Params[p])
	}
	body.set("transfer_encoding", encoding)
	count := &counter{src: br}
	err = w.body(body, mt, fileName(h, mt), decoded(encoding, count))
	if err == nil {
		_, err = drain(count)
	}
	body.set("octets", count.n)
	return err
}

// body reads what a media type says there is.
func (w *walker) body(n *Node, mt mimeraw.MediaType, name string, src io.Reader) error {
	switch {
	case strings.HasPrefix(mt.Type, "multipart/"):
		return w.parts(n, mt, newBuffered(src))
	case mt.Type == "message/rfc822" || mt.Type == "message/global":
		return w.entity(n, newBuffered(src))
	case isSMIME(mt, name):
		br := newBuffered(src)
		err := w.contentInfo(n, br)
		if err == nil {
			_, err = drain(br)
			if errors.As(err, new(*mimeraw.Base64Error)) {
				err = nil // what follows the message is nobody's
			}
		}
		return err
	}
	return nil
}

func (w *walker) parts(n *Node, mt mimeraw.MediaType, br *bufio.Reader) error {
	m := mimeraw.NewMultipart(br, mt.Params["boundary"])
	for count := 1; ; count++ {
		part, err := m.Next()
		if err == io.EOF {
			if !m.Closed() {
				n.set("warning", "the closing delimiter is missing")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err = w.entity(n, newBuffered(part)); err != nil {
			return err
		}
	}
}

// describe adds what people know a message by.
func describe(n *Node, h *mimeraw.Header) {
	words := new(mime.WordDecoder)
	for _, name := range []string{"From", "To", "Subject", "Date"} {
		value, ok := h.Get(name)
		if !ok {
			continue
		}
		if plain, err := words.DecodeHeader(value); err == nil {
			value = plain
		}
		n.set(strings.ToLower(name), value)
	}
}

// mediaType returns the type of an entity; RFC 2045, Section 5.2 gives the
// default.
func mediaType(h *mimeraw.Header) mimeraw.MediaType {
	value, ok := h.Get("Content-Type")
	if ok {
		if mt, err := mimeraw.ParseMediaType(value); err == nil {
			return mt
		}
	}
	return mimeraw.MediaType{Type: "text/plain"}
}

func transferEncoding(h *mimeraw.Header) string {
	value, _ := h.Get("Content-Transfer-Encoding")
	value, _, _ = strings.Cut(value, "(")
	return strings.ToLower(strings.TrimSpace(value))
}

func fileName(h *mimeraw.Header, mt mimeraw.MediaType) string {
	if value, ok := h.Get("Content-Disposition"); ok {
		d, _ := mimeraw.ParseMediaType(value) // the parameters are there even with an error
		if name := d.Params["filename"]; name != "" {
			return name
		}
	}
	return mt.Params["name"]
}

func decoded(encoding string, src io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return mimeraw.NewBase64Reader(src)
	case "quoted-printable":
		return mimeraw.NewQuotedPrintableReader(src)
	}
	return src
}

var smimeTypes = []string{
	"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature",
	"application/cms", "application/pkcs7",
}

// isSMIME reports whether an entity should hold a CMS message. RFC 8551,
// Section 3.9 knows it by its type, or by the ending of its name.
func isSMIME(mt mimeraw.MediaType, name string) bool {
	if slices.Contains(smimeTypes, mt.Type) {
		return true
	}
	endings := []string{".p7m", ".p7s", ".p7c", ".p7z"}
	return mt.Type == "application/octet-stream" && slices.Contains(endings, strings.ToLower(path.Ext(name)))
}

// looksLikeEntity reports whether head starts with a header field.
func looksLikeEntity(head []byte) bool {
	line, _, found := bytes.Cut(head, []byte("\n"))
	name, _, colon := bytes.Cut(line, []byte(":"))
	if !found || !colon || len(name) == 0 {
		return false
	}
	return bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}
