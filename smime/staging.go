package smime

import (
	"bytes"
	"io"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/internal/stage"
)

// A Stage is an empty file for the opened message, which is written to it while
// the message is still being judged. So nobody but this process may be able to
// reach it until the verdict is good: it has no name yet, as a file that Linux
// opens with O_TMPFILE, and it is thrown away if the verdict is bad. An *os.File
// is a Stage.
//
// Its methods may be called by another goroutine than that which called Read, but
// only until Read returns, but for ReadAt, which is called until Message.Close.
type Stage interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// A Form says how an opened message is written.
type Form uint8

// The forms.
const (
	FormMessage Form = iota // as Message.WriteTo does
	FormContent             // as Message.Content is
)

// A staging is what has been written to a Stage: what stands in front of the
// body, and the body.
type staging struct {
	file  Stage
	front []byte
	head  []byte // the header of the entity
	body  int64  // octets of it that count
	limit int64  // of body; 0: none
	w     *stage.Writer
	n     int64 // octets of the body that were written
	done  bool  // the body is complete
	err   error // of Write
	at    view  // the body as the message has it
}

// stage starts to write an entity in a layer to the Stage, when that is given and the
// entity will be the content. Its header has been read; raw is what it was. Nil
// is the answer when it has to be held elsewhere.
func (r *reader) stage(inner *mimeraw.Header, raw []byte, marks int) (*staging, error) {
	if r.opts.Stage == nil || r.staged != nil || r.err != nil || !r.isLast(inner) {
		return nil, nil
	}
	front, ok := r.expectFront(inner, raw, marks)
	if !ok {
		return nil, nil
	}
	s := &staging{file: r.opts.Stage, front: front, head: raw, limit: r.opts.MaxContent}
	s.w = stage.NewWriter(io.NewOffsetWriter(s.file, 0))
	r.staged = s
	_, err := s.w.Write(front)
	return s, err
}

// isLast reports whether an entity in a layer is not opened any more.
func (r *reader) isLast(inner *mimeraw.Header) bool {
	return r.types.recognise(inner) == kindOther || r.opts.OneLayer
}

// expectFront returns what will stand in front of the body when the verdict is
// good.
func (r *reader) expectFront(inner *mimeraw.Header, raw []byte, marks int) ([]byte, bool) {
	if r.opts.Form == FormContent {
		return bytes.Clone(raw), true
	}
	m := &Message{outer: r.msg.outer}
	m.setInner(inner, marks)
	m.protected, m.HeaderProtection = r.protectedBy(inner)
	if m.HeaderProtection == hpCipher {
		return nil, false // parts of texts may have to be cut out
	}
	front, whole := m.front()
	if whole {
		front = append(front, raw...)
	}
	return front, true
}

// Write takes body.
func (s *staging) Write(p []byte) (int, error) {
	if s.limit > 0 && int64(len(p)) > s.limit-s.n {
		s.err = spool.ErrLimit
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.n += int64(n)
	s.err = err
	return n, err
}

// failed returns the error of Write, which a layer must not take for its own.
func (s *staging) failed() error {
	if s == nil {
		return nil
	}
	return s.err
}

// take reads the body to its end.
func (s *staging) take(src io.Reader) error {
	if s.limit > 0 {
		src = &spoolLimit{src: src, left: s.limit}
	}
	n, err := s.w.ReadFrom(src)
	s.n += n
	if err != nil {
		return err
	}
	return s.finish(s.n)
}

// finish ends the writing. n octets of the body count.
func (s *staging) finish(n int64) error {
	err := s.w.Flush()
	s.stop()
	s.body, s.done = n, err == nil
	return err
}

// stop frees what the writing needs.
func (s *staging) stop() {
	if s != nil && s.w != nil {
		s.w.Stop()
		s.w = nil
	}
}

// destroy leaves nothing of what was written.
func (s *staging) destroy() error {
	if s == nil {
		return nil
	}
	s.stop()
	s.done = false
	return s.file.Truncate(0)
}

// whole returns the entity, whose body is complete.
func (s *staging) whole() view {
	n := int64(len(s.head))
	return view{at: &joint{front: bytes.NewReader(s.head), n: n, rest: s}, n: n + s.body}
}

// ReadAt implements io.ReaderAt, for the body.
func (s *staging) ReadAt(p []byte, off int64) (int, error) {
	short := off+int64(len(p)) > s.n
	if short {
		p = p[:max(0, s.n-off)]
	}
	n, err := s.file.ReadAt(p, int64(len(s.front))+off)
	switch {
	case n < len(p) && err == io.EOF:
		err = io.ErrUnexpectedEOF // somebody cut the file
	case n == len(p) && short:
		err = io.EOF
	case n == len(p):
		err = nil
	}
	return n, err
}

// A spoolLimit is a reader that has a limit.
type spoolLimit struct {
	src  io.Reader
	left int64
}

// Read implements io.Reader.
func (l *spoolLimit) Read(p []byte) (int, error) {
	n, err := l.src.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, spool.ErrLimit
	}
	return n, err
}

// A joint is octets that are held in two places: some in front, and then what
// follows them.
type joint struct {
	front io.ReaderAt
	n     int64 // octets of front
	rest  io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (j *joint) ReadAt(p []byte, off int64) (n int, err error) {
	if off < j.n {
		m := min(int64(len(p)), j.n-off)
		if n, err = j.front.ReadAt(p[:m], off); int64(n) < m {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := j.rest.ReadAt(p[n:], off+int64(n)-j.n)
	return n + m, err
}

// settleStage decides whether the Stage has what the message is written as.
func (r *reader) settleStage() error {
	s := r.staged
	if n := len(r.msg.Layers); n > 0 && r.msg.Layers[n-1].withheld {
		return s.destroy()
	}
	if s == nil || !s.done || r.msg.body != s.at || s.at.crlf {
		return nil
	}
	front := []byte(nil)
	content := r.opts.Form == FormContent
	whole := true
	if !content {
		if r.msg.hasLegacy() {
			return nil
		}
		front, whole = r.msg.front()
	}
	if whole {
		raw := make([]byte, r.msg.content.n-r.msg.body.n)
		if _, err := io.ReadFull(r.msg.content.raw(), raw); err != nil {
			return err
		}
		front = append(front, raw...)
	}
	if !bytes.Equal(front, s.front) {
		return nil
	}
	r.msg.staged = true
	return s.file.Truncate(int64(len(front)) + s.body)
}

// Staged reports whether the Stage of ReadOptions holds, and holds alone, what
// WriteTo writes, or what Content gives, as the Form says. It does not tell whether
// that is good. If it does not, the Stage holds nothing that may be used.
func (m *Message) Staged() bool { return m.staged }
