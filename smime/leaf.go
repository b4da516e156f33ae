package smime

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/spool"
)

// A partHead is the header of an entity whose body a cleaner is about to take.
type partHead struct {
	header   *mimeraw.Header
	marks    []byte // octets before the fields
	fallback string // the type when the header does not tell
	root     bool   // of the whole content
	// typeParam ends a Content-Type that has to be added.
	typeParam string
}

// startBody decides what happens to a body, and writes its header unless that
// depends on the body.
func (c *cleaner) startBody(p partHead) error {
	m, encoding := new(mediaTypes).of(p.header, p.fallback), transferEncoding(p.header)
	typed := p.header.Has("Content-Type")
	untyped := p.root && !typed
	if untyped {
		p.typeParam = c.opts.typeParam
	}
	unencoded := encoding == "" || encoding == "7bit" || encoding == "8bit" || encoding == "binary"
	if delim, ok := isMultipart(m); ok && unencoded && len(c.stack) < maxLevels {
		if c.opts.encode && (encoding == "8bit" || encoding == "binary") {
			// RFC 2045, Section 6.4: a multipart must not claim less than its parts.
			p.setEncoding("7bit")
		}
		fallback := textPlain
		if m.Type == "multipart/digest" {
			fallback = messageRFC822 // RFC 2046, Section 5.1.5
		}
		c.stack = append(c.stack, level{media: m.Type, delim: delim, fallback: fallback})
		c.leaf = passLeaf{&c.crlf}
		return c.writeHead(p)
	}
	if c.startLegacy(&p, m, encoding) {
		return c.writeHead(p)
	}
	var element []byte
	if l := c.opts.legacy; l != nil && encoding != "binary" && c.isMain(&p, m) {
		element = l.element(m, encoding, c.opts.encode)
		p.addLegacy(untyped)
	}
	if err := c.startLeaf(p, m, encoding, untyped && unencoded && encoding != "binary"); err != nil {
		return err
	}
	return writeAll(c.leaf, element)
}

// startLeaf decides about the body of an entity that is no multipart. guessType
// says that its type has to be found out.
func (c *cleaner) startLeaf(p partHead, m mimeraw.MediaType, encoding string, guessType bool) error {
	if guessType {
		return c.startGuess(p, m)
	}
	if p.root && !p.header.Has("Content-Type") {
		p.setType("us-ascii")
	}
	// RFC 2046, Section 5.2.1: messages in messages cannot be encoded.
	closed := strings.HasPrefix(m.Type, "message/") || strings.HasPrefix(m.Type, "multipart/")
	switch {
	case encoding == "binary" && !closed && (c.opts.keepBinary || !c.opts.encode):
		c.leaf = passLeaf{c.dst}
	case closed || !c.opts.encode:
		c.leaf = passLeaf{&c.crlf}
	case encoding == "binary":
		p.setEncoding("base64")
		c.leaf = encodeLeaf{mimeraw.NewBase64Writer(&c.crlf)}
	case encoding == "8bit":
		c.leaf = c.encoder(&p, m)
	case encoding == "" || encoding == "7bit":
		return c.startGuess(p, m)
	case encoding == "base64":
		c.leaf = encodeLeaf{newCanonical(&base64Repair{repair: repair{dst: &c.crlf}})}
	case encoding == "quoted-printable":
		c.leaf = encodeLeaf{newCanonical(&quotedRepair{repair: repair{dst: &c.crlf}})}
	default:
		c.leaf = passLeaf{&c.crlf}
	}
	return c.writeHead(p)
}

// encoder returns a leaf that makes text quoted-printable and all else base64,
// and says so in the header.
func (c *cleaner) encoder(p *partHead, m mimeraw.MediaType) leaf {
	if strings.HasPrefix(m.Type, "text/") {
		p.setEncoding("quoted-printable")
		return encodeLeaf{newCanonical(mimeraw.NewQuotedPrintableWriter(&c.crlf))}
	}
	p.setEncoding("base64")
	return encodeLeaf{newCanonical(mimeraw.NewBase64Writer(&c.crlf))}
}

func (c *cleaner) writeHead(p partHead) error {
	if err := writeAll(&c.crlf, p.marks); err != nil {
		return err
	}
	if err := writeAll(&c.crlf, p.header.CRLF(0)); err != nil {
		return err
	}
	return writeAll(&c.crlf, p.header.Separator)
}

// setEncoding replaces the Content-Transfer-Encoding.
func (p *partHead) setEncoding(encoding string) {
	p.replace("Content-Transfer-Encoding", mimeraw.Field{Raw: []byte("Content-Transfer-Encoding: " + encoding + "\r\n")})
}

// addLegacy marks a part that begins with a legacyDisplay. untyped says that it
// will get a Content-Type.
func (p *partHead) addLegacy(untyped bool) {
	const param = ";\r\n " + legacyParam + "=\"1\""
	if untyped {
		p.typeParam += param
		return
	}
	for _, f := range p.header.Fields {
		if f.Is("Content-Type") {
			p.replace("Content-Type", withText(f, param))
			return
		}
	}
	p.setType("us-ascii" + param) // RFC 2045, Section 5.2
}

// replace puts a field in the place of all with its name, or at the end.
func (p *partHead) replace(name string, field mimeraw.Field) {
	out := &mimeraw.Header{Separator: p.header.Separator}
	done := false
	for _, f := range p.header.Fields {
		switch {
		case !f.Is(name):
			out.Fields = append(out.Fields, f)
		case !done:
			out.Fields = append(out.Fields, field)
			done = true
		}
	}
	if !done {
		out.Fields = append(out.Fields, field)
	}
	if out.Separator == nil {
		out.Separator = []byte("\r\n")
	}
	p.header = out
}

// setType puts a Content-Type behind the other fields of its kind: in front of
// the first Content-* field.
func (p *partHead) setType(charset string) {
	field := mimeraw.Field{Raw: []byte("Content-Type: text/plain; charset=" + charset + p.typeParam + "\r\n")}
	p.header = &mimeraw.Header{Fields: append([]mimeraw.Field{field}, p.header.Fields...), Separator: p.header.Separator}
}

// A passLeaf passes all on.
type passLeaf struct{ io.Writer }

func (passLeaf) Close() error { return nil }
func (passLeaf) abort()       {}

// An encodeLeaf passes all on to an encoder.
type encodeLeaf struct{ io.WriteCloser }

func (encodeLeaf) abort() {}

// A canonical puts line ends right before an encoder.
type canonical struct {
	*mimeraw.CRLFWriter
	dst io.Closer
}

func newCanonical(dst io.WriteCloser) canonical { return canonical{mimeraw.NewCRLFWriter(dst), dst} }

// Close implements io.Closer.
func (c canonical) Close() error { return c.dst.Close() }

// A guess is a leaf that is held until it is known how it must be written.
type guess struct {
	crlf    mimeraw.CRLFWriter // to the guess's sink
	c       *cleaner
	part    partHead
	media   mimeraw.MediaType
	encode  bool // encode it when that is needed
	untyped bool // find out the charset
	scan    mimeraw.Scan
	valid   utf8Scan
	buf     *spool.Buffer
	out     leaf // once it is known

	// With a survey, which takes the place of buf:
	number   int
	expected finding
}

func (c *cleaner) startGuess(p partHead, m mimeraw.MediaType) error {
	typed := p.header.Has("Content-Type")
	g := &guess{c: c, part: p, media: m, encode: c.opts.encode, untyped: p.root && !typed}
	g.crlf = *mimeraw.NewCRLFWriter((*guessSink)(g))
	c.leaf = g
	if c.opts.survey != nil {
		g.number, g.expected = c.opts.survey.expect(g.untyped)
		return g.decide(g.expected)
	}
	g.buf = spool.New(c.opts.spool)
	return nil
}

// abort implements leaf.
func (g *guess) abort() {
	if g.buf != nil {
		_ = g.buf.Close() // nothing depends on it any more
	}
}

// A guessSink takes what a guess was given, with canonical line ends.
type guessSink guess

// Write implements io.Writer.
func (g *guessSink) Write(p []byte) (int, error) {
	if g.out != nil {
		return g.out.Write(p)
	}
	return g.buf.Write(p)
}

// Write implements io.Writer. A scan finds the same whether line ends are
// canonical or not, and tells whether there is one to be changed.
func (g *guess) Write(p []byte) (int, error) {
	if g.out != nil && g.buf != nil {
		return g.crlf.Write(p)
	}
	bareLF := g.scan.Look(p)
	if g.untyped {
		g.valid.write(p)
	}
	write := g.crlf.WriteCanonical
	if bareLF {
		write = g.crlf.Write
	}
	if n, err := write(p); err != nil {
		return n, err
	}
	if g.out == nil && g.encode && !g.untyped && (g.scan.Has8Bit() || g.scan.HasNUL() || g.scan.FromLine() || g.scan.LongLine()) {
		return len(p), g.decide(finding{encode: true})
	}
	return len(p), nil
}

// Close implements io.Closer.
func (g *guess) Close() error {
	switch {
	case g.buf == nil:
		g.c.opts.survey.learn(g.number, g.expected, g.find())
	case g.out == nil:
		if err := g.decide(g.find()); err != nil {
			return err
		}
	}
	return g.out.Close()
}

// find says what has to be done, at the end.
func (g *guess) find() finding {
	f := finding{encode: g.encode && g.unsafe()}
	if g.untyped {
		f.charset = g.charset()
	}
	return f
}

// unsafe reports whether the body may be changed on its way: RFC 8551, Section
// 3.1.3; RFC 2045, Section 2.7; RFC 2049, Section 3.
func (g *guess) unsafe() bool {
	s := &g.scan
	return s.Has8Bit() || s.HasNUL() || s.FromLine() || s.LongLine() || s.TrailingSpace() || s.BareCR() ||
		transferEncoding(g.part.header) == "8bit"
}

// decide writes the header and what is held.
func (g *guess) decide(f finding) error {
	if g.untyped {
		g.part.setType(f.charset)
	}
	out := leaf(passLeaf{g.c.dst}) // its line ends are right already
	if f.encode {
		out = g.c.encoder(&g.part, g.media)
	}
	if err := g.c.writeHead(g.part); err != nil {
		return err
	}
	g.out = out
	if g.buf == nil {
		return nil
	}
	if _, err := pour(out, g.buf.NewReader(), g.buf.Size()); err != nil {
		return err
	}
	return g.buf.Close()
}

const usASCII = "us-ascii"

func (g *guess) charset() string {
	switch {
	case !g.scan.Has8Bit():
		return usASCII
	case g.valid.ok():
		return "utf-8"
	}
	return "unknown-8bit" // RFC 1428, Section 3
}

// A utf8Scan finds out whether octets are UTF-8.
type utf8Scan struct {
	tail []byte // the start of a character
	bad  bool
}

func (u *utf8Scan) write(p []byte) {
	for len(u.tail) > 0 && len(p) > 0 && !u.bad {
		u.tail = append(u.tail, p[0])
		p = p[1:]
		if utf8.FullRune(u.tail) {
			u.bad = !utf8.Valid(u.tail)
			u.tail = u.tail[:0]
		}
	}
	end := len(p)
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if at := len(p) - i; utf8.RuneStart(p[at]) {
			if !utf8.FullRune(p[at:]) {
				end = at
			}
			break
		}
	}
	u.bad = u.bad || !utf8.Valid(p[:end])
	u.tail = append(u.tail, p[end:]...)
}

func (u *utf8Scan) ok() bool { return !u.bad && len(u.tail) == 0 }
