package smtpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/saslrelay"
)

// A backend is one client's connection; its session changes with STARTTLS.
type backend struct {
	p    *Proxy
	ctx  context.Context
	conn net.Conn

	mu       sync.Mutex
	session  *session
	busy     bool // in the middle of a message
	draining bool
}

// NewSession implements smtp.Backend. It connects to the upstream, whose
// extensions are those of the answer to EHLO.
func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, isTLS := c.TLSConnectionState()
	s := &session{b: b, p: b.p, ctx: b.ctx}
	if b.p.RequireTLS && !isTLS {
		s.refusal = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Say STARTTLS first"}
		return s, nil
	}
	if b.p.Route != nil {
		s.server, s.isTLS = c.Server(), isTLS
		b.setSession(s)
		return s, nil
	}
	conn, greeted, err := b.p.Connect(b.ctx)
	if err = s.greet(conn, greeted, err); err != nil {
		return nil, err
	}
	s.extend(c.Server(), isTLS)
	b.setSession(s)
	return s, nil
}

func (b *backend) setSession(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session = s
}

// greet says hello to the upstream. The error is a reply.
func (s *session) greet(conn net.Conn, greeted bool, err error) error {
	if err != nil {
		s.p.log().Warn("the mail server cannot be reached", "error", err)
		return temporary("4.4.1", "The mail server cannot be reached")
	}
	up, err := newUpstream(conn, greeted)
	if err == nil {
		err = up.hello(s.p.Name)
	}
	if err != nil {
		_ = conn.Close()
		s.p.log().Warn("the mail server does not answer", "error", err)
		return temporary("4.4.2", "The mail server does not answer as it should")
	}
	s.b.mu.Lock() // hangUp looks from another goroutine
	s.up = up
	s.b.mu.Unlock()
	return nil
}

// route finds the upstream of an account, when that is what it depends on. One
// that has refused a login is left, since the next may be for another.
func (s *session) route(account string) error {
	if s.up != nil {
		s.up.quit()
		s.b.mu.Lock()
		s.up = nil
		s.b.mu.Unlock()
	}
	conn, greeted, err := s.p.Route(s.ctx, account)
	if err = s.greet(conn, greeted, err); err != nil {
		return err
	}
	s.extend(s.server, s.isTLS)
	return nil
}

// extend has the server offer what the upstream has. The server is this
// connection's alone.
func (s *session) extend(srv *smtp.Server, isTLS bool) {
	srv.EnableSMTPUTF8 = s.up.has("SMTPUTF8")
	srv.EnableDSN = s.up.has("DSN")
	srv.EnableREQUIRETLS = s.up.has("REQUIRETLS") && isTLS
	srv.MaxMessageBytes = s.p.maxMessage()
	if size := s.up.size(); size > 0 {
		srv.MaxMessageBytes = min(srv.MaxMessageBytes, shrunk(size))
	}
}

// setBusy marks what is not to be interrupted.
func (b *backend) setBusy(busy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = busy
	if !busy && b.draining {
		_ = b.conn.Close()
	}
}

// drain ends the connection when no message is under way.
func (b *backend) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	if !b.busy {
		_ = b.conn.Close()
	}
}

// hangUp ends what is left of the upstream.
func (b *backend) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session != nil && b.session.up != nil {
		b.session.up.quit()
	}
}

// temporary returns a reply of 451.
func temporary(enhanced, text string) *smtp.SMTPError {
	code, _ := cutEnhanced(enhanced + " ")
	return &smtp.SMTPError{Code: 451, EnhancedCode: code, Message: text}
}

// permanent returns a reply of 554 or another code.
func permanent(code int, enhanced, text string) *smtp.SMTPError {
	e, _ := cutEnhanced(enhanced + " ")
	return &smtp.SMTPError{Code: code, EnhancedCode: e, Message: oneLine(text)}
}

// oneLine returns text for a reply: printable US-ASCII, and not too long.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 400)]
}

// A session is the conversation of one client, in the clear or after STARTTLS.
type session struct {
	b   *backend
	p   *Proxy
	ctx context.Context
	up  *upstream // nil when nothing but STARTTLS is possible

	server *smtp.Server // of the client's connection, with Route
	isTLS  bool

	refusal        error // what everything is answered with; may be nil
	authenticating bool  // the upstream waits for a response
	loggedIn       bool
	account        string
	keys           Keys

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

// An envelope is the sender and recipients of a message.
type envelope struct {
	from   string
	params string // of MAIL, but for SIZE
	utf8   bool
	eight  bool // BODY=8BITMIME
	never  map[string]bool
	to     []recipient
}

// A recipient is one of an envelope.
type recipient struct {
	address string
	params  string
	found   *recipients.Candidate // nil when there is no certificate
	err     error                 // why not
}

var (
	_ smtp.AuthSession = (*session)(nil)
	_ smtp.Backend     = (*backend)(nil)
	_ sasl.Server      = (*exchange)(nil)
)

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	switch {
	case s.refusal == nil && s.p.Route != nil && !s.loggedIn:
		return saslrelay.Choosing()
	case s.up == nil:
		return nil
	}
	return saslrelay.Offered(s.up.mechanisms())
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if s.refusal == nil && s.loggedIn {
		return nil, permanent(503, "5.5.1", "You have logged in already") // RFC 4954, Section 4
	}
	if err := s.ready(); err != nil && !(s.refusal == nil && s.p.Route != nil) {
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

// lost is the reply when the upstream is gone, or makes no sense.
func (s *session) lost(err error) error {
	if r, ok := errors.AsType[*Reply](err); ok {
		return r.forClient()
	}
	s.p.log().Warn("the mail server is lost", "error", err)
	s.refusal = temporary("4.4.2", "The connection to the mail server was lost")
	return s.refusal
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	s.b.setBusy(false)
	if s.current() == nil || s.up == nil {
		return
	}
	s.setEnvelope(nil)
	if r, err := s.up.command("RSET"); err != nil || !r.good() {
		s.refusal = temporary("4.4.2", "The connection to the mail server was lost")
	}
}

// Logout implements smtp.Session.
func (s *session) Logout() error {
	if s.up != nil {
		s.up.quit()
	}
	return nil
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	if err := s.ready(); err != nil {
		return err
	}
	if s.p.RequireLogin && !s.loggedIn {
		return errLoginFirst
	}
	if s.current() != nil {
		return permanent(503, "5.5.1", "There is a message under way: say RSET first")
	}
	s.keys = nil
	if s.p.Keys != nil {
		s.keys = s.p.Keys(s.account)
	}
	e := &envelope{from: from, params: s.mailParams(opts), utf8: opts.UTF8, eight: opts.Body == smtp.Body8BitMIME, never: make(map[string]bool)}
	size := ""
	if opts.Size > 0 && s.up.has("SIZE") {
		size = fmt.Sprintf(" SIZE=%d", grown(opts.Size, 10))
	}
	r, err := s.up.command("MAIL FROM:<%s>%s%s", from, size, e.params)
	if err != nil {
		return s.lost(err)
	}
	if !r.good() {
		return r.forClient()
	}
	s.setEnvelope(e)
	s.b.setBusy(true)
	return nil
}

// mailParams returns the parameters of MAIL, each with a blank before it.
func (s *session) mailParams(opts *smtp.MailOptions) string {
	var b strings.Builder
	if opts.Body == smtp.Body8BitMIME && s.up.has("8BITMIME") {
		b.WriteString(" BODY=8BITMIME")
	}
	if opts.UTF8 {
		b.WriteString(" SMTPUTF8")
	}
	if opts.RequireTLS {
		b.WriteString(" REQUIRETLS")
	}
	if opts.Return != "" {
		b.WriteString(" RET=" + string(opts.Return))
	}
	if opts.EnvelopeID != "" {
		b.WriteString(" ENVID=" + xtext(opts.EnvelopeID))
	}
	if opts.Auth != nil && len(s.up.mechanisms()) > 0 {
		auth := *opts.Auth
		if auth == "" {
			auth = "<>"
		}
		b.WriteString(" AUTH=" + xtext(auth))
	}
	return b.String()
}

// xtext encodes a parameter (RFC 3461, Section 4).
func xtext(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Rcpt implements smtp.Session. Who cannot get the message as the policy asks is
// refused here, where the client can say who it is.
func (s *session) Rcpt(to string, opts *smtp.RcptOptions) error {
	if err := s.ready(); err != nil {
		return err
	}
	e := s.current()
	if e == nil {
		return permanent(503, "5.5.1", "There is no message under way")
	}
	r := recipient{address: to, params: rcptParams(opts)}
	if err := s.lookUp(e, &r); err != nil {
		return err
	}
	// Whether there is an identity is asked when the message is there: its From
	// field counts. Who has one for the envelope is not refused here.
	sender := policy.Sender{Address: e.from, Identity: true}
	if refusal := s.p.Rules.Check(sender, r.policy(false), policy.Wish{}); refusal != nil {
		s.p.log().Info("recipient refused", "recipient", to, "reason", refusal.Error())
		return permanent(550, "5.7.5", refusal.Error())
	}
	reply, err := s.up.command("RCPT TO:<%s>%s", to, r.params)
	if err != nil {
		return s.lost(err)
	}
	if !reply.good() {
		return reply.forClient()
	}
	for _, n := range opts.Notify {
		if n == smtp.DSNNotifyNever {
			e.never[to] = true
		}
	}
	e.to = append(e.to, r)
	return nil
}

// lookUp finds the certificate of a recipient. The error is a reply: a source
// that is down is not the same as no certificate.
func (s *session) lookUp(e *envelope, r *recipient) error {
	if s.keys == nil {
		r.err = errNoKeys
		return nil
	}
	found, err := s.keys.Recipient(s.ctx, r.address)
	switch {
	case err == nil:
		r.found = found
	case errors.As(err, new(*recipients.NoneError)), errors.As(err, new(*recipients.UntrustedError)):
		r.err = err
	default:
		if s.p.Rules.For(e.from, r.address).Encrypt == policy.EncryptNever {
			r.err = err
			return nil
		}
		s.p.log().Warn("certificates cannot be looked up", "recipient", r.address, "error", err)
		return temporary("4.4.3", "Whether there is a certificate for this recipient cannot be found out now")
	}
	return nil
}

// errNoKeys says that there is nobody whose certificates could be used.
var errNoKeys = errors.New("this account has no certificates")

// policy returns what the policy has to know.
func (r *recipient) policy(hidden bool) policy.Recipient {
	return policy.Recipient{Address: r.address, Hidden: hidden, Certificate: r.found != nil, Err: r.err}
}

func rcptParams(opts *smtp.RcptOptions) string {
	var b strings.Builder
	for i, n := range opts.Notify {
		if i == 0 {
			b.WriteString(" NOTIFY=" + string(n))
		} else {
			b.WriteString("," + string(n))
		}
	}
	if opts.OriginalRecipient != "" {
		b.WriteString(" ORCPT=" + string(opts.OriginalRecipientType) + ";" + xtext(opts.OriginalRecipient))
	}
	return b.String()
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	e := s.current()
	if e == nil {
		return permanent(503, "5.5.1", "There is no message under way")
	}
	m, err := s.receive(r)
	if err != nil {
		return err
	}
	defer m.close()
	return s.deliver(e, m)
}
