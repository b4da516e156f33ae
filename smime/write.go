package smime

import (
	"bytes"
	"io"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/pki"
)

// Sign writes a signed message (RFC 8551, Section 3.5) to w. The message to
// sign, header and body, is to be written to the result, with line ends CRLF or
// LF. Close signs and finishes; it does not close w, and without it the message
// is incomplete. The header fields stay in front, octet by octet and in their
// order, but for those whose names start with Content-: these go inside, with
// the body. A message that is a MIME entity alone, or has no header and starts
// with an empty line, is fine.
//
// What might not survive its way through mail servers is encoded before it is
// signed, part by part (RFC 8551, Section 3.1.3); parts that are signed or
// encrypted already, and messages in the message, are left as they are.
//
// The caller's mistakes are a cms.UsageError here, before anything is written.
// Memory does not grow with the message. The result is not safe for concurrent
// use; its first error is returned by every later call.
func Sign(w io.Writer, signers []cms.Signer, opts *SignOptions) (io.WriteCloser, error) {
	var o SignOptions
	if opts != nil {
		o = *opts
	}
	out := &gate{dst: w}
	layer, err := signLayer(out, signers, &o)
	if err != nil {
		return nil, err
	}
	m := newMessageWriter(out, layer, signCleaning(&o))
	m.protection = headerProtection{policy: o.Headers, mode: hpClear}
	return m, nil
}

// signCleaning says how content is prepared that will be signed. nil: line ends
// only.
func signCleaning(o *SignOptions) *cleanOptions {
	if o.SevenBit {
		return nil
	}
	return &cleanOptions{encode: true, keepBinary: o.Opaque, spool: spool.Options{Memory: o.SpoolMemory, Dir: o.SpoolDir}, survey: o.Survey}
}

// Encrypt writes an encrypted message (RFC 8551, Sections 3.3 and 3.4) to w,
// signed and compressed before if the options say so (Section 3.7), in one
// pass. All else is as for Sign. The fields that stay in front can be read by
// everybody: all of them, the Subject too, unless EncryptOptions.Headers says
// otherwise.
//
// Each recipient can see who the others are: whoever gets a blind copy needs a
// message of their own.
func Encrypt(w io.Writer, to []cms.Recipient, opts *EncryptOptions) (io.WriteCloser, error) {
	var o EncryptOptions
	if opts != nil {
		o = *opts
	}
	var co cms.EncryptOptions
	if o.CMS != nil {
		co = *o.CMS
	}
	co.ContentType, co.Size, co.Cipher = cms.TypeData, 0, o.Cipher
	if co.Cipher == "" {
		co.Cipher = chooseCipher(o.Capabilities)
	}
	out := &gate{dst: w}
	layer, err := encryptLayer(out, to, &co)
	if err != nil {
		return nil, err
	}
	clean := &cleanOptions{spool: spool.Options{Memory: o.SpoolMemory, Dir: o.SpoolDir}, survey: o.Survey}
	if o.Compress {
		if layer, err = nest(layer, compressLayer); err != nil {
			return nil, err
		}
	}
	if len(o.Signers) > 0 {
		var so SignOptions
		if o.Sign != nil {
			so = *o.Sign
		}
		so.Survey = o.Survey
		layer, err = nest(layer, func(dst io.Writer) (*entityWriter, error) { return signLayer(dst, o.Signers, &so) })
		if err != nil {
			return nil, err
		}
		clean = signCleaning(&so)
	}
	m := newMessageWriter(out, layer, clean)
	m.protection = headerProtection{o.Headers, hpCipher, o.NoLegacyDisplay}
	return m, nil
}

// Compress writes a compressed message (RFC 8551, Section 3.6; RFC 3274) to w.
// It is neither signed nor encrypted, and few programs can read it. All else is
// as for Sign.
func Compress(w io.Writer, opts *CompressOptions) (io.WriteCloser, error) {
	var o CompressOptions
	if opts != nil {
		o = *opts
	}
	out := &gate{dst: w}
	layer, err := compressLayer(out)
	if err != nil {
		return nil, err
	}
	return newMessageWriter(out, layer, &cleanOptions{spool: spool.Options{Memory: o.SpoolMemory, Dir: o.SpoolDir}}), nil
}

// WriteCertificates writes a message that carries certificates and CRLs alone
// (RFC 8551, Section 3.8) to w. header is the header of the message, as
// received or composed, or nil; fields about a body are left out.
func WriteCertificates(w io.Writer, header []byte, certs []*pki.Certificate, crls [][]byte) error {
	out := &gate{dst: w}
	layer, err := base64Layer(out, opaque(pkcs7MIME, TypeCertsOnly, "smime.p7c"), func(dst io.Writer) (io.WriteCloser, error) {
		return &chain{Writer: dst}, cms.WriteCertificates(dst, certs, crls)
	})
	if err != nil {
		return err
	}
	m := newMessageWriter(out, layer, nil)
	if _, err = m.head.feed(header); err != nil {
		return err
	}
	if err = m.start(); err != nil {
		return err
	}
	return layer.Close()
}

// A messageWriter takes a message and parts its header into what stays outside
// and what goes inside.
type messageWriter struct {
	out   *gate
	layer *entityWriter
	clean *cleanOptions // nil: line ends only

	protection headerProtection
	parted     *parted // once the header is known

	head head
	body io.WriteCloser // once the header is known
	err  error
	done bool
}

func newMessageWriter(out *gate, layer *entityWriter, clean *cleanOptions) *messageWriter {
	return &messageWriter{out: out, layer: layer, clean: clean, head: makeHead(0)}
}

// Write implements io.Writer.
func (m *messageWriter) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	if m.done {
		return 0, &cms.UsageError{Msg: "Write after Close"}
	}
	n := 0
	if m.body == nil {
		if n, m.err = m.head.feed(p); m.err == nil && m.head.done {
			m.err = m.startBody()
		}
	}
	if m.err == nil && n < len(p) {
		_, m.err = m.body.Write(p[n:])
	}
	if m.err != nil {
		return 0, m.err
	}
	return len(p), nil
}

// start writes what stays in front.
func (m *messageWriter) start() error {
	if err := m.head.parse(); err != nil {
		return err
	}
	m.parted = m.protection.part(m.head.header)
	outer := append(outerHeader(m.parted.outer, len(m.layer.fields)), m.layer.fields...)
	return m.out.pass(append(outer, "\r\n"...))
}

// startBody starts all that is inside.
func (m *messageWriter) startBody() error {
	if err := m.start(); err != nil {
		return err
	}
	fields := m.parted.inner
	if m.clean != nil {
		m.clean.typeParam, m.clean.legacy = m.parted.typeParam, m.parted.legacy
		m.clean.survey.begin()
		c := newCleaner(m.layer, fields, *m.clean)
		body := &chain{c, [...]io.Closer{c, m.layer, nil}}
		if m.clean.survey != nil {
			body.ends = [...]io.Closer{c, closerFunc(m.clean.survey.verdict), m.layer}
		}
		m.body = body
	} else {
		if !fields.Has("Content-Type") {
			fields.Fields = append([]mimeraw.Field{{Raw: []byte("Content-Type: text/plain; charset=us-ascii" + m.parted.typeParam + "\r\n")}}, fields.Fields...)
		}
		m.body = &chain{mimeraw.NewCRLFWriter(m.layer), [...]io.Closer{m.layer, nil, nil}}
		if err := writeAll(m.layer, append(fields.CRLF(len("\r\n")), "\r\n"...)); err != nil {
			return err
		}
	}
	return writeAll(m.body, bytes.Clone(m.head.raw[m.head.body:]))
}

// Close implements io.Closer.
func (m *messageWriter) Close() error {
	if m.done || m.err != nil {
		m.abort()
		return m.err
	}
	m.done = true
	if m.body == nil {
		m.err = m.startBody()
	}
	if m.err == nil {
		m.err = m.body.Close()
	}
	m.abort()
	return m.err
}

// abort frees what a failed message holds.
func (m *messageWriter) abort() {
	if c, ok := m.body.(*chain); ok {
		if cl, isCleaner := c.Writer.(*cleaner); isCleaner {
			cl.abort()
		}
	}
}
