package smtpproxy

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/keystore"
)

// maxHeader bounds the header of a message, in octets.
const maxHeader = 1 << 20

// A message is one that was received whole, and what its header says.
type message struct {
	raw    *spool.Buffer // header and body as received
	header *mimeraw.Header
	body   int64 // where the body begins in raw, in octets

	from    string          // the one address of From, or ""
	named   map[string]bool // the recipients in the header
	wish    policy.Wish
	changed bool // header is not that of raw: tags were taken out
	// What protects it already.
	signed, encrypted bool
	eightBit          bool // an octet above 127 is in it
}

func (m *message) close() { _ = m.raw.Close() } // what it held is nobody's any more

// receive reads a message to its end. The error is a reply.
func (s *session) receive(r io.Reader) (*message, error) {
	m := &message{raw: spool.New(spool.Options{Dir: s.p.SpoolDir, Limit: s.p.maxMessage()})}
	var scan mimeraw.Scan
	_, err := io.Copy(io.MultiWriter(m.raw, &scan), r)
	if err == nil {
		m.eightBit = scan.Has8Bit()
		err = m.read(s.p.Tags)
	}
	if err == nil {
		return m, nil
	}
	m.close()
	var refused *wishError
	switch {
	case errors.Is(err, spool.ErrLimit), errors.Is(err, smtp.ErrDataTooLarge):
		return nil, permanent(552, "5.3.4", "The message is too large")
	case errors.Is(err, mimeraw.ErrHeaderTooLong):
		return nil, permanent(554, "5.6.0", "The header of the message is too long")
	case errors.As(err, &refused):
		return nil, permanent(554, "5.6.0", refused.Error())
	}
	s.p.log().Warn("a message was not received", "error", err)
	return nil, temporary("4.3.0", "The message could not be received whole")
}

// A wishError says that a person asked for something that is not understood.
type wishError struct {
	field string
	err   error
}

func (e *wishError) Error() string { return "the header field " + e.field + ": " + e.err.Error() }
func (e *wishError) Unwrap() error { return e.err }

// read looks into the header.
func (m *message) read(tags policy.Tags) error {
	br := bufio.NewReaderSize(m.raw.NewReader(), 64<<10)
	var err error
	if m.header, err = mimeraw.ReadHeader(br, maxHeader); err != nil {
		return err
	}
	rest, err := io.Copy(io.Discard, br)
	if err != nil {
		return err
	}
	m.body = m.raw.Size() - rest
	m.readAddresses()
	m.readType()
	return m.readWish(tags)
}

// readAddresses takes the sender and the recipients whom everybody sees.
func (m *message) readAddresses() {
	if fields := m.header.Values("From"); len(fields) == 1 {
		if list := addresses(fields[0]); len(list) == 1 {
			m.from = list[0]
		}
	}
	m.named = make(map[string]bool)
	for _, name := range []string{"To", "Cc", "Resent-To", "Resent-Cc"} {
		for _, value := range m.header.Values(name) {
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

// readType tells whether the message is protected already, by S/MIME or PGP/MIME
// (RFC 3156).
func (m *message) readType() {
	value, _ := m.header.Get("Content-Type")
	mt, err := mimeraw.ParseMediaType(value)
	if err != nil {
		return
	}
	switch strings.Replace(mt.Type, "/x-", "/", 1) {
	case "multipart/signed":
		m.signed = true
	case "multipart/encrypted":
		m.encrypted = true
	case "application/pkcs7-mime":
		switch strings.ToLower(mt.Params["smime-type"]) {
		case "enveloped-data", "authenveloped-data":
			m.encrypted = true
		default:
			// Without a type it may be either; a second signature does no harm, and
			// encryption none either.
			m.signed = true
		}
	}
}

// readWish takes what a person asks for, and takes it out of the message.
func (m *message) readWish(tags policy.Tags) error {
	kept := make([]mimeraw.Field, 0, len(m.header.Fields))
	for _, f := range m.header.Fields {
		if tags.Field != "" && f.Is(tags.Field) {
			w, err := tags.FromField(f.Value())
			if err != nil {
				return &wishError{f.Name(), err}
			}
			m.wish, m.changed = m.wish.Add(w), true
			continue
		}
		if f.Is("Subject") {
			w, rest := tags.FromSubject(f.Value())
			if w != (policy.Wish{}) {
				m.wish, m.changed = m.wish.Add(w), true
				var err error
				if f, err = mimeraw.NewField("Subject", rest); err != nil {
					return &wishError{"Subject", err}
				}
			} else if w, rest = tags.FromSubject(decoded(f.Value())); w != (policy.Wish{}) {
				m.wish, m.changed = m.wish.Add(w), true
				var err error
				if f, err = mimeraw.NewField("Subject", mime.BEncoding.Encode("utf-8", rest)); err != nil {
					return &wishError{"Subject", err}
				}
			}
		}
		kept = append(kept, f)
	}
	m.header.Fields = kept
	return nil
}

// decoded returns a value with its encoded words (RFC 2047) in the clear.
func decoded(value string) string {
	text, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return value
	}
	return text
}

// reader returns the message as it is to go out, unprotected.
func (m *message) reader() io.Reader {
	if !m.changed {
		return m.raw.NewReader()
	}
	body := io.NewSectionReader(m.raw, m.body, m.raw.Size()-m.body)
	return io.MultiReader(strings.NewReader(string(m.header.Bytes())+string(m.header.Separator)), body)
}

// recipientsOf returns the recipients of an envelope as the policy wants them.
func (m *message) recipientsOf(e *envelope) []policy.Recipient {
	out := make([]policy.Recipient, len(e.to))
	for i := range e.to {
		normal, err := keystore.NormalizeAddress(e.to[i].address)
		out[i] = e.to[i].policy(err != nil || !m.named[normal])
	}
	return out
}

// find returns the recipient of an address.
func (e *envelope) find(address string) *recipient {
	i := slices.IndexFunc(e.to, func(r recipient) bool { return r.address == address })
	return &e.to[i]
}
