package smime

import (
	"errors"
	"io"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/internal/stage"
)

// Read opens a message: it takes its layers off from the outside in, judges
// them all, and then returns. The error is nil only if all layers are good; a
// message that has none is no error, and neither signed nor encrypted.
//
// With an error that is about a layer, the message is returned beside it, so
// that it can be shown, flagged. Of what could not be decrypted for want of a
// key, or not be read, the content is the entity as received; where decryption
// failed there is no content. When src fails the message is nil, and the error
// is that of src; so it is with a *cms.UsageError and a content of more than
// MaxContent octets, a *cms.LimitError.
//
// A message that is not nil must be closed. src is read once, in a stream, to
// its end; memory does not grow with the message.
func Read(src io.Reader, opts *ReadOptions) (*Message, error) {
	if opts == nil || opts.Trust == nil {
		return nil, &cms.UsageError{Msg: "smime.Read: no Trust is given; nothing can be trusted by default"}
	}
	return newReader(opts, src).read(origin{})
}

// ReadAt is Read for a message of size octets that can be read from any place,
// such as a file. It is not copied: a signed message is verified where it is, and
// what [Message] gives is read from src, which has to stay open until Close. It
// may change meanwhile without harm: what is given later is what was judged, or
// an error.
func ReadAt(src io.ReaderAt, size int64, opts *ReadOptions) (*Message, error) {
	if opts == nil || opts.Trust == nil {
		return nil, &cms.UsageError{Msg: "smime.ReadAt: no Trust is given; nothing can be trusted by default"}
	}
	if size < 0 {
		return nil, &cms.UsageError{Msg: "smime.ReadAt: the size is negative"}
	}
	r := newReader(opts, eofReader{})
	r.where = sourceReaderAt{src, &r.src}
	pinned, err := spool.NewPinned(r.where, size)
	if err != nil {
		return nil, err
	}
	return r.read(origin{held: view{at: pinned, n: size}})
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

func newReader(opts *ReadOptions, src io.Reader) *reader {
	r := &reader{opts: *opts, src: sourceReader{src: src}, msg: &Message{}}
	r.msg.spool = spool.Options{Memory: r.opts.SpoolMemory, Dir: r.opts.SpoolDir, Limit: r.opts.MaxContent}
	if r.opts.Layers <= 0 {
		r.opts.Layers = 10
	}
	return r
}

// read opens the message at at; the zero origin is the source.
func (r *reader) read(at origin) (*Message, error) {
	if at.held.at == nil {
		at.stream = &r.src
	}
	defer r.lent.end()
	err := r.peel(at)
	r.staged.stop()
	r.findProtected()
	for i := len(r.finish) - 1; i >= 0; i-- {
		r.finish[i]()
	}
	if err == nil {
		// What is behind the message can still fail.
		_, err = io.Copy(io.Discard, &r.src)
	}
	if r.src.err != nil {
		err = r.src.err
	}
	if errors.Is(err, spool.ErrLimit) {
		err = &cms.LimitError{Limit: "size of the content", Max: r.opts.MaxContent}
	}
	if err == nil {
		r.judge()
		err = r.inspect()
	}
	if err == nil {
		err = r.settleStage()
	}
	if err != nil {
		_ = r.staged.destroy() // the first error counts
		_ = r.msg.Close()
		return nil, err
	}
	return r.msg, r.verdict()
}

// A reader is a message that is being opened.
type reader struct {
	opts   ReadOptions
	src    sourceReader
	where  io.ReaderAt // the source as it is; nil for a stream
	msg    *Message
	sender *sender
	staged *staging // nil when there is none
	types  mediaTypes
	finish []func() // of each layer: takes its verdict
	err    error    // why no more layers were opened
	lent   lending
}

// peel opens one layer after the other. Its error is one of the source or of
// the spool.
func (r *reader) peel(at origin) error {
	for depth := 0; ; depth++ {
		e, err := r.readEntity(at, depth == 0)
		if _, limit := errors.AsType[*cms.LimitError](err); limit {
			r.err = err
		} else if err != nil {
			return err
		}
		if depth == 0 {
			r.msg.outer = e.header()
			r.sender = newSender(r.msg.outer)
		}
		kind := r.types.recognise(e.header())
		if r.err == nil && kind != kindOther && e.header().Count("Content-Type") > 1 {
			r.msg.Problems = append(r.msg.Problems, &StructureError{What: "there are several Content-Type fields"})
		}
		if r.err != nil || kind == kindOther || at.octets || (depth > 0 && r.opts.OneLayer) {
			return r.settle(e)
		}
		if depth == r.opts.Layers {
			r.err = &cms.LimitError{Limit: "number of layers", Max: int64(depth)}
			return r.settle(e)
		}
		open := r.openOpaque
		if kind == kindClear {
			open = r.openClear
		}
		next, err := open(e)
		if err != nil || next == nil {
			return err
		}
		at = *next
	}
}

// layer adds a layer.
func (r *reader) layer(layerType string) *Layer {
	l := &Layer{Type: layerType}
	r.msg.Layers = append(r.msg.Layers, l)
	return l
}

// settle makes an entity the content, and holds it if it is not held.
func (r *reader) settle(e *entity) error {
	if e.held != nil {
		if most := r.opts.MaxContent; most > 0 && e.held.n > most {
			return spool.ErrLimit
		}
		r.setContent(e, *e.held)
		return nil
	}
	raw := e.head.raw[e.skip:e.head.body]
	if len(r.msg.Layers) > 0 {
		staged, err := r.stage(e.header(), raw, e.head.marks)
		if err != nil {
			return err
		}
		if staged != nil {
			return r.settleStaged(e, staged)
		}
	}
	buf := r.spool()
	if err := writeAll(buf, raw); err != nil {
		return err
	}
	if _, err := pour(buf, e.body, stage.Size); err != nil {
		return err
	}
	r.setContent(e, view{at: buf, n: buf.Size()})
	return nil
}

// settleStaged makes an entity the content, whose body a staging takes.
func (r *reader) settleStaged(e *entity, s *staging) error {
	if err := s.take(e.body); err != nil {
		return err
	}
	r.setContent(e, s.whole())
	s.at = r.msg.body
	return nil
}

// keep makes an entity that was not opened the content.
func (r *reader) keep(e *entity) error {
	if e.held == nil {
		if _, err := io.Copy(io.Discard, e.body); err != nil {
			return err
		}
	}
	r.setContent(e, e.view())
	return nil
}

func (r *reader) setContent(e *entity, v view) {
	r.msg.setInner(e.header(), e.head.marks)
	r.msg.content = v
	r.msg.body = v.from(int64(e.head.body - e.skip))
}

// hide leaves nothing of what is inside a layer whose decryption failed: how
// the garbage looks would tell about the key or the padding (RFC 3218).
func (r *reader) hide() {
	for i, l := range r.msg.Layers {
		if !l.withheld {
			continue
		}
		r.msg.Layers = r.msg.Layers[:i+1]
		r.msg.Problems, r.err = nil, nil
		r.msg.inner, r.msg.content, r.msg.body = &mimeraw.Header{}, view{}, view{}
		if r.msg.protected != nil {
			r.msg.protected, r.msg.HeaderProtection = nil, ""
			r.sender = newSender(r.msg.outer)
		}
		r.msg.bare, r.msg.pure = true, false
		return
	}
}

// judge sums the layers up.
func (r *reader) judge() {
	m := r.msg
	r.hide()
	inmost := -1 // encryption
	opened := -1
	for i, l := range m.Layers {
		if l.Encrypted {
			inmost = i
			if l.Err == nil {
				m.Encrypted, opened = true, i
			}
		}
	}
	counting, valid, good, trusted := 0, true, r.err == nil, true
	for i, l := range m.Layers {
		switch {
		case !l.Signature():
			// What is shown may not be all that is signed.
			valid, good = valid && l.Err == nil, good && l.Err == nil
		case i < inmost:
			m.Problems = append(m.Problems, &OuterSignatureError{Layer: i})
		default:
			counting++
			good = good && l.Err == nil
			valid = valid && l.valid()
			trusted = trusted && l.trusted()
		}
	}
	m.Signed = counting > 0 && valid
	m.Trusted = m.Signed && good && trusted
	m.Status = status(counting > 0, good, m.Trusted, m.Encrypted)
	if m.Encrypted && !m.Layers[opened].Authenticated && !(m.Signed && good) {
		m.Problems = append(m.Problems, &UnauthenticatedError{Layer: opened})
	}
	r.settleProtected()
	m.Problems = append(m.Problems, r.sender.problems()...)
}

// status finds the word of RFC 9219, Section 3.
func status(signed, good, trusted, encrypted bool) Status {
	switch {
	case !signed:
		return StatusUnknown
	case !good && encrypted:
		return StatusEncryptedSignedFailed
	case !good:
		return StatusSignedFailed
	case !trusted:
		return StatusSigned
	case encrypted:
		return StatusEncryptedSignedVerified
	}
	return StatusSignedVerified
}

// verdict returns the first error, from the outside in.
func (r *reader) verdict() error {
	for _, l := range r.msg.Layers {
		if l.Err != nil {
			return l.Err
		}
	}
	return r.err
}

// valid reports whether all signatures of the layer are, whoever signed.
func (l *Layer) valid() bool {
	if l.Err == nil {
		return true
	}
	for _, s := range l.Signers {
		if !s.Valid {
			return false
		}
	}
	ve, ok := errors.AsType[*cms.VerifyError](l.Err)
	return ok && ve.Reason == cms.ReasonUntrusted && len(l.Signers) > 0
}

// trusted reports whether all signers of the layer are.
func (l *Layer) trusted() bool {
	for _, s := range l.Signers {
		if !s.Trusted && s.Err == nil {
			return false
		}
	}
	return l.Err == nil && len(l.Signers) > 0
}
