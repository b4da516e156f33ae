package smime

import (
	"bytes"
	"io"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
)

// cleanOptions says what a cleaner does beside putting line ends right.
type cleanOptions struct {
	encode     bool // make the content safe for 7-bit ways (RFC 8551, Section 3.1.3)
	keepBinary bool // leave parts with the transfer encoding binary as they are
	spool      spool.Options
	survey     *Survey        // nil: parts are held
	typeParam  string         // ends a Content-Type that the root lacks
	legacy     *legacyDisplay // is put before the text; nil for nothing
	cutLegacy  bool           // take such elements out
}

// A cleaner puts an entity into canonical form (RFC 8551, Section 3.1.1) while
// it passes through: it follows the structure of multiparts, changes line ends
// to CRLF, and encodes those leaves that need it. What is safe and canonical
// passes octet by octet.
type cleaner struct {
	dst   io.Writer
	crlf  mimeraw.CRLFWriter // to dst
	opts  cleanOptions
	stack []level // the multiparts that are open
	leaf  leaf    // takes the body that is at hand
	head  *head   // collects the header that is at hand; nil in a body
	held  []byte  // of which more must be seen
	line  bool    // held is at the start of a line
	err   error
}

// A leaf takes the body of an entity that is no multipart, or what surrounds
// the parts of a multipart. Close ends it, and abort frees it.
type leaf interface {
	io.WriteCloser
	abort()
}

// A level is a multipart that is open.
type level struct {
	media    string // type of the multipart
	parts    int    // that have begun
	delim    []byte // "--" and the boundary
	fallback string // the type of parts that do not tell theirs
}

const (
	maxLevels     = 32
	maxBoundary   = 256
	maxDelimLine  = maxBoundary + 1100 // of a line that is a delimiter
	cleanBlock    = 32 << 10
	textPlain     = "text/plain"
	messageRFC822 = "message/rfc822"
)

// newCleaner returns a cleaner of an entity with the given Content-* fields,
// whose body is to be written to it.
func newCleaner(dst io.Writer, fields *mimeraw.Header, opts cleanOptions) *cleaner {
	c := &cleaner{dst: dst, crlf: *mimeraw.NewCRLFWriter(dst), opts: opts, line: true}
	h := &mimeraw.Header{Fields: fields.Fields, Separator: []byte("\r\n")}
	c.err = c.startBody(partHead{header: h, fallback: textPlain, root: true})
	return c
}

// Write implements io.Writer.
func (c *cleaner) Write(p []byte) (int, error) {
	done := 0
	for c.err == nil && done < len(p) {
		if len(c.stack) == 0 && c.head == nil && len(c.held) == 0 {
			c.err = writeAll(c.leaf, p[done:])
			break
		}
		n := min(cleanBlock, len(p)-done)
		c.held = append(c.held, p[done:done+n]...)
		done += n
		c.err = c.step(false)
	}
	if c.err != nil {
		c.abort()
		return 0, c.err
	}
	return len(p), nil
}

// Close ends the entity. It does not close the destination.
func (c *cleaner) Close() error {
	if c.err == nil {
		c.err = c.step(true)
	}
	if c.err == nil && c.head != nil {
		c.err = c.endHead()
	}
	if c.err == nil && c.leaf != nil {
		c.err = c.leaf.Close()
		c.leaf = nil
	}
	c.abort()
	return c.err
}

// abort frees what is held.
func (c *cleaner) abort() {
	if c.leaf != nil {
		c.leaf.abort()
		c.leaf = nil
	}
	c.held = nil
}

// step takes what it can from held; final says that nothing follows.
func (c *cleaner) step(final bool) error {
	at := 0
	for at < len(c.held) {
		var n int
		var rest []byte
		var err error
		if c.head != nil {
			n, rest, err = c.stepHead(c.held[at:], final)
		} else {
			n, err = c.stepBody(c.held[at:], final)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		at += n
		if len(rest) > 0 {
			c.held, at = append(bytes.Clone(rest), c.held[at:]...), 0
		}
	}
	c.held = c.held[:copy(c.held, c.held[at:])]
	return nil
}

// stepHead takes a line of the header of a part. rest is what it had taken that
// belongs to the body.
func (c *cleaner) stepHead(b []byte, final bool) (n int, rest []byte, err error) {
	line, whole := firstLine(b)
	if !whole && !final && len(b) < maxDelimLine {
		return 0, nil, nil
	}
	if c.head.line == len(c.head.raw) {
		if k, closing := c.match(line); k >= 0 {
			if err = c.endHead(); err != nil {
				return 0, nil, err
			}
			return len(line), nil, c.delimiter(nil, line, k, closing)
		}
	}
	if n, err = c.head.feed(line); err != nil || !c.head.done {
		return n, nil, err
	}
	h := c.head
	if err = h.parse(); err != nil {
		return 0, nil, err
	}
	c.head, c.line = nil, true
	err = c.startBody(partHead{header: h.header, marks: h.raw[:h.marks], fallback: c.stack[len(c.stack)-1].fallback})
	return n, h.raw[h.body:], err
}

// endHead is for a header without a body.
func (c *cleaner) endHead() error {
	h := c.head
	c.head = nil
	return writeAll(&c.crlf, h.raw)
}

// stepBody takes octets of a body, and a delimiter.
func (c *cleaner) stepBody(b []byte, final bool) (int, error) {
	if len(c.stack) == 0 {
		return len(b), writeAll(c.leaf, b)
	}
	if c.line && b[0] == '-' {
		line, whole := firstLine(b)
		if !whole && !final && len(b) < maxDelimLine && bytes.HasPrefix([]byte("--"), b[:min(2, len(b))]) {
			return 0, nil
		}
		if k, closing := c.match(line); k >= 0 {
			return len(line), c.delimiter(nil, line, k, closing)
		}
	}
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte("\n--"))
		if j < 0 {
			break
		}
		j += i
		line, whole := firstLine(b[j+1:])
		end := beforeLF(b, j)
		if !whole && !final && len(line) < maxDelimLine {
			return end, c.body(b[:end])
		}
		if k, closing := c.match(line); k >= 0 {
			if err := c.body(b[:end]); err != nil {
				return 0, err
			}
			return j + 1 + len(line), c.delimiter(b[end:j+1], line, k, closing)
		}
		i = j + 1
	}
	n := len(b)
	if !final {
		n -= lineEndTail(b)
	}
	return n, c.body(b[:n])
}

// body passes octets of a body on.
func (c *cleaner) body(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	c.line = false
	return writeAll(c.leaf, b)
}

// firstLine returns the first line of b with its line end, and whether it has
// one.
func firstLine(b []byte) ([]byte, bool) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], true
	}
	return b, false
}

// beforeLF returns where the line end starts whose LF is at b[lf].
func beforeLF(b []byte, lf int) int {
	if lf > 0 && b[lf-1] == '\r' {
		return lf - 1
	}
	return lf
}

// lineEndTail returns how many octets at the end of b may be a line end before
// a delimiter, with the delimiter's first dash.
func lineEndTail(b []byte) int {
	for n := min(3, len(b)); n > 0; n-- {
		switch string(b[len(b)-n:]) {
		case "\r\n-", "\n-", "\r\n", "\n", "\r":
			return n
		}
	}
	return 0
}

// match returns the index of the open multipart whose delimiter line is, or -1,
// and whether it is the closing one. As in any reader that takes multiparts
// apart from the outside in, the outermost one counts.
func (c *cleaner) match(line []byte) (k int, closing bool) {
	for i, l := range c.stack {
		tail, ok := bytes.CutPrefix(line, l.delim)
		if !ok {
			continue
		}
		if bytes.HasPrefix(tail, []byte("--")) {
			return i, true
		}
		if len(bytes.Trim(tail, " \t\r\n")) == 0 {
			return i, false
		}
	}
	return -1, false
}

// delimiter ends what is open inside of level k, and writes the delimiter with
// the line end before it.
func (c *cleaner) delimiter(eol, line []byte, k int, closing bool) error {
	if c.leaf != nil {
		err := c.leaf.Close()
		c.leaf = nil
		if err != nil {
			return err
		}
	}
	if err := writeAll(&c.crlf, eol); err != nil {
		return err
	}
	if c.opts.encode && !closing && line[len(line)-1] == '\n' {
		line = append(bytes.Clone(c.stack[k].delim), '\n')
	}
	if err := writeAll(&c.crlf, line); err != nil {
		return err
	}
	c.stack = c.stack[:k+1]
	if closing {
		c.stack = c.stack[:k]
		c.leaf, c.line = passLeaf{&c.crlf}, true
		return nil
	}
	c.stack[k].parts++
	c.head = newHead(0)
	return nil
}

// writeAll writes p, if it is not empty.
func writeAll(w io.Writer, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// isMultipart reports whether the parts of an entity of type m are to be looked
// at, and its delimiter. What is signed or encrypted must stay as it is (RFC
// 1847, Sections 2.1 and 2.2).
func isMultipart(m mimeraw.MediaType) (delim []byte, ok bool) {
	if !strings.HasPrefix(m.Type, "multipart/") || m.Type == TypeMultipartSigned || m.Type == "multipart/encrypted" {
		return nil, false
	}
	boundary := strings.TrimRight(m.Params["boundary"], " \t")
	if boundary == "" || len(boundary) > maxBoundary || strings.ContainsAny(boundary, "\r\n") {
		return nil, false
	}
	return []byte("--" + boundary), true
}
