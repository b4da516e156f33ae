package smime

import (
	"errors"
	"io"
	"slices"

	"github.com/emersion/go-message/textproto"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
)

// A Message is a message whose layers have been opened. After Read it is not
// changed, and may be used by several goroutines until Close.
type Message struct {
	// Layers are the layers, the outermost first. What lies inside a layer
	// whose decryption failed is not told.
	Layers []*Layer

	// Status is the verdict on the signatures of the content.
	Status Status

	// Encrypted says that the content was encrypted and has been decrypted.
	// Signed says that at least one signature counts for the content, and that
	// all that do are valid, whoever signed. Trusted says that moreover all
	// these layers are good and their signers trusted. A signature outside of
	// encryption does not count.
	Encrypted, Signed, Trusted bool

	// Problems are observations on the message as a whole that do not make a
	// layer bad: *ClosedPartError, *OuterSignatureError, *UnauthenticatedError,
	// *DisplayNameError, *FromMismatchError, *StructureError, and a *cms.LimitError when the content
	// has too many parts to look into.
	Problems []error

	// HeaderProtection is "clear" or "cipher" when the author protected the fields
	// of the message beside its body (RFC 9788), so that they were signed or
	// encrypted as the body was; "cipher" says that some were to be hidden. Else it
	// is "".
	HeaderProtection string

	outer, inner *mimeraw.Header // of the message, and of the content
	protected    *mimeraw.Header // fields of inner; nil without header protection
	outerFrom    bool            // the From field in front counts
	content      view
	body         view // the end of content
	bare         bool // the content has no header
	pure         bool // the content's header has Content-* fields alone
	buffers      []*spool.Buffer
	spool        spool.Options // of more of them
	held         []io.Closer   // of layers that are decrypted where they are read
	staged       bool          // the Stage has the message
}

// OuterHeader returns the header of the message as received. Nothing vouches
// for it: RFC 8551 signs and encrypts the body.
func (m *Message) OuterHeader() textproto.Header { return toTextproto(m.outer) }

// Sender returns the address of the author: that in the From field of Header, as
// it stands there. It is "" when there is not exactly one, or a doubt which one it is.
// Whether it is that of a trusted signer is not told.
func (m *Message) Sender() string {
	address, _ := newSender(m.messageFields()).author.single()
	return address
}

// Header returns the header of the opened message: the fields of the message
// but for Content-*, then the Content-* fields of the content. Only the latter
// are protected, unless the author protected others (see HeaderProtection): then
// those take the place of what stands in front, of which only fields are left
// that no author writes.
func (m *Message) Header() textproto.Header {
	return toTextproto(m.messageFields(), contentFields(m.inner, true))
}

// Body returns a reader over the body of the content as it was signed or
// encrypted, in its transfer encoding; where the content is a message/rfc822 that
// wraps the message (RFC 8551, Section 3.1), over the body of that. Readers are independent of each other
// and work until Close.
func (m *Message) Body() io.Reader { return m.body.reader() }

// Content returns a reader over the content, header and body, bit by bit as it
// was signed or encrypted. A content with a bad signature is as received. What
// has been said of Body holds here too.
func (m *Message) Content() io.Reader { return m.content.reader() }

// WriteTo writes the opened message: the fields of the message as Header says,
// with MIME-Version, then the content. Of the content's header only the Content-*
// fields are written, so that no field comes twice; and of texts not what repeats
// fields that were hidden (RFC 9788). A message without layers is written as it was
// received. It implements io.WriterTo.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	if len(m.Layers) == 0 {
		return m.content.pour(w)
	}
	if m.hasLegacy() {
		return m.writeWithout(w, outerHeader(m.messageFields(), 0))
	}
	head, whole := m.front()
	rest := m.body
	if whole {
		rest = m.content
	}
	n, err := w.Write(head)
	if err != nil {
		return int64(n), err
	}
	copied, err := rest.pour(w)
	return int64(n) + copied, err
}

// front returns what WriteTo puts in front of the body, or, if whole, in front of
// the whole content.
func (m *Message) front() (head []byte, whole bool) {
	fields := m.outer
	if m.protected != nil {
		fields = m.messageFields()
	}
	if m.pure {
		return outerHeader(fields, 0), true
	}
	head = outerHeader(fields, usualHeader)
	if !m.bare {
		head = append(head, contentFields(m.inner, true).CRLF(0)...)
	}
	return append(head, "\r\n"...), false
}

// setInner notes the header of the content, with so many marks in front of it.
func (m *Message) setInner(h *mimeraw.Header, marks int) {
	m.inner = h
	m.bare = len(h.Fields) == 0 && h.Separator == nil
	m.pure = h.Separator != nil && marks == 0 && !slices.ContainsFunc(h.Fields, func(f mimeraw.Field) bool { return !isContent(f) })
}

// writeWithout is WriteTo without the elements that repeat hidden fields in the
// text (RFC 9788, Section 4.5.3).
func (m *Message) writeWithout(w io.Writer, head []byte) (int64, error) {
	count := &writeCounter{dst: w}
	if err := writeAll(count, head); err != nil {
		return count.n, err
	}
	c := newCleaner(count, contentFields(m.inner, true), cleanOptions{cutLegacy: true, spool: m.spool})
	_, err := io.Copy(c, m.body.reader())
	if err != nil {
		c.abort()
		return count.n, err
	}
	return count.n, c.Close()
}

// A writeCounter counts what is written.
type writeCounter struct {
	dst io.Writer
	n   int64
}

// Write implements io.Writer.
func (w *writeCounter) Write(p []byte) (int, error) {
	n, err := w.dst.Write(p)
	w.n += int64(n)
	return n, err
}

// Close overwrites and frees what the message holds. It may be called any
// number of times, and on a nil Message.
func (m *Message) Close() error {
	if m == nil {
		return nil
	}
	var errs []error
	for _, b := range m.buffers {
		if err := b.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, h := range m.held {
		if err := h.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
