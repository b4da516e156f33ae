package smime

import (
	"bufio"
	"slices"
	"strings"

	"github.com/emersion/go-message/textproto"

	"github.com/postseal/postseal/internal/mimeraw"
)

// A FromMismatchError says that the From field in front of a message is not the
// one that its author protected: RFC 9788, Section 4.4. The protected one counts
// when a trusted signer has its address, and else the one in front.
type FromMismatchError struct {
	Outer, Protected []string // addresses
}

// Error returns a sentence for people.
func (e *FromMismatchError) Error() string {
	return "the From field in front of the message, " + strings.Join(e.Outer, ", ") + ", is not the protected one, " +
		strings.Join(e.Protected, ", ")
}

// userFacing are the fields that people are shown (RFC 9787, Section 1.1.2, and
// those that thread messages). Where fields are protected, one of these that
// stands in front alone was put there by somebody else.
var userFacing = []string{
	"subject", "from", "to", "cc", "date", "reply-to", "followup-to", "sender", "message-id", "in-reply-to", "references",
	"comments", "keywords", "resent-from", "resent-to", "resent-cc", "resent-date", "resent-sender",
}

// protection returns the header protection of a content: "clear", "cipher", or "".
func (t *mediaTypes) protection(inner *mimeraw.Header) string {
	m, ok, err := t.read(inner)
	if !ok || err != nil {
		return ""
	}
	switch hp := strings.ToLower(m.Params["hp"]); hp {
	case hpClear, hpCipher:
		return hp
	}
	// QUIRK(Enigmail, Thunderbird, Delta Chat): a form from before RFC 9788.
	if strings.EqualFold(m.Params["protected-headers"], "v1") {
		return hpClear
	}
	return ""
}

// protectedFields returns the fields of a content that its author protected.
func protectedFields(inner *mimeraw.Header) *mimeraw.Header {
	out := &mimeraw.Header{}
	for _, f := range inner.Fields {
		if isAuthors(f) {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// findProtected notes whether the content has protected fields, of whose From the
// signers are to be: RFC 9788, Section 4.
func (r *reader) findProtected() {
	m := r.msg
	if r.err == nil && len(m.Layers) > 0 && m.inner != nil {
		m.protected, m.HeaderProtection = r.protectedBy(m.inner)
	}
}

// protectedBy returns the protected fields of a content, nil when it has none, and
// takes its From field for that of the sender.
func (r *reader) protectedBy(inner *mimeraw.Header) (*mimeraw.Header, string) {
	mode := r.types.protection(inner)
	if mode == "" || r.types.recognise(inner) != kindOther {
		return nil, ""
	}
	fields := protectedFields(inner)
	if len(fields.Values("From")) > 0 {
		// The trust of layers that are already open has this sender.
		*r.sender = *newSender(fields)
	}
	return fields, mode
}

// settleProtected takes the protection back where nothing protects the content,
// and compares the two From fields.
func (r *reader) settleProtected() {
	m := r.msg
	if m.protected == nil {
		if r.sender.header != m.outer {
			r.sender = newSender(m.outer)
		}
		if m.Encrypted || m.Signed {
			r.unwrap()
		}
		return
	}
	if !m.Encrypted && !m.Signed {
		m.protected, m.HeaderProtection = nil, ""
		r.sender = newSender(m.outer)
		return
	}
	outer, inner := newSender(m.outer).author.addresses(), newSender(m.protected).author.addresses()
	if len(inner) == 0 || slices.EqualFunc(outer, inner, strings.EqualFold) {
		return
	}
	m.Problems = append(m.Problems, &FromMismatchError{Outer: outer, Protected: inner})
	if !m.Trusted {
		m.outerFrom = true
		r.sender = newSender(m.outer)
	}
}

// unwrap takes a message/rfc822 that wraps the message itself for the message: RFC
// 8551, Section 3.1, has it so, and RFC 9788, Section 4.10 keeps it readable. It is
// told from one that was forwarded by its sender and its Message-ID.
func (r *reader) unwrap() {
	m := r.msg
	media := r.types.of(m.inner, "")
	encoding := transferEncoding(m.inner)
	_, attached := m.inner.Get("Content-Disposition")
	if r.err != nil || media.Type != messageRFC822 || media.Params["forwarded"] != "" || attached || encoding == "base64" || encoding == "quoted-printable" {
		return
	}
	wrapped := newHead(r.opts.MaxHeader)
	if wrapped.read(bufio.NewReader(m.body.raw())) != nil || wrapped.marks > 0 || r.types.recognise(wrapped.header) != kindOther {
		return
	}
	fields := protectedFields(wrapped.header)
	outer, isOuter := newSender(m.outer).author.single()
	inner, isInner := newSender(fields).author.single()
	outerID, _ := m.outer.Get("Message-ID")
	innerID, hasID := fields.Get("Message-ID")
	if !isOuter || !isInner || outer != inner || hasID && innerID != outerID {
		return
	}
	m.protected, m.HeaderProtection = fields, hpClear
	m.inner, m.body = wrapped.header, m.body.from(int64(wrapped.body))
	m.pure, m.bare = false, false
}

// addresses returns the addresses of an originator.
func (o *originator) addresses() []string {
	var out []string
	for _, m := range o.list {
		out = append(out, m.address)
	}
	return out
}

// messageFields returns the fields of the opened message but those about its
// body: RFC 9788, Section 4.3. Where fields are protected, those in front count
// that an author does not write.
func (m *Message) messageFields() *mimeraw.Header {
	outer := contentFields(m.outer, false)
	if m.protected == nil {
		return outer
	}
	out := &mimeraw.Header{}
	for _, f := range outer.Fields {
		name := strings.ToLower(f.Name())
		switch {
		case name == "from" && m.outerFrom:
		case slices.Contains(userFacing, name), isAuthors(f) && slices.ContainsFunc(m.protected.Fields, func(p mimeraw.Field) bool { return p.Is(name) }):
			continue
		}
		out.Fields = append(out.Fields, f)
	}
	for _, f := range m.protected.Fields {
		if !m.outerFrom || !f.Is("From") {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// ProtectedHeader returns the fields of the message that its author protected
// beside the body (RFC 9788). It is empty when HeaderProtection is "".
func (m *Message) ProtectedHeader() textproto.Header {
	if m.protected == nil {
		return textproto.Header{}
	}
	return toTextproto(m.protected)
}
