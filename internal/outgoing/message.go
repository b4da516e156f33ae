package outgoing

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"net/mail"
	"strings"
	"sync"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/keystore"
)

// maxHeader bounds the header of a message, in octets.
const maxHeader = 1 << 20

// A Message is one that was received whole, and what its header says. Close must
// be called.
type Message struct {
	// Header is that of the message as it is to go out: without tags.
	Header *mimeraw.Header
	// From is the one address of the From field, normalised, or "".
	From string
	// Wish is what the person asks for by tags.
	Wish policy.Wish
	// Signed and Encrypted say what protects the message already.
	Signed, Encrypted bool
	// EightBit says that an octet above 127 is in it.
	EightBit bool

	raw     *spool.Buffer   // header and body as received
	body    int64           // where the body begins in raw, in octets
	named   map[string]bool // the recipients in the header
	changed bool            // Header is not that of raw
}

// Close frees what holds the message. It may be called twice.
func (m *Message) Close() { _ = m.raw.Close() } // what it held is nobody's any more

// Size returns the size of the message as it was received, in octets.
func (m *Message) Size() int64 { return m.raw.Size() }

// Changed reports whether [Message.Reader] gives something else than what was
// received: tags were taken out.
func (m *Message) Changed() bool { return m.changed }

// Reader returns the message as it is to go out, unprotected. It can be called
// several times.
func (m *Message) Reader() io.Reader {
	if !m.changed {
		return m.raw.NewReader()
	}
	body := io.NewSectionReader(m.raw, m.body, m.raw.Size()-m.body)
	return io.MultiReader(strings.NewReader(string(m.Header.Bytes())+string(m.Header.Separator)), body)
}

// Answers returns the Message-IDs that the message refers to, without angle
// brackets (RFC 5322, Section 3.6.4), each once and at most 200 of them.
func (m *Message) Answers() []string {
	var out []string
	seen := make(map[string]bool)
	for _, name := range []string{"In-Reply-To", "References"} {
		for _, value := range m.Header.Values(name) {
			for _, part := range strings.Split(value, "<")[1:] {
				id, _, ok := strings.Cut(part, ">")
				if ok && id != "" && !seen[id] && len(out) < maxAnswers {
					seen[id] = true
					out = append(out, id)
				}
			}
		}
	}
	return out
}

// maxAnswers bounds the Message-IDs that a message is looked up by.
const maxAnswers = 200

// Receive reads a message to its end. Line ends become CRLF: nothing else may be
// in mail (RFC 5321, Section 2.3.8). The error is ErrTooLarge,
// mimeraw.ErrHeaderTooLong, a [*WishError], that of r, or that of the spool.
func (s *Sealer) Receive(r io.Reader) (*Message, error) {
	m := &Message{raw: spool.New(spool.Options{Dir: s.SpoolDir, Limit: s.MaxMessage})}
	var scan mimeraw.Scan
	lines := &lineEnds{dst: io.MultiWriter(m.raw, &scan)}
	_, err := io.Copy(lines, r)
	if err == nil {
		err = lines.end()
	}
	if err == nil {
		m.EightBit = scan.Has8Bit()
		err = m.read(s.Tags)
	}
	if err != nil {
		m.Close()
		if errors.Is(err, spool.ErrLimit) {
			err = ErrTooLarge
		}
		return nil, err
	}
	return m, nil
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// read looks into the message.
func (m *Message) read(tags policy.Tags) error {
	src := &counter{src: m.raw.NewReader()}
	br := readers.Get().(*bufio.Reader)
	br.Reset(src)
	defer func() {
		br.Reset(nil)
		readers.Put(br)
	}()
	var err error
	if m.Header, err = mimeraw.ReadHeader(br, maxHeader); err != nil {
		return err
	}
	m.body = src.n - int64(br.Buffered())
	if err = m.readType(br); err != nil {
		return err
	}
	m.readAddresses()
	return m.readWish(tags)
}

// A counter counts the octets that are read.
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

// readAddresses takes the sender and the recipients whom everybody sees.
func (m *Message) readAddresses() {
	if fields := m.Header.Values("From"); len(fields) == 1 {
		if list := addresses(fields[0]); len(list) == 1 {
			m.From = list[0]
		}
	}
	m.named = make(map[string]bool)
	for _, name := range []string{"To", "Cc", "Resent-To", "Resent-Cc"} {
		for _, value := range m.Header.Values(name) {
			for _, address := range addresses(value) {
				m.named[address] = true
			}
		}
	}
}

// addresses returns those of a field that can be read, normalised.
func addresses(value string) []string {
	list, err := mail.ParseAddressList(value)
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range list {
		if normal, normErr := keystore.NormalizeAddress(a.Address); normErr == nil {
			out = append(out, normal)
		}
	}
	return out
}

// readWish takes what a person asks for, and takes it out of the message.
func (m *Message) readWish(tags policy.Tags) error {
	kept := make([]mimeraw.Field, 0, len(m.Header.Fields))
	for _, f := range m.Header.Fields {
		if tags.Field != "" && f.Is(tags.Field) {
			w, err := tags.FromField(f.Value())
			if err != nil {
				return &WishError{f.Name(), err}
			}
			m.Wish, m.changed = m.Wish.Add(w), true
			continue
		}
		if f.Is("Subject") {
			var err error
			if f, err = m.readSubject(tags, f); err != nil {
				return err
			}
		}
		kept = append(kept, f)
	}
	m.Header.Fields = kept
	return nil
}

// readSubject takes tags out of a subject, which may be in encoded words (RFC
// 2047), and returns the field as it is to go out.
func (m *Message) readSubject(tags policy.Tags, f mimeraw.Field) (mimeraw.Field, error) {
	w, rest := tags.FromSubject(f.Value())
	if w == (policy.Wish{}) {
		text, err := new(mime.WordDecoder).DecodeHeader(f.Value())
		if err != nil {
			return f, nil // nobody can read it, so nobody has written a tag
		}
		if w, rest = tags.FromSubject(text); w == (policy.Wish{}) {
			return f, nil
		}
		rest = mime.BEncoding.Encode("utf-8", rest)
	}
	m.Wish, m.changed = m.Wish.Add(w), true
	field, err := mimeraw.NewField("Subject", rest)
	if err != nil {
		return f, &WishError{"Subject", err}
	}
	return field, nil
}
