package cms

import (
	"bytes"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/stage"
)

// smallContent is the size of content in octets up to which it is held back,
// so that its message is in DER.
const smallContent = 64 << 10

// A frame is a constructed element that encloses the content of a message.
type frame struct {
	tag    ber.Tag
	prefix []byte // encoded elements before what it encloses
}

// A layout is a message around its content: frames, from the outermost one,
// and the tag of the OCTET STRING within the innermost one. The element at
// body also holds the suffix, which follows the content.
type layout struct {
	frames  []frame
	tag     ber.Tag
	lengths []int64 // of the frames' contents
	w       *ber.Writer
	octets  *ber.OctetsWriter
}

// body is the frame of the content type's own SEQUENCE, inside ContentInfo and
// its [0].
const body = 2

// newLayout puts frames into a ContentInfo.
func newLayout(dst io.Writer, contentType OID, tag ber.Tag, frames ...frame) (*layout, error) {
	id, err := der.Marshal(func(b *der.Builder) { der.AddOID(b, contentType) })
	if err != nil {
		return nil, err
	}
	all := append([]frame{{ber.Sequence, id}, {ber.Context(0), nil}}, frames...)
	return &layout{frames: all, tag: tag, w: ber.NewWriter(dst)}, nil
}

// begin writes everything before the content. size is that of the content and
// suffix that of the suffix, in octets, or ber.Indefinite.
func (l *layout) begin(size, suffix int64) {
	l.lengths = make([]int64, len(l.frames))
	inner := size
	if inner != ber.Indefinite {
		inner += int64(ber.HeaderLen(l.tag, size))
	}
	for i := len(l.frames) - 1; i >= 0; i-- {
		if i == body {
			inner = add(inner, suffix)
		}
		inner = add(inner, int64(len(l.frames[i].prefix)))
		l.lengths[i] = inner
		inner = add(inner, int64(ber.HeaderLen(l.frames[i].tag, max(inner, 0))))
	}
	for i, f := range l.frames {
		_ = l.w.Header(f.tag, l.lengths[i]) // errors are sticky
		_, _ = l.w.Write(f.prefix)
	}
	l.octets = l.w.Octets(l.tag, size)
}

func add(a, b int64) int64 {
	if a == ber.Indefinite || b == ber.Indefinite {
		return ber.Indefinite
	}
	return a + b
}

// end writes everything behind the content.
func (l *layout) end(suffix []byte) error {
	if err := l.octets.Close(); err != nil {
		return err
	}
	for i := len(l.frames) - 1; i >= 0; i-- {
		if i == body {
			_, _ = l.w.Write(suffix) // errors are sticky
		}
		if l.lengths[i] == ber.Indefinite {
			_ = l.w.End()
		}
	}
	return l.w.Flush()
}

// A transform is what happens to content on its way into a message.
type transform interface {
	// start says where the result goes.
	start(out io.Writer)
	io.Writer
	// finish writes what is left.
	finish() error
	// small returns the result for content that is given whole, in place of
	// start, Write and finish. It may change the content's octets.
	small(content []byte) ([]byte, error)
	// size is the size of the result for n octets of content.
	size(n int64) int64
}

// A contentWriter takes the content of a message. Content that stays small is
// held back; larger content streams.
type contentWriter struct {
	layout     *layout
	transform  transform
	known      int64                  // size of the content; 0: unknown
	suffixSize int64                  // or ber.Indefinite, when it cannot be told beforehand
	suffix     func() ([]byte, error) // called when the content is complete
	pending    []byte
	block      *stage.Block // that pending is in, while it has room there
	begun      bool
	written    int64
	err        error
	closed     bool
}

// Write adds content. The first error stays.
func (c *contentWriter) Write(p []byte) (int, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.closed:
		return 0, usage("Write after Close")
	}
	c.written += int64(len(p))
	if c.known > 0 && c.written > c.known {
		c.err = usage("there is more content than the Size of %d", c.known)
		return 0, c.err
	}
	if !c.begun && len(c.pending)+len(p) <= smallContent {
		c.hold(p)
		return len(p), nil
	}
	if c.err = c.stream(); c.err != nil {
		return 0, c.err
	}
	_, c.err = c.transform.Write(p)
	if c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}

// hold holds content back.
func (c *contentWriter) hold(p []byte) {
	if c.pending == nil {
		c.block = stage.GetFor(int64(len(p)))
		c.pending = c.block.Buf
	}
	if c.block != nil && len(c.pending)+len(p) > cap(c.pending) {
		c.pending = slices.Grow(bytes.Clone(c.pending), len(p))
		c.free()
	}
	c.pending = append(c.pending, p...)
	if c.block != nil {
		c.block.Resize(len(c.pending))
	}
}

// free gives the block back.
func (c *contentWriter) free() {
	stage.Put(c.block)
	c.block = nil
}

// stream gives up holding the content back.
func (c *contentWriter) stream() error {
	if c.begun {
		return nil
	}
	c.begun = true
	size := ber.Indefinite
	if c.known > 0 {
		size = c.transform.size(c.known)
	}
	c.layout.begin(size, c.suffixSize)
	c.transform.start(c.layout.octets)
	_, err := c.transform.Write(c.pending)
	c.pending = nil
	c.free()
	return err
}

// Close finishes the message. It does not close the destination. It returns
// the first error, and may be called again.
func (c *contentWriter) Close() error {
	if c.closed || c.err != nil {
		return c.err
	}
	c.closed = true
	if c.known > 0 && c.written < c.known {
		c.err = usage("there are %d octets of content and the Size is %d", c.written, c.known)
		return c.err
	}
	if c.begun {
		c.err = c.closeStream()
	} else {
		c.err = c.closeSmall()
	}
	return c.err
}

func (c *contentWriter) closeStream() error {
	if err := c.transform.finish(); err != nil {
		return err
	}
	suffix, err := c.suffix()
	if err != nil {
		return err
	}
	if c.suffixSize != ber.Indefinite && c.suffixSize != int64(len(suffix)) {
		return usage("a key made a signature of an unexpected size")
	}
	return c.layout.end(suffix)
}

func (c *contentWriter) closeSmall() error {
	defer c.free()
	result, err := c.transform.small(c.pending)
	if err != nil {
		return err
	}
	suffix, err := c.suffix()
	if err != nil {
		return err
	}
	c.layout.begin(int64(len(result)), int64(len(suffix)))
	if _, err = c.layout.octets.Write(result); err != nil {
		return err
	}
	return c.layout.end(suffix)
}

// A plainTransform passes content on, and shows it to sink.
type plainTransform struct {
	out  io.Writer
	sink func([]byte)
}

func (t *plainTransform) start(out io.Writer) { t.out = out }

func (t *plainTransform) Write(p []byte) (int, error) {
	if t.sink != nil {
		t.sink(p)
	}
	return t.out.Write(p)
}

func (t *plainTransform) small(content []byte) ([]byte, error) {
	if t.sink != nil {
		t.sink(content)
	}
	return content, nil
}

func (t *plainTransform) finish() error      { return nil }
func (t *plainTransform) size(n int64) int64 { return n }

// A chunker gathers content into chunks for a cipher. Large content is worked on
// beside the writer: while some chunks are in the cipher, the next one is gathered
// and those before are written.
type chunker struct {
	*stage.Writer                          // nil before start
	process       func(chunk []byte) error // in place; all but the last have chunkSize octets
}

// chunkSize is how much is worked on at a time, in octets: a multiple of every
// block size. Tests make it smaller.
var chunkSize = stage.Size

func (c *chunker) start(out io.Writer) {
	c.Writer = stage.NewWorker(chunkSize, c.process, stage.To(out))
}

func (c *chunker) small(content []byte) ([]byte, error) { return content, c.process(content) }

// flush processes and writes all that has been gathered, the last of which tail
// makes complete.
func (c *chunker) flush(tail ...byte) error {
	err := c.Flush(tail...)
	c.Stop()
	return err
}

// encapLayout is the layout of a content type that encloses an
// EncapsulatedContentInfo. prefix is what comes before that.
func encapLayout(dst io.Writer, outer, contentType OID, prefix []byte) (*layout, error) {
	id, err := der.Marshal(func(b *der.Builder) { der.AddOID(b, contentType) })
	if err != nil {
		return nil, usage("content type %q: %v", contentType, err)
	}
	return newLayout(dst, outer, ber.OctetString, frame{ber.Sequence, prefix}, frame{ber.Sequence, id}, frame{ber.Context(0), nil})
}

// addAlgorithms appends a SET OF AlgorithmIdentifier without doubles.
func addAlgorithms(b *der.Builder, algs []AlgorithmIdentifier) {
	distinct := make([]AlgorithmIdentifier, 0, 4)
	for _, a := range algs {
		if !slices.ContainsFunc(distinct, func(d AlgorithmIdentifier) bool { return d.OID == a.OID }) {
			distinct = append(distinct, a)
		}
	}
	b.AddSetOfFunc(asn1.SET, len(distinct), func(b *der.Builder, i int) { der.AddAlgorithm(b, distinct[i]) })
}
