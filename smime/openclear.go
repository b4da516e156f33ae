package smime

import (
	"bufio"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/mimeraw"
)

// A clear is a multipart/signed that is being opened.
type clear struct {
	r       *reader
	e       *entity
	layer   *Layer
	ours    bool // its protocol is that of S/MIME
	micalg  string
	parts   []view
	changed bool // the first part has line ends that are not canonical
	closed  bool // there is a closing delimiter
	hashed  *cms.ContentHash
	inner   *mimeraw.Header // of the first part; nil when it cannot be read
	staged  *staging        // where the body of the first part is written to; may be nil
}

// openClear opens a multipart/signed (RFC 8551, Section 3.5.3). All of it is
// held; the first part is hashed while it passes.
func (r *reader) openClear(e *entity) (*origin, error) {
	m := r.types.of(e.header(), "")
	protocol := strings.ToLower(strings.TrimSpace(m.Params["protocol"]))
	c := &clear{r: r, e: e, micalg: m.Params["micalg"], ours: protocol == "application/pkcs7-signature" || protocol == "application/x-pkcs7-signature"}
	body, err := r.record(e)
	if err != nil {
		return nil, err
	}
	c.hashed = cms.NewContentHash(hints(c.micalg)...)
	c.hashed.Again = c.again
	if err = c.split(body, m.Params["boundary"]); err != nil {
		return nil, err
	}
	signature, isSignature, err := c.signature()
	if err != nil {
		return nil, err
	}
	if !c.ours && !isSignature {
		return nil, r.keep(e) // of another protocol
	}
	c.layer = r.layer(TypeMultipartSigned)
	c.layer.ContentType = cms.TypeData
	if !c.closed {
		c.layer.Warnings = append(c.layer.Warnings, &StructureError{What: "the multipart/signed is not closed"})
	}
	switch {
	case len(c.parts) == 0:
		c.layer.Err = &StructureError{What: "the multipart/signed has no parts"}
		return nil, r.keep(e)
	case len(c.parts) != 2:
		// RFC 1847, Section 2.1: exactly two.
		c.layer.Err = &StructureError{What: "the multipart/signed has not two parts"}
	case !isSignature:
		c.layer.Err = &StructureError{What: "the second part of the multipart/signed is no signature"}
	default:
		// The signature is judged before the next layer is looked at, so the sender
		// has to be known.
		if c.inner != nil {
			r.protectedBy(c.inner)
		}
		if err = c.verify(signature); err != nil {
			return nil, err
		}
	}
	return &origin{held: c.parts[0]}, nil
}

// again returns the first part as it was hashed, when it is small.
func (c *clear) again() ([]byte, error) {
	if len(c.parts) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	first := c.parts[0]
	first.crlf = true
	return io.ReadAll(first.reader())
}

// hints returns the digests that micalg names. It is a hint: RFC 8551, Section
// 3.5.3.2 leaves readers to look at the signature itself.
func hints(micalg string) []crypto.Hash {
	var out []crypto.Hash
	for name := range strings.SplitSeq(micalg, ",") {
		d, ok := alg.DigestByName(strings.TrimSpace(name))
		if ok && len(out) < 4 && !slices.Contains(out, d.Hash) {
			out = append(out, d.Hash)
		}
	}
	if len(out) == 0 {
		out = []crypto.Hash{crypto.SHA256}
	}
	return out
}

// splitters are buffers to find parts in.
var splitters = sync.Pool{New: func() any { return bufio.NewReaderSize(eofReader{}, readBuffer) }}

// split finds the parts and hashes the first one. Its error is one of the
// source or of the spool.
func (c *clear) split(body io.Reader, boundary string) error {
	count := &counter{src: body}
	br, _ := splitters.Get().(*bufio.Reader) // nothing else is in there
	br.Reset(count)
	defer func() {
		br.Reset(eofReader{})
		splitters.Put(br)
	}()
	mp := mimeraw.NewMultipart(br, boundary)
	base := int64(c.e.head.body - c.e.skip)
	type span struct{ off, n int64 }
	var spans []span
	for {
		part, err := mp.Next()
		if err == io.EOF {
			break
		}
		if err == mimeraw.ErrBoundary {
			if _, err = io.Copy(io.Discard, br); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return err
		}
		s := span{off: base + count.n - int64(br.Buffered())}
		if len(spans) == 0 {
			s.n, err = c.hash(part, s.off)
		} else {
			s.n, err = io.Copy(io.Discard, part)
		}
		if err != nil {
			return err
		}
		if len(spans) < 3 { // more make no difference
			spans = append(spans, s)
		}
	}
	c.closed = mp.Closed()
	if c.staged != nil {
		if err := c.staged.finish(spans[0].off + spans[0].n - c.e.rec.from); err != nil {
			return err
		}
	}
	whole := c.e.view()
	for _, s := range spans {
		c.parts = append(c.parts, whole.sub(s.off, s.n))
	}
	if c.staged != nil {
		c.staged.at = c.parts[0].from(c.e.rec.from - spans[0].off)
	}
	return nil
}

// hash hashes the first part, which starts at octet off of the entity, and has it
// written to the Stage where that can be done.
func (c *clear) hash(part io.Reader, off int64) (int64, error) {
	crlf := mimeraw.NewCRLFWriter(c.hashed)
	br := c.r.lent.peeker(part)
	inner := newHead(c.r.opts.MaxHeader)
	err := inner.read(br)
	_, limit := errors.AsType[*cms.LimitError](err)
	if err != nil && !limit {
		return 0, err
	}
	if err == nil {
		c.inner = inner.header
	}
	if err == nil && c.ours && (c.e.held == nil || !c.e.held.crlf) {
		c.staged, err = c.r.stage(inner.header, inner.raw[:inner.body], inner.marks)
		if c.staged != nil && err == nil {
			err = c.e.rec.divert(c.staged, off+int64(inner.body), c.e.view())
		}
		if err != nil {
			return 0, err
		}
	}
	if err = writeAll(crlf, inner.raw); err != nil {
		return 0, err
	}
	n, err := io.Copy(crlf, br)
	c.changed = crlf.Changed()
	return int64(len(inner.raw)) + n, err
}

// signature looks at the second part. It returns its body and whether it may be
// a signature.
func (c *clear) signature() (func() io.Reader, bool, error) {
	if len(c.parts) < 2 {
		return nil, false, nil
	}
	part := c.parts[1]
	h := newHead(c.r.opts.MaxHeader)
	err := h.read(c.r.lent.peeker(part.raw()))
	if _, limit := errors.AsType[*cms.LimitError](err); limit {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	m := c.r.types.of(h.header, "")
	ok := slices.Contains(opaqueTypes, m.Type) || (strings.HasPrefix(m.Type, "application/") && extension(h.header, m) == ".p7s") ||
		(c.ours && m.Type == "application/octet-stream")
	body := part.from(int64(h.body))
	return func() io.Reader { return c.r.lent.decodeTransfer(body.reader(), transferEncoding(h.header)) }, ok, nil
}

// attempt judges the signature over content that has been hashed.
func (c *clear) attempt(signature func() io.Reader, hashed *cms.ContentHash) error {
	rd, err := cms.NewReader(signature(), c.r.opts.CMS)
	if err != nil {
		return err
	}
	c.layer.Warnings = slices.DeleteFunc(c.layer.Warnings, func(w error) bool {
		_, ok := errors.AsType[*UncheckedSenderError](w)
		return ok
	})
	o := c.r.verifyOptions(c.layer)
	o.Hashed = hashed
	s, err := rd.Verify(o)
	if err != nil {
		return err
	}
	err = s.Close()
	c.layer.setSigned(s)
	return err
}

// verify judges the layer, and says what the content is: the octets that were
// signed. Its error is one of the source or of the spool.
func (c *clear) verify(signature func() io.Reader) error {
	content := c.parts[0]
	digests := hints(c.micalg)
	verdict := c.attempt(signature, c.hashed)
	if missing, ok := errors.AsType[*cms.MissingDigestsError](verdict); ok {
		digests = named(missing.Digests)
		hashed, err := hash(content, true, digests)
		if err != nil {
			return err
		}
		verdict = c.attempt(signature, hashed)
	}
	canonical := !differs(verdict)
	if !canonical && c.changed && !content.crlf {
		// Some sign binary content, and some what their mail store holds, with
		// the line ends as they are.
		for _, s := range c.layer.Signers {
			digests = append(digests, named([]string{s.Digest})...)
		}
		signers := c.layer.Signers
		hashed, err := hash(content, false, digests)
		if err != nil {
			return err
		}
		if second := c.attempt(signature, hashed); !differs(second) {
			verdict = second
		} else {
			c.layer.Signers = signers
		}
	}
	c.layer.Err = verdict
	c.parts[0].crlf = content.crlf || (canonical && c.changed)
	return nil
}

// differs reports whether a signature is not over the content that was hashed.
func differs(verdict error) bool {
	ve, ok := errors.AsType[*cms.VerifyError](verdict)
	return verdict != nil && (!ok || ve.Reason == cms.ReasonDigest || ve.Reason == cms.ReasonSignature)
}

// named finds digests by their names.
func named(names []string) []crypto.Hash {
	var out []crypto.Hash
	for _, name := range names {
		if d, ok := alg.DigestByName(name); ok {
			out = append(out, d.Hash)
		}
	}
	return out
}

// hash hashes content that is held, with canonical line ends or as it is.
func hash(content view, canonical bool, digests []crypto.Hash) (*cms.ContentHash, error) {
	content.crlf = canonical
	hashed := cms.NewContentHash(digests...)
	_, err := content.pour(hashed)
	return hashed, err
}
