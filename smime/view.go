package smime

import (
	"io"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/internal/stage"
)

// A view is a run of octets that is held. crlf says that they stand for
// themselves with canonical line ends.
type view struct {
	at     io.ReaderAt
	off, n int64
	crlf   bool
}

// raw returns a reader over the octets as they are held.
func (v view) raw() io.Reader {
	if v.at == nil {
		return io.LimitReader(nil, 0)
	}
	return io.NewSectionReader(v.at, v.off, v.n)
}

// reader returns a reader over what the octets stand for.
func (v view) reader() io.Reader {
	if v.crlf {
		return mimeraw.NewCRLFReader(v.raw())
	}
	return v.raw()
}

// pour copies what the octets stand for.
func (v view) pour(dst io.Writer) (int64, error) { return pour(dst, v.reader(), v.n) }

// pour copies src, of which about size octets come, in large blocks. A small
// buffer within src is gone past.
func pour(dst io.Writer, src io.Reader, size int64) (int64, error) {
	b := stage.GetFor(size + 1) // so that the end is seen with the last octets
	defer stage.Put(b)
	room, total := min(cap(b.Buf), stage.Size), int64(0)
	for {
		n, err := src.Read(b.Buf[:room])
		b.Resize(n)
		if werr := writeAll(dst, b.Buf); werr != nil {
			return total, werr
		}
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// from returns the view without its first octets.
func (v view) from(off int64) view {
	v.off, v.n = v.off+off, v.n-off
	return v
}

// sub returns n octets of the view from off on.
func (v view) sub(off, n int64) view {
	v.off, v.n = v.off+off, n
	return v
}

// A recording holds what passes until it is known whether it is needed. Without
// a buffer it is that of something that is held already.
type recording struct {
	buf     *spool.Buffer
	n       int64 // octets that have passed
	stopped bool

	staged *staging // takes what passes from octet from on
	from   int64
}

// Write implements io.Writer.
func (r *recording) Write(p []byte) (n int, err error) {
	switch {
	case r.staged != nil:
		n, err = r.staged.Write(p)
	case r.stopped || r.buf == nil:
		n = len(p)
	default:
		n, err = r.buf.Write(p)
	}
	r.n += int64(n)
	return n, err
}

// divert has s take what passes from octet from on, of which some has passed
// already: held has that.
func (r *recording) divert(s *staging, from int64, held view) error {
	r.staged, r.from = s, from
	_, err := pour(s, held.sub(from, r.n-from).raw(), r.n-from)
	return err
}

// view returns what has been recorded.
func (r *recording) view() view {
	if r.staged == nil {
		return view{at: r.buf, n: r.buf.Size()}
	}
	return view{at: &joint{front: r.buf, n: r.from, rest: r.staged}, n: r.from + r.staged.n}
}

// stop ends the recording, and frees it.
func (r *recording) stop() {
	if r == nil || r.stopped {
		return
	}
	r.stopped = true
	if r.buf != nil {
		_ = r.buf.Close() // nothing depends on it any more
	}
}

// A sourceReader keeps the first error of a source, so that it can be told from
// what others make of it.
type sourceReader struct {
	src io.Reader
	err error
}

// Read implements io.Reader.
func (s *sourceReader) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.src.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A sourceReaderAt keeps the first error of a source in a sourceReader.
type sourceReaderAt struct {
	src  io.ReaderAt
	kept *sourceReader
}

// ReadAt implements io.ReaderAt.
func (s sourceReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.src.ReadAt(p, off)
	if err == io.EOF && n < len(p) {
		err = io.ErrUnexpectedEOF // nobody reads beyond the size
	}
	if n < len(p) && s.kept.err == nil {
		s.kept.err = err
	}
	return n, err
}

// A tee passes what it reads to a recording, too. The recording's error is kept.
type tee struct {
	src io.Reader
	rec *recording
	err error
}

// Read implements io.Reader.
func (t *tee) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.src.Read(p)
	if n > 0 {
		if _, t.err = t.rec.Write(p[:n]); t.err != nil {
			return 0, t.err
		}
	}
	return n, err
}

// A counter counts what is read.
type counter struct {
	src io.Reader
	n   int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	return n, err
}

// A layerReader is the content of a layer as the next one sees it: it ends
// where the content does, whatever the verdict is. The layer's own reader keeps
// that.
type layerReader struct{ src io.Reader }

// Read implements io.Reader.
func (l layerReader) Read(p []byte) (int, error) {
	n, err := l.src.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
