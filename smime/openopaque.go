package smime

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
)

// An opening is a CMS message at the root of an entity that is being opened.
type opening struct {
	r     *reader
	e     *entity
	layer *Layer
	cms   *cms.Reader
	found bool             // an identity is a recipient
	again func() io.Reader // the CMS message once more; nil for a stream
}

// leastAgain is the size in octets from which on a message is rather read twice
// than held.
var leastAgain int64 = 1 << 20 // tests lower it

// openOpaque opens an application/pkcs7-mime or alike. What it is its content
// tells; smime-type is not asked (RFC 8551, Section 3.2.2: optional).
func (r *reader) openOpaque(e *entity) (*origin, error) {
	body, err := r.record(e)
	if err != nil {
		return nil, err
	}
	decode := func(lent *lending, body io.Reader) io.Reader {
		if e.held != nil && e.held.crlf {
			body = mimeraw.NewCRLFReader(body)
		}
		return lent.decodeTransfer(body, transferEncoding(e.header()))
	}
	o := &opening{r: r, e: e, layer: r.layer(TypeUnknown)}
	if pinned, ok := e.heldBy(); ok && r.where != nil {
		// It is read once and judged as it is read: no fingerprints are needed.
		pinned.at = r.where
		raw := pinned.from(int64(e.head.body - e.skip))
		body = raw.raw()
		if r.opts.Stage != nil && raw.n >= leastAgain {
			o.again = func() io.Reader { return decode(&lending{}, raw.raw()) }
		}
	}
	if o.cms, err = cms.NewReader(decode(&r.lent, body), r.opts.CMS); err != nil {
		return o.closed(err)
	}
	switch o.cms.ContentType() {
	case cms.TypeSignedData:
		return o.signed()
	case cms.TypeEnvelopedData, cms.TypeAuthEnvelopedData:
		return o.enveloped()
	case cms.TypeAuthenticatedData:
		return o.authenticated()
	case cms.TypeCompressedData:
		o.layer.Type = TypeCompressed
		c, cerr := o.cms.Decompress()
		if cerr != nil {
			return o.closed(cerr)
		}
		return o.stream(c, c.ContentType(), nil)
	case cms.TypeDigestedData:
		o.layer.Type = TypeDigested
		d, derr := o.cms.VerifyDigest(nil, r.opts.Allow)
		if derr != nil {
			return o.closed(derr)
		}
		return o.stream(d, d.ContentType(), nil)
	case cms.TypeData:
		o.layer.Type = TypeData
		d, derr := o.cms.Data()
		if derr != nil {
			return o.closed(derr)
		}
		return o.stream(d, cms.TypeData, nil)
	case cms.TypeEncryptedData:
		o.layer.Type, o.layer.Encrypted = TypeEncrypted, true
	}
	return o.closed(&cms.UnsupportedError{What: "as a mail message the content type", OID: o.cms.ContentType()})
}

// closed ends the opening: the layer stays as it is.
func (o *opening) closed(err error) (*origin, error) {
	o.layer.Err = err
	return nil, o.r.keep(o.e)
}

// withhold ends the opening without any content.
func (o *opening) withhold(err error) (*origin, error) {
	o.layer.Err, o.layer.withheld = err, true
	return nil, nil
}

// stream makes the content of a layer the next origin. done is told the
// verdict, when there is one.
func (o *opening) stream(content io.ReadCloser, contentType cms.OID, done func(err error)) (*origin, error) {
	o.layer.ContentType = contentType
	if contentType != cms.TypeData {
		o.foreign(contentType)
	}
	finish := func() {
		o.layer.Err = content.Close()
		if done != nil {
			done(o.layer.Err)
		}
	}
	if !o.layer.Encrypted {
		// What cannot be read at all is kept as received.
		br := o.r.lent.peeker(content)
		_, err := br.Peek(1)
		_, syntax := errors.AsType[*cms.SyntaxError](err)
		_, limit := errors.AsType[*cms.LimitError](err)
		if errors.Is(err, spool.ErrLimit) {
			finish()
			return nil, err
		}
		if syntax || limit {
			finish()
			return o.closed(err)
		}
		o.e.rec.stop()
		o.r.finish = append(o.r.finish, finish)
		return &origin{stream: layerReader{br}, octets: contentType != cms.TypeData}, nil
	}
	o.r.finish = append(o.r.finish, finish)
	return &origin{stream: layerReader{content}, octets: contentType != cms.TypeData}, nil
}

// decrypted makes content that has been authenticated the next origin: it is
// decrypted where it is read, and held as ciphertext alone.
func (o *opening) decrypted(d *cms.DecryptedReader, content view) (*origin, error) {
	o.layer.ContentType = d.ContentType()
	if o.layer.ContentType != cms.TypeData {
		o.foreign(o.layer.ContentType)
	}
	o.r.msg.held = append(o.r.msg.held, d)
	return &origin{held: content, octets: o.layer.ContentType != cms.TypeData}, nil
}

// hold has the Stage take content that nothing has authenticated yet. Only if it
// is the inmost one: else what is inside would be judged.
func (o *opening) hold(contentType cms.OID, start []byte) (io.Writer, error) {
	inner := newHead(o.r.opts.MaxHeader)
	err := inner.read(bufio.NewReader(bytes.NewReader(start)))
	if contentType != cms.TypeData || err != nil || inner.header.Separator == nil {
		return nil, nil
	}
	s, err := o.r.stage(inner.header, bytes.Clone(inner.raw[:inner.body]), inner.marks)
	if s == nil || err != nil {
		return nil, err
	}
	return &bodyWriter{dst: s, skip: inner.body}, nil
}

// A bodyWriter leaves out the header of what is written to it.
type bodyWriter struct {
	dst  io.Writer
	skip int
}

// Write implements io.Writer.
func (w *bodyWriter) Write(p []byte) (int, error) {
	skip := min(w.skip, len(p))
	w.skip -= skip
	n, err := w.dst.Write(p[skip:])
	return skip + n, err
}

// held makes the content that the Stage has taken, and that is authenticated now,
// the next origin.
func (o *opening) held(d *cms.DecryptedReader) (*origin, error) {
	s := o.r.staged
	if err := s.finish(s.n); err != nil {
		return nil, err
	}
	o.r.msg.held = append(o.r.msg.held, d)
	o.layer.ContentType = d.ContentType()
	whole := s.whole()
	s.at = whole.from(int64(len(s.head)))
	return &origin{held: whole}, nil
}

// foreign notes that a layer holds something else than a MIME entity. RFC 8551,
// Section 2.4: its type MUST be id-data. Where the type is signed it may be
// meant, as that of a receipt; else anybody can have changed it to hide what is
// inside.
func (o *opening) foreign(contentType cms.OID) {
	if o.layer.Signature() {
		o.layer.Warnings = append(o.layer.Warnings, &StructureError{What: "the signed content is no MIME entity"})
		return
	}
	o.r.err = &cms.UnsupportedError{What: "inside of " + o.layer.Type + " content of type", OID: contentType}
}

func (o *opening) signed() (*origin, error) {
	l := o.layer
	l.Type = TypeSigned
	s, err := o.cms.Verify(o.r.verifyOptions(l))
	if err != nil {
		return o.closed(err)
	}
	if !s.Detached() {
		return o.stream(s, s.ContentType(), func(error) { l.setSigned(s) })
	}
	err = s.Close()
	l.setSigned(s)
	if ve, ok := errors.AsType[*cms.VerifyError](err); ok && ve.Reason == cms.ReasonNoSigners {
		l.Type, err = TypeCertsOnly, nil // RFC 8551, Section 3.8
	}
	return o.closed(err)
}

// verifyOptions are those for a layer.
func (r *reader) verifyOptions(l *Layer) *cms.VerifyOptions {
	trust := r.opts.Trust
	// cms knows InsecureTrustAnySigner, so that it must not be wrapped.
	if !r.insecure() && !r.opts.NoSenderCheck {
		trust = r.sender.trust(trust, l)
	}
	return &cms.VerifyOptions{Trust: trust, Certificates: r.opts.Certificates, Allow: r.opts.Allow, Time: r.opts.Time}
}

func (r *reader) insecure() bool { return r.opts.Trust == cms.InsecureTrustAnySigner }

// setSigned takes what a SignedData, read to its end, tells.
func (l *Layer) setSigned(s *cms.SignedReader) {
	l.Signers, l.Certificates, l.CRLs = s.Signers(), s.Certificates(), s.CRLs()
	l.OtherRevocation = s.OtherRevocation()
	l.ContentType = s.ContentType()
}

// A watched identity notes that it is a recipient. Then the encrypted entity is
// not needed any more: it is opened, or nothing of it is released.
type watched struct {
	cms.Identity
	o *opening
}

// Unwrap implements cms.Identity.
func (w watched) Unwrap(infos []cms.RecipientInfo, cekLen int) ([]byte, error) {
	key, err := w.Identity.Unwrap(infos, cekLen)
	if err == nil || errors.Is(err, cms.ErrDecrypt) {
		w.o.found = true
		w.o.e.rec.stop()
	}
	return key, err
}

// identities returns the identities, watched.
func (o *opening) identities() []cms.Identity {
	out, watchers := make([]cms.Identity, len(o.r.opts.Identities)), make([]watched, len(o.r.opts.Identities))
	for i, id := range o.r.opts.Identities {
		watchers[i] = watched{id, o}
		out[i] = &watchers[i]
	}
	return out
}

func (o *opening) enveloped() (*origin, error) {
	l := o.layer
	l.Type, l.Encrypted = TypeEnveloped, true
	if o.cms.ContentType() == cms.TypeAuthEnvelopedData {
		l.Type = TypeAuthEnveloped
	}
	var err error
	if l.Recipients, err = o.cms.Recipients(); err != nil {
		return o.closed(err)
	}
	opts := cms.DecryptOptions{Allow: o.r.opts.Allow, SpoolMemory: o.r.opts.SpoolMemory, SpoolDir: o.r.opts.SpoolDir}
	if o.again != nil {
		opts.Again, opts.HoldUnverified = o.again, o.hold
	}
	d, err := o.cms.Decrypt(o.identities(), &opts)
	if failed := o.r.staged.failed(); failed != nil {
		return nil, failed
	}
	if err != nil && o.found {
		return o.withhold(err)
	}
	if err != nil {
		return o.closed(err)
	}
	l.Cipher, l.Authenticated = d.Cipher(), d.Authenticated()
	if d.Written() {
		return o.held(d)
	}
	if at, n := d.Held(); at != nil && (o.r.opts.MaxContent <= 0 || n <= o.r.opts.MaxContent) {
		return o.decrypted(d, view{at: at, n: n})
	}
	return o.stream(d, d.ContentType(), func(failed error) {
		l.withheld = failed != nil
		l.Authenticated = l.Authenticated && failed == nil
	})
}

func (o *opening) authenticated() (*origin, error) {
	l := o.layer
	l.Type = TypeAuthenticated
	var err error
	if l.Recipients, err = o.cms.Recipients(); err != nil {
		return o.closed(err)
	}
	a, err := o.cms.VerifyMAC(o.r.opts.Identities)
	if err != nil {
		return o.closed(err)
	}
	l.Cipher = a.MAC()
	return o.stream(a, a.ContentType(), func(failed error) { l.Authenticated = failed == nil })
}
