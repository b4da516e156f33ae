package smime

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"

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
}

// header returns the entity's fields; it has none when it is no MIME entity.
func (e *entity) header() *mimeraw.Header {
	if e.head.header == nil {
		return &mimeraw.Header{}
	}
	return e.head.header
}

const readBuffer = 64 << 10

// readEntity reads the header at at. The error is one of the source, or a
// cms.LimitError with an entity whose header has not been read.
func (r *reader) readEntity(at origin, root bool) (*entity, error) {
	src := at.stream
	e := &entity{head: newHead(r.opts.MaxHeader)}
	if src == nil {
		e.held = &at.held
		src = at.held.raw()
	}
	br := r.lent.peeker(src)
	var err error
	switch {
	case at.octets:
	case root:
		err = e.readRoot(br, r.opts.MaxHeader)
	default:
		err = e.head.read(br)
	}
	if err != nil {
		e.head.header, e.head.body = nil, 0
	}
	e.body = io.MultiReader(bytes.NewReader(e.head.raw[e.head.body:]), br)
	if e.held != nil {
		left := e.held.from(int64(e.lead + e.skip))
		e.held = &left
	}
	return e, err
}

// maxBlankLines is how many blank lines before the header of a message are
// passed over.
const maxBlankLines = 16

// readRoot reads the header of a message. What mail stores put in front of it
// is left out; blank lines only when a protected message follows, since they
// mean an empty header otherwise.
func (e *entity) readRoot(br *bufio.Reader, maxHeader int) error {
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
	later := newHead(maxHeader)
	err := later.read(br)
	if err == nil && recognise(later.header) != kindOther {
		e.head, e.lead, e.skip = later, len(prefix), later.marks
		return nil
	}
	e.head.raw = append(prefix, later.raw...)
	return nil
}

// record returns the body so that all of the entity is held, from the start of
// its header on. It need not be held again where it is.
func (r *reader) record(e *entity) (io.Reader, error) {
	e.rec = &recording{}
	if e.held == nil {
		e.rec.buf = r.spool()
	}
	// The start of the body is in raw as well.
	if _, err := e.rec.Write(e.head.raw[e.skip:]); err != nil {
		return nil, err
	}
	e.body = &recordedBody{e.body, &tee{rec: e.rec}, len(e.head.raw) - e.head.body}
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

// A kind is what stands at the root of an entity.
type kind uint8

const (
	kindOther  kind = iota
	kindClear       // multipart/signed
	kindOpaque      // a CMS message
)

var opaqueTypes = []string{
	"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature",
}

// recognise says what an entity claims to be. RFC 8551, Section 3.10: by its
// type, or by the name of a file where gateways have put another type.
func recognise(h *mimeraw.Header) kind {
	m := mediaType(h, "")
	switch {
	case m.Type == TypeMultipartSigned:
		return kindClear
	case slices.Contains(opaqueTypes, m.Type):
		return kindOpaque
	}
	value, typed := h.Get("Content-Type")
	if typed {
		if _, err := mimeraw.ParseMediaType(value); err == nil && !strings.HasPrefix(m.Type, "application/") {
			return kindOther
		}
	}
	if slices.Contains([]string{".p7m", ".p7z", ".p7c", ".p7s"}, extension(h, m)) {
		return kindOpaque
	}
	return kindOther
}

// extension returns the last four octets of the file name of an entity, in
// lower case.
func extension(h *mimeraw.Header, m mimeraw.MediaType) string {
	disposition, _ := h.Get("Content-Disposition")
	d, _ := mimeraw.ParseMediaType(disposition) // the type has no subtype
	name := d.Params["filename"]
	if name == "" {
		name = m.Params["name"]
	}
	name = strings.TrimRight(name, " \t\r\n")
	return strings.ToLower(name[max(0, len(name)-4):])
}
