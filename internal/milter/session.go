package milter

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"

	gomilter "github.com/emersion/go-milter"

	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/spool"
)

// A session is a connection of a mail server, which is that of one of its clients.
type session struct {
	f    *Filter
	ctx  context.Context
	conn net.Conn   // below what go-milter has, so that it notices when it is closed here
	host netip.Addr // of the client; zero where it is none of IP

	mail *mail // the one under way that is filtered; nil for none

	mu       sync.Mutex
	busy     bool // a message is under way
	draining bool
}

// A mail is a message that is filtered, as it comes.
type mail struct {
	envelope outgoing.Envelope
	header   []field
	octets   int // of header
	raw      *spool.Buffer
}

// A field is one of a header as the mail server has it: the value begins behind
// the colon and one blank, and its lines end in LF.
type field struct{ name, value string }

var _ gomilter.Milter = (*session)(nil)

// forget drops the message under way.
func (s *session) forget() {
	if s.mail != nil {
		_ = s.mail.raw.Close() // what it held is nobody's any more
		s.mail = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	if s.draining {
		_ = s.conn.Close()
	}
}

// drain ends the connection when no message is under way.
func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if !s.busy {
		_ = s.conn.Close()
	}
}

// Connect implements milter.Milter.
func (s *session) Connect(_, _ string, _ uint16, addr net.IP, _ *gomilter.Modifier) (gomilter.Response, error) {
	host, _ := netip.AddrFromSlice(addr) // zero for no address
	s.host = host.Unmap()
	return gomilter.RespContinue, nil
}

// Helo implements milter.Milter.
func (s *session) Helo(string, *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespContinue, nil
}

// MailFrom implements milter.Milter. It decides whether the message is filtered.
func (s *session) MailFrom(from string, m *gomilter.Modifier) (gomilter.Response, error) {
	s.forget()
	login := m.Macros["{auth_authen}"]
	switch {
	case login != "":
	case !s.f.trusts(s.host):
		return gomilter.RespAccept, nil // not one of ours
	case s.f.Owner != nil:
		login = s.f.Owner(from)
	}
	s.mu.Lock()
	s.busy = true
	s.mu.Unlock()
	limit := s.f.Sealer.MaxMessage
	if limit <= 0 {
		limit = defaultMaxMessage
	}
	s.mail = &mail{raw: spool.New(spool.Options{Dir: s.f.Sealer.SpoolDir, Limit: limit})}
	s.mail.envelope = outgoing.Envelope{Account: login, From: from}
	if s.f.Keys != nil && login != "" {
		s.mail.envelope.Keys = s.f.Keys(login)
	}
	return gomilter.RespContinue, nil
}

// RcptTo implements milter.Milter. Who cannot get the message as the policy asks
// is refused here, and the others are not.
func (s *session) RcptTo(to string, _ *gomilter.Modifier) (gomilter.Response, error) {
	if s.mail == nil {
		return gomilter.RespContinue, nil
	}
	e := &s.mail.envelope
	limit := s.f.MaxRecipients
	if limit <= 0 {
		limit = defaultMaxRecipients
	}
	if len(e.To) >= limit {
		return refusal(outgoing.Answer{Code: 452, Enhanced: "4.5.3", Lines: []string{"There are too many recipients"}}), nil
	}
	for i := range e.To {
		if e.To[i].Address == to {
			return gomilter.RespContinue, nil
		}
	}
	r, err := s.f.Sealer.LookUp(s.ctx, e.Keys, e.From, to)
	if err != nil {
		return s.refuse(err), nil
	}
	e.To = append(e.To, r)
	return gomilter.RespContinue, nil
}

// maxHeader bounds a header, in octets.
const maxHeader = 1 << 20

// Header implements milter.Milter.
func (s *session) Header(name, value string, _ *gomilter.Modifier) (gomilter.Response, error) {
	if s.mail == nil {
		return gomilter.RespContinue, nil
	}
	if s.mail.octets += len(name) + len(value) + 4; s.mail.octets > maxHeader {
		s.forget()
		return refusal(outgoing.Answer{Code: 554, Enhanced: "5.6.0", Lines: []string{"The header of the message is too long"}}), nil
	}
	s.mail.header = append(s.mail.header, field{name, strings.TrimPrefix(value, " ")})
	return gomilter.RespContinue, nil
}

// Headers implements milter.Milter.
func (s *session) Headers(textproto.MIMEHeader, *gomilter.Modifier) (gomilter.Response, error) {
	if s.mail == nil {
		return gomilter.RespContinue, nil
	}
	var b strings.Builder
	for _, f := range s.mail.header {
		b.WriteString(f.name + ": " + f.value + "\n")
	}
	b.WriteString("\n")
	return s.keep([]byte(b.String())), nil
}

// BodyChunk implements milter.Milter.
func (s *session) BodyChunk(chunk []byte, _ *gomilter.Modifier) (gomilter.Response, error) {
	if s.mail == nil {
		return gomilter.RespContinue, nil
	}
	return s.keep(chunk), nil
}

// keep adds to the message.
func (s *session) keep(p []byte) gomilter.Response {
	_, err := s.mail.raw.Write(p)
	if errors.Is(err, spool.ErrLimit) {
		err = outgoing.ErrTooLarge
	}
	if err != nil {
		return s.end(err)
	}
	return gomilter.RespContinue
}

// end is refuse for a message: it is forgotten.
func (s *session) end(err error) gomilter.Response {
	r := s.refuse(err)
	s.forget()
	return r
}

// Body implements milter.Milter: the message is whole.
func (s *session) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	if s.mail == nil {
		return gomilter.RespAccept, nil
	}
	defer s.forget()
	message, err := s.f.Sealer.Receive(s.mail.raw.NewReader())
	if err != nil {
		return s.refuse(err), nil
	}
	defer message.Close()
	plan, err := s.f.Sealer.PlanOne(s.ctx, &s.mail.envelope, message)
	if err != nil {
		return s.refuse(err), nil
	}
	c := plan.Copies[0]
	content, err := plan.Seal(c)
	if err != nil {
		return s.refuse(err), nil
	}
	defer content.Close()
	s.f.log().Info("message filtered", "account", s.mail.envelope.Account, "sender", s.mail.envelope.From, "recipients", len(s.mail.envelope.To),
		"signed", c.Sign, "encrypted", c.Encrypt)
	if c.Untouched() && !message.Changed() {
		return gomilter.RespAccept, nil
	}
	// When this fails the mail server has half of the changes, and no word that
	// these are all: it does not take the message.
	return gomilter.RespAccept, replace(m, s.mail.header, content, !c.Untouched())
}

// Abort implements milter.Milter.
func (s *session) Abort(*gomilter.Modifier) error {
	s.forget()
	return nil
}

// refuse translates an error into an answer, and tells the log.
func (s *session) refuse(err error) gomilter.Response {
	a := outgoing.Explain(err)
	s.f.log().Info("mail refused", "account", s.mail.envelope.Account, "sender", s.mail.envelope.From, "code", a.Code, "reason", err)
	return refusal(a)
}

// refusal returns an answer as the protocol has it. A percent sign would be taken
// for the start of a format; the lines are one, since not every mail server takes
// more.
func refusal(a outgoing.Answer) gomilter.Response {
	text := strconv.Itoa(a.Code) + " " + a.Enhanced + " " + strings.ReplaceAll(strings.Join(a.Lines, "; "), "%", "_")
	return gomilter.NewResponseStr(byte(gomilter.ActReplyCode), text[:min(len(text), 480)])
}
