package render

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/smime"
)

// Options says how messages are rendered.
type Options struct {
	// Read is how they are opened; Trust is required.
	Read smime.ReadOptions
	// Service is the authserv-id of RFC 8601, Section 2.5: the name of this
	// service, usually a domain.
	Service string
	// TagSubject puts the verdict in brackets before the subject.
	TagSubject bool
	// Memory and Dir are those of the spool of a rendering.
	Memory int
	Dir    string
	// Remembered is what was decided when the message was rendered before, so that
	// it is shown as it was then; nil for the first time.
	Remembered *Remembered
}

// Remembered is what of a rendering does not come from the message alone: it
// depends on keys, trust and time.
type Remembered struct {
	Opened  bool
	Status  smime.Status
	Verdict []byte
}

// ErrNotAgain says that a message was opened before and cannot be opened now.
var ErrNotAgain = errors.New("the message was opened before, and its key is not there now")

// A Rendering is what a client sees of a message. ReadAt and NewReader may be
// used by several goroutines; Close frees it.
type Rendering struct {
	*spool.Buffer

	// Changed says that the rendering differs from the message. It is false for
	// messages without S/MIME and without forged fields; then nothing is held.
	Changed bool
	// Status is the verdict.
	Status smime.Status
	// Opened says that all layers were taken off. Else the message is shown as it
	// is, and Problem says why.
	Opened bool
	// Problem is why a message is not good; nil when it is, or has no S/MIME.
	Problem error
	// Verdict are the fields at the beginning of the header that say so.
	Verdict []byte
	// Message is the message that was opened, for those who want to learn from
	// it; nil when it could not be read. It is closed with the Rendering.
	Message *smime.Message
}

// Close frees what the rendering holds. It may be called any number of times.
func (r *Rendering) Close() error {
	var err error
	if r.Message != nil {
		err = r.Message.Close()
	}
	if r.Buffer != nil {
		err = errors.Join(err, r.Buffer.Close())
	}
	return err
}

// Open renders a message. src is read from its beginning, once or twice. The
// error is about reading src, or holding the rendering, and never about the
// message.
func Open(src io.ReaderAt, size int64, opts *Options) (*Rendering, error) {
	raw := func() io.Reader { return io.NewSectionReader(src, 0, size) }
	// A failure of src must not look like a short message.
	watched := &watch{src: raw()}
	m, err := smime.Read(watched, &opts.Read)
	if watched.err != nil {
		return nil, errors.Join(watched.err, closeMessage(m))
	}
	if ue, ok := errors.AsType[*cms.UsageError](err); ok {
		return nil, ue
	}
	r := &Rendering{Message: m, Status: smime.StatusUnknown, Problem: err}
	if m != nil {
		r.Status = m.Status
	}
	if systemError(err) {
		return nil, errors.Join(err, r.Close())
	}
	r.Opened = m != nil && opened(m)
	if before := opts.Remembered; before != nil {
		if before.Opened && !r.Opened {
			return nil, errors.Join(ErrNotAgain, err, r.Close())
		}
		r.Opened, r.Status = before.Opened, before.Status
	}
	if err = r.build(raw, opts); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func closeMessage(m *smime.Message) error {
	if m == nil {
		return nil
	}
	return m.Close()
}

// A watch remembers an error of its source.
type watch struct {
	src io.Reader
	err error
}

// Read implements io.Reader.
func (w *watch) Read(p []byte) (int, error) {
	n, err := w.src.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// systemError reports whether an error is about this machine, as a full disk is,
// and not about the message.
func systemError(err error) bool {
	if err == nil {
		return false
	}
	for _, about := range []bool{
		errors.As(err, new(*cms.SyntaxError)), errors.As(err, new(*cms.UnsupportedError)), errors.As(err, new(*cms.LimitError)),
		errors.As(err, new(*cms.NoMatchError)), errors.Is(err, cms.ErrNoMatch), errors.Is(err, cms.ErrDecrypt),
		errors.As(err, new(*cms.VerifyError)), errors.As(err, new(*smime.StructureError)),
	} {
		if about {
			return false
		}
	}
	return true
}

// opened reports whether the content of a message can be shown: every layer is
// good, or is a signature that is not.
func opened(m *smime.Message) bool {
	for _, l := range m.Layers {
		if l.Err != nil && !errors.As(l.Err, new(*cms.VerifyError)) {
			return false
		}
		if l.Err != nil && l.Encrypted { // a MAC that does not match
			return false
		}
	}
	return true
}

// layered reports whether a message is S/MIME at all.
func (r *Rendering) layered() bool {
	return r.Problem != nil || r.Message != nil && len(r.Message.Layers) > 0
}

var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 32<<10) }}
)

// build writes the rendering.
func (r *Rendering) build(raw func() io.Reader, opts *Options) error {
	source := raw()
	if r.layered() && r.Opened {
		content := spool.New(spool.Options{Memory: opts.Memory, Dir: opts.Dir})
		defer func() { _ = content.Close() }() // what it held is in the rendering
		if _, err := r.Message.WriteTo(content); err != nil {
			return err
		}
		source = content.NewReader()
	}
	br := readers.Get().(*bufio.Reader)
	br.Reset(source)
	defer func() { br.Reset(nil); readers.Put(br) }()
	header, err := mimeraw.ReadHeader(br, opts.Read.MaxHeader)
	if errors.Is(err, mimeraw.ErrHeaderTooLong) && !r.layered() {
		return nil // nobody looks into such a header
	}
	if err != nil {
		return err
	}
	kept := header.Fields[:0:0]
	for _, f := range header.Fields {
		if !forged(f, opts.Service) {
			kept = append(kept, f)
		}
	}
	if !r.layered() && len(kept) == len(header.Fields) {
		return nil
	}
	r.Changed = true
	r.Buffer = spool.New(spool.Options{Memory: opts.Memory, Dir: opts.Dir})
	w := writers.Get().(*bufio.Writer)
	w.Reset(r.Buffer)
	defer func() { w.Reset(nil); writers.Put(w) }()
	switch {
	case opts.Remembered != nil:
		r.Verdict = opts.Remembered.Verdict
	case r.layered():
		for _, f := range r.fields(opts.Service) {
			r.Verdict = append(r.Verdict, f.Raw...)
		}
	}
	_, _ = w.Write(r.Verdict) // w keeps its error
	for _, f := range kept {
		if opts.TagSubject && r.layered() && f.Is("Subject") {
			f = r.tagged(f)
		}
		_, _ = w.Write(f.Raw)
	}
	_, _ = w.Write(header.Separator)
	if _, err = io.Copy(w, br); err != nil {
		return err
	}
	return w.Flush()
}

// tagged puts the verdict before a subject.
func (r *Rendering) tagged(f mimeraw.Field) mimeraw.Field {
	tag := map[smime.Status]string{
		smime.StatusSigned: "[signed, not checked]", smime.StatusSignedVerified: "[signed]", smime.StatusSignedFailed: "[signature failed]",
		smime.StatusEncryptedSignedVerified: "[encrypted, signed]", smime.StatusEncryptedSignedFailed: "[encrypted, signature failed]",
	}[r.Status]
	switch {
	case !r.Opened:
		tag = "[not opened]"
	case tag == "" && r.Message.Encrypted:
		tag = "[encrypted]"
	}
	name, value, ok := strings.Cut(string(f.Raw), ":")
	if tag == "" || !ok {
		return f
	}
	return mimeraw.Field{Raw: []byte(name + ": " + tag + value)}
}
