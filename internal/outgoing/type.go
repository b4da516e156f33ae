package outgoing

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/oid"
)

// readType tells whether the message is protected already, by S/MIME or by
// PGP/MIME (RFC 3156). br is at the body.
//
// A header is soon written; it counts when what it promises is there, so that
// nothing goes out readable because it says that it is encrypted.
func (m *Message) readType(br *bufio.Reader) error {
	value, _ := m.Header.Get("Content-Type")
	mt, err := mimeraw.ParseMediaType(value)
	if err != nil {
		return nil // text/plain, RFC 2045, Section 5.2
	}
	switch kind := strings.Replace(mt.Type, "/x-", "/", 1); kind {
	case "multipart/signed":
		return m.readSigned(br, mt)
	case "multipart/encrypted":
		return m.readPGP(br, mt)
	case "application/pkcs7-mime", "application/octet-stream":
		if kind == "application/octet-stream" && !strings.HasSuffix(strings.ToLower(mt.Params["name"]), ".p7m") {
			return nil
		}
		// RFC 8551, Section 3.2.2: smime-type is a hint.
		encoding, _ := m.Header.Get("Content-Transfer-Encoding")
		m.readCMS(br, encoding)
	}
	return nil
}

// readCMS looks at what a body in CMS is. It is what its first layer says; one
// that cannot be read is nothing.
func (m *Message) readCMS(body io.Reader, encoding string) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		body = mimeraw.NewBase64Reader(body)
	case "quoted-printable":
		body = mimeraw.NewQuotedPrintableReader(body)
	}
	r, err := cms.NewReader(body, nil)
	if err != nil {
		return
	}
	switch r.ContentType() {
	case oid.EnvelopedData, oid.AuthEnvelopedData:
		// With nobody to read it for it is not what it says.
		list, listErr := r.Recipients()
		m.Encrypted = listErr == nil && len(list) > 0
	case oid.SignedData:
		m.Signed = true
	}
}

// maxPart bounds the header of a part, in octets.
const maxPart = 64 << 10

// readSigned takes multipart/signed for signed when there is a second part of
// the right type in it (RFC 1847, Section 2.1).
func (m *Message) readSigned(br *bufio.Reader, mt mimeraw.MediaType) error {
	parts, err := firstTwo(br, mt)
	if err != nil || len(parts) < 2 {
		return err
	}
	switch strings.Replace(parts[1].kind, "/x-", "/", 1) {
	case "application/pkcs7-signature", "application/pgp-signature":
		m.Signed = true
	}
	return nil
}

// readPGP takes multipart/encrypted for encrypted when its second part begins as
// an encrypted message does (RFC 3156, Section 4).
func (m *Message) readPGP(br *bufio.Reader, mt mimeraw.MediaType) error {
	parts, err := firstTwo(br, mt)
	if err != nil || len(parts) < 2 {
		return err
	}
	m.Encrypted = parts[0].kind == "application/pgp-encrypted" && bytes.HasPrefix(bytes.TrimSpace(parts[1].start), []byte("-----BEGIN PGP MESSAGE-----"))
	return nil
}

// A part is the type and the start of the body of one in a multipart.
type part struct {
	kind  string
	start []byte
}

// firstTwo returns the first two parts, or fewer where there are fewer. The error
// is that of reading.
func firstTwo(br *bufio.Reader, mt mimeraw.MediaType) ([]part, error) {
	mp := mimeraw.NewMultipart(br, mt.Params["boundary"])
	var out []part
	for len(out) < 2 {
		r, err := mp.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, mimeraw.ErrBoundary) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		in := bufio.NewReader(r)
		header, err := mimeraw.ReadHeader(in, maxPart)
		if errors.Is(err, mimeraw.ErrHeaderTooLong) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		value, _ := header.Get("Content-Type")
		kind, err := mimeraw.ParseMediaType(value)
		if err != nil {
			kind.Type = "text/plain"
		}
		p := part{kind: kind.Type, start: make([]byte, 256)}
		n, err := io.ReadFull(in, p.start)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		p.start = p.start[:n]
		out = append(out, p)
	}
	return out, nil
}
