package smime

import (
	"bufio"
	"bytes"
	"io"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
)

// An origin is where an entity is read from: a stream, or octets that are held.
type origin struct {
	stream io.Reader
	held   view
	octets bool // it is no MIME entity
}

// An entity is a header and a body that is being read.
type entity struct {
	head *head
	lead int       // octets before head.raw that are left out
	skip int       // octets of head.raw that are left out
	body io.Reader // as received
	held *view     // of the whole entity, when it is held already
	rec  *recording

	first head       // what head is, at first
	left  view       // what held is
	rest  bodyReader // what body is, at first
}

// A bodyReader reads what has been seen of a body, and then the rest of it.
type bodyReader struct {
	seen []byte
	rest *bufio.Reader
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	if len(b.seen) > 0 {
		n := copy(p, b.seen)
		b.seen = b.seen[n:]
		return n, nil
	}
	return b.rest.Read(p)
}

// header returns the entity's fields; it has none when it is no MIME entity.
func (e *entity) header() *mimeraw.Header {
	if e.head.header == nil {
		return &mimeraw.Header{}
	}
	return e.head.header
}

const readBuffer = 64 << 10

// A frugalReader gives no more than left octets at first.
type frugalReader struct {
	src  io.Reader
	left int
}

// Read implements io.Reader.
func (f *frugalReader) Read(p []byte) (int, error) {
	if f.left > 0 {
		p = p[:min(len(p), f.left)]
	}
	n, err := f.src.Read(p)
	f.left -= n
	return n, err
}

// readEntity reads the header at at. The error is one of the source, or a
// cms.LimitError with an entity whose header has not been read.
func (r *reader) readEntity(at origin, root bool) (*entity, error) {
	src := at.stream
	e := &entity{first: makeHead(r.opts.MaxHeader)}
	e.head = &e.first
	if src == nil {
		// Most often the header is all that is wanted, and to read is to decrypt.
		src = &frugalReader{src: at.held.raw(), left: usualHeader}
	}
	br := r.lent.peeker(src)
	var err error
	switch {
	case at.octets:
	case root:
		err = e.readRoot(br, r)
	default:
		err = e.head.read(br)
	}
	if err != nil {
		e.head.header, e.head.body = nil, 0
	}
	e.rest = bodyReader{e.head.raw[e.head.body:], br}
	e.body = &e.rest
	if at.stream == nil {
		e.left = at.held.from(int64(e.lead + e.skip))
		e.held = &e.left
	}
	return e, err
}

// maxBlankLines is how many blank lines before the header of a message are
// passed over.
const maxBlankLines = 16

// readRoot reads the header of a message. What mail stores put in front of it
// is left out; blank lines only when a protected message follows, since they
// mean an empty header otherwise.
func (e *entity) readRoot(br *bufio.Reader, r *reader) error {
	if err := e.head.read(br); err != nil {
		return err
	}
	e.skip = e.head.marks
	if len(e.head.header.Fields) > 0 || e.head.header.Separator == nil {
		return nil
	}
	prefix := bytes.Clone(e.head.raw)
	for range maxBlankLines {
		n := 0
		if b, err := br.Peek(2); len(b) > 0 && b[0] == '\n' {
			n = 1
		} else if err == nil && string(b) == "\r\n" {
			n = 2
		}
		b, _ := br.Peek(n)
		prefix = append(prefix, b...)
		if n == 0 {
			break
		}
		_, _ = br.Discard(n) // they are buffered
	}
	later := newHead(r.opts.MaxHeader)
	err := later.read(br)
	if err == nil && r.types.recognise(later.header) != kindOther {
		e.head, e.lead, e.skip = later, len(prefix), later.marks
		return nil
	}
	e.head.raw = append(prefix, later.raw...)
	return nil
}

// record returns the body so that all of the entity is held, from the start of
// its header on. It need not be held again where it is.
func (r *reader) record(e *entity) (io.Reader, error) {
	memory := &struct {
		rec  recording
		tee  tee
		body recordedBody
	}{}
	e.rec = &memory.rec
	if e.held == nil {
		e.rec.buf = r.spool()
	}
	// The start of the body is in raw as well.
	if _, err := e.rec.Write(e.head.raw[e.skip:]); err != nil {
		return nil, err
	}
	memory.tee.rec = e.rec
	memory.body = recordedBody{e.body, &memory.tee, len(e.head.raw) - e.head.body}
	e.body = &memory.body
	return e.body, nil
}

// A recordedBody passes the first known octets by the tee, since they have been
// recorded.
type recordedBody struct {
	src   io.Reader
	tee   *tee
	known int
}

// Read implements io.Reader.
func (b *recordedBody) Read(p []byte) (int, error) {
	if b.known > 0 {
		n, err := b.src.Read(p[:min(len(p), b.known)])
		b.known -= n
		return n, err
	}
	b.tee.src = b.src
	return b.tee.Read(p)
}

// view returns the whole entity, which record was called for and which has been
// read to its end. It can be told how long it is only then.
func (e *entity) view() view {
	if e.held != nil {
		return *e.held
	}
	return e.rec.view()
}

// heldBy returns the view of an entity that is held where the source has it.
func (e *entity) heldBy() (view, bool) {
	if e.held == nil {
		return view{}, false
	}
	_, ok := e.held.at.(*spool.Pinned)
	return *e.held, ok
}

// spool returns a new buffer that is freed with the message.
func (r *reader) spool() *spool.Buffer {
	b := spool.New(r.msg.spool)
	r.msg.buffers = append(r.msg.buffers, b)
	return b
}
