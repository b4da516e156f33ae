package smtpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/saslrelay"
)

// A session is the conversation of one client.
type session struct {
	b   *backend
	p   *Proxy
	ctx context.Context
	up  *upstream // nil with Route, as long as nobody has tried to log in

	server         *smtp.Server // of the client's connection
	refusal        error        // what everything is answered with; may be nil
	authenticating bool         // the upstream waits for a response
	loggedIn       bool
	account        string

	mu       sync.Mutex // for what follows: go-smtp may reset while it reads a message
	envelope *envelope  // of the message that is being sent; nil for none
}

func (s *session) current() *envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.envelope
}

func (s *session) setEnvelope(e *envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope = e
}

var (
	_ smtp.AuthSession = (*session)(nil)
	_ smtp.Backend     = (*backend)(nil)
	_ sasl.Server      = (*exchange)(nil)
)

// AuthMechanisms implements smtp.AuthSession. Passwords are asked for on TLS, and
// within this host.
func (s *session) AuthMechanisms() []string {
	switch {
	case !s.b.secure && !isLocal(s.b.client):
		return nil
	case s.p.Route != nil && !s.loggedIn:
		return saslrelay.Choosing()
	}
	return saslrelay.Offered(s.up.mechanisms())
}

// isLocal reports whether an address is of this host.
func isLocal(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if s.refusal == nil && s.loggedIn {
		return nil, permanent(503, "5.5.1", "You have logged in already") // RFC 4954, Section 4
	}
	if err := s.ready(); err != nil && (s.refusal != nil || s.p.Route == nil) {
		return nil, err
	}
	if !slices.Contains(s.AuthMechanisms(), mechanism) {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return &exchange{s: s, mechanism: mechanism}, nil
}

// authenticated notes who has logged in.
func (s *session) authenticated(login *saslrelay.Name) {
	s.loggedIn, s.account = true, login.String()
	s.p.log().Info("logged in", "account", s.account)
	if s.p.LoggedIn == nil {
		return
	}
	var password []byte
	if text := login.Password(); text != "" {
		password = []byte(text)
	}
	s.p.LoggedIn(s.account, password)
}

// ready tells whether the upstream can be asked.
func (s *session) ready() error {
	if s.refusal != nil {
		return s.refusal
	}
	if s.up == nil {
		return errLoginFirst
	}
	if err := s.cancelAuth(); err != nil {
		return s.lost(err)
	}
	return nil
}

// errLoginFirst is the reply to those who have to log in (RFC 4954, Section 6).
var errLoginFirst = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Log in first"}

// lost is the reply when the upstream is gone, or makes no sense. Nothing more can
// come of the connection then: 421 ends it (RFC 5321, Section 3.8).
func (s *session) lost(err error) error {
	if r, ok := errors.AsType[*Reply](err); ok {
		return r.forClient()
	}
	s.p.log().Warn("the mail server is lost", "error", err)
	text := "The connection to the mail server was lost"
	if errors.Is(err, ErrUnknownOutcome) {
		text += ", and whether it has taken the message is not known"
	}
	s.refusal = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: text}
	return s.refusal
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	defer s.b.setBusy(false)
	if s.current() == nil {
		return
	}
	s.setEnvelope(nil)
	if s.up.err != nil {
		return
	}
	if r, err := s.up.command("RSET"); err != nil || !r.good() {
		_ = s.lost(errors.Join(ErrUpstreamLost, err))
	}
}

// Logout implements smtp.Session.
func (s *session) Logout() error {
	if s.up != nil && !s.b.front.resting {
		s.up.quit()
	}
	return nil
}

// Data implements smtp.Session. Its error is the reply, good ones included.
func (s *session) Data(r io.Reader) error {
	e := s.current()
	if e == nil {
		return permanent(503, "5.5.1", "There is no message under way")
	}
	if _, chunks := r.(*io.PipeReader); !chunks { // which are read in another goroutine
		r = &text{r, s.b.front, s.server.MaxMessageBytes}
	}
	m, err := s.p.sealer.Receive(r)
	if err != nil {
		return s.explain(err)
	}
	defer m.Close()
	plan, err := s.p.sealer.Plan(s.ctx, e.sealing(s.account), m)
	if err != nil {
		return s.explain(err)
	}
	return s.deliver(e, m, plan)
}

// sealing returns what the policy has to know.
func (e *envelope) sealing(account string) *outgoing.Envelope {
	out := &outgoing.Envelope{Account: account, Keys: e.keys, From: e.from}
	for i := range e.to {
		out.To = append(out.To, e.to[i].Recipient)
	}
	return out
}
