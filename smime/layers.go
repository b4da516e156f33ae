package smime

import (
	"crypto"
	"crypto/rand"
	"io"
	"slices"
	"strings"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/mimeraw"
)

// An entityWriter writes a MIME entity of one of S/MIME's types. Its Content-*
// fields are known, and not written yet; what it holds is written to it.
type entityWriter struct {
	fields []byte
	io.WriteCloser
}

// opaque returns the fields of an application/pkcs7-mime or alike: RFC 8551,
// Section 3.2.
func opaque(mimeType, smimeType, file string) []byte {
	return appendOpaque(make([]byte, 0, 256), mimeType, smimeType, file)
}

func appendOpaque(b []byte, mimeType, smimeType, file string) []byte {
	add := func(parts ...string) {
		for _, part := range parts {
			b = append(b, part...)
		}
	}
	add("Content-Type: ", mimeType)
	if smimeType != "" {
		add("; smime-type=", smimeType)
	}
	add(";\r\n name=\"", file, "\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"", file, "\"\r\n")
	return b
}

const pkcs7MIME = "application/pkcs7-mime"

// base64Layer makes an entityWriter of a CMS writer that open starts.
func base64Layer(dst io.Writer, fields []byte, open func(io.Writer) (io.WriteCloser, error)) (*entityWriter, error) {
	b64 := mimeraw.NewBase64Writer(dst)
	w, err := open(b64)
	if err != nil {
		return nil, err
	}
	return &entityWriter{fields, &chain{w, [...]io.Closer{w, b64, nil}}}, nil
}

// nest makes an entity the content of parent.
func nest(parent *entityWriter, make func(dst io.Writer) (*entityWriter, error)) (*entityWriter, error) {
	g := &gate{dst: parent}
	child, err := make(g)
	if err != nil {
		return nil, err
	}
	if err = g.pass(append(slices.Clip(child.fields), "\r\n"...)); err != nil {
		return nil, err
	}
	return &entityWriter{parent.fields, &chain{child, [...]io.Closer{child, parent, nil}}}, nil
}

func encryptLayer(dst io.Writer, to []cms.Recipient, o *cms.EncryptOptions) (*entityWriter, error) {
	smimeType := TypeEnveloped
	if o.Cipher.AEAD() {
		smimeType = TypeAuthEnveloped // RFC 8551, Section 3.4
	}
	return base64Layer(dst, opaque(pkcs7MIME, smimeType, "smime.p7m"), func(w io.Writer) (io.WriteCloser, error) {
		return cms.Encrypt(w, to, o)
	})
}

func compressLayer(dst io.Writer) (*entityWriter, error) {
	return base64Layer(dst, opaque(pkcs7MIME, TypeCompressed, "smime.p7z"), func(w io.Writer) (io.WriteCloser, error) {
		return cms.Compress(w, cms.TypeData)
	})
}

func signLayer(dst io.Writer, signers []cms.Signer, opts *SignOptions) (*entityWriter, error) {
	signers, err := withCapabilities(signers, opts.Capabilities)
	if err != nil {
		return nil, err
	}
	var o cms.SignOptions
	if opts.CMS != nil {
		o = *opts.CMS
	}
	o.ContentType, o.Size = cms.TypeData, 0
	if !opts.Opaque {
		return clearLayer(dst, signers, &o)
	}
	return base64Layer(dst, opaque(pkcs7MIME, TypeSigned, "smime.p7m"), func(w io.Writer) (io.WriteCloser, error) {
		return cms.Sign(w, signers, &o)
	})
}

// A clearWriter writes a multipart/signed: RFC 8551, Section 3.5.3.
type clearWriter struct {
	dst      io.Writer
	signer   *cms.DetachedSigner
	boundary string
}

func clearLayer(dst io.Writer, signers []cms.Signer, o *cms.SignOptions) (*entityWriter, error) {
	signer, err := cms.NewDetachedSigner(signers, o)
	if err != nil {
		return nil, err
	}
	w := &clearWriter{dst: dst, signer: signer, boundary: "=_" + rand.Text()}
	fields := append(make([]byte, 0, 256), "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n micalg="...)
	fields = append(append(fields, micalg(signer.Digests())...), ";\r\n boundary=\""...)
	fields = append(append(fields, w.boundary...), "\"\r\n"...)
	start := append(make([]byte, 0, 128), "This is an S/MIME signed message\r\n\r\n--"...)
	err = writeAll(dst, append(append(start, w.boundary...), "\r\n"...))
	return &entityWriter{fields, w}, err
}

// micalg names digests: RFC 8551, Section 3.5.3.2.
func micalg(digests []crypto.Hash) string {
	var names []string
	for _, h := range digests {
		name := "unknown"
		if d, ok := alg.DigestByHash(h); ok && d.Micalg != "" {
			name = d.Micalg
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	return "\"" + strings.Join(names, ",") + "\""
}

// Write takes content.
func (w *clearWriter) Write(p []byte) (int, error) {
	_, _ = w.signer.Write(p) // never fails
	return w.dst.Write(p)
}

// Close adds the signature.
func (w *clearWriter) Close() error {
	// RFC 2046, Section 5.1.1: the line end before the delimiter is no content.
	tail := append(make([]byte, 0, 512), "\r\n--"...)
	tail = append(append(tail, w.boundary...), "\r\n"...)
	tail = appendOpaque(tail, "application/pkcs7-signature", "", "smime.p7s")
	if err := writeAll(w.dst, append(tail, "\r\n"...)); err != nil {
		return err
	}
	b64 := mimeraw.NewBase64Writer(w.dst)
	if err := w.signer.Finish(b64); err != nil {
		return err
	}
	if err := b64.Close(); err != nil {
		return err
	}
	tail = append(append(tail[:0], "\r\n--"...), w.boundary...)
	return writeAll(w.dst, append(tail, "--\r\n"...))
}
