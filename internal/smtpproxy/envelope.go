package smtpproxy

import (
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/outgoing"
)

// An envelope is the sender and recipients of a message.
type envelope struct {
	keys   Keys // of the account; nil for none
	from   string
	params string // of MAIL, but for SIZE
	id     string // ENVID
	to     []recipient
}

// A recipient is one of an envelope.
type recipient struct {
	outgoing.Recipient
	params   string // of RCPT
	original string // ORCPT, as notifications have it
	silent   bool   // NOTIFY=NEVER
}

// find returns the recipient of an address.
func (e *envelope) find(address string) *recipient {
	for i := range e.to {
		if e.to[i].Address == address {
			return &e.to[i]
		}
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
	path, ok := path(from, opts.UTF8)
	if !ok {
		return permanent(553, "5.1.7", "The address of the sender is not one")
	}
	e := &envelope{from: from, params: s.mailParams(opts), id: opts.EnvelopeID}
	if s.p.Keys != nil {
		e.keys = s.p.Keys(s.account)
	}
	size := ""
	if opts.Size > 0 && s.up.has("SIZE") {
		size = fmt.Sprintf(" SIZE=%d", grown(opts.Size, 10))
	}
	r, err := s.up.command("MAIL FROM:%s%s%s", path, size, e.params)
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
	path, ok := path(to, strings.Contains(e.params, " SMTPUTF8"))
	if !ok || to == "" {
		return permanent(553, "5.1.3", "The address of the recipient is not one")
	}
	known := e.find(to)
	if known != nil {
		// Who is named twice gets one copy, and is one recipient.
		return nil
	}
	found, err := s.p.sealer.LookUp(s.ctx, e.keys, e.from, to)
	if err != nil {
		return s.explain(err)
	}
	r := recipient{Recipient: found}
	r.options(opts)
	reply, err := s.up.command("RCPT TO:%s%s", path, r.params)
	if err != nil {
		return s.lost(err)
	}
	if !reply.good() {
		return reply.forClient()
	}
	e.to = append(e.to, r)
	return nil
}

// options takes the parameters of RCPT.
func (r *recipient) options(opts *smtp.RcptOptions) {
	var b strings.Builder
	for i, n := range opts.Notify {
		if i == 0 {
			b.WriteString(" NOTIFY=" + string(n))
		} else {
			b.WriteString("," + string(n))
		}
		r.silent = r.silent || n == smtp.DSNNotifyNever
	}
	if opts.OriginalRecipient != "" {
		kind := string(opts.OriginalRecipientType) + ";"
		address := xtext(opts.OriginalRecipient)
		r.original = kind + written(opts.OriginalRecipient)
		if opts.OriginalRecipientType == smtp.DSNAddressTypeUTF8 {
			address = utf8xtext(opts.OriginalRecipient)
			r.original = kind + address
		}
		b.WriteString(" ORCPT=" + kind + address)
	}
	r.params = b.String()
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

// utf8xtext encodes an address of the type utf-8 in US-ASCII (RFC 6533, Section
// 3: utf-8-addr-xtext).
func utf8xtext(text string) string {
	var b strings.Builder
	for _, c := range text {
		if c < '!' || c > '~' || c == '+' || c == '=' || c == '\\' {
			fmt.Fprintf(&b, `\x{%02X}`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// path returns an address in angle brackets, quoted anew where it has to be:
// go-smtp takes quotation marks off, and what stands in them is not to become a
// parameter (RFC 5321, Section 4.1.2). It reports whether the address can be
// written at all.
func path(address string, utf8 bool) (string, bool) {
	if address == "" {
		return "<>", true
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return "", false
	}
	local, domain := address[:at], address[at+1:]
	quote := strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..")
	for _, c := range local {
		switch {
		case c < ' ' || c == 0x7f || c > '~' && !utf8 || c == '\uFFFD':
			return "", false
		case strings.ContainsRune(" ()<>[]:;@\\,\"", c):
			quote = true
		}
	}
	for _, c := range domain {
		if c <= ' ' || c == 0x7f || c > '~' && !utf8 || c == '\uFFFD' || strings.ContainsRune(`<>()\,;"@`, c) {
			return "", false
		}
	}
	if quote {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return "<" + local + "@" + domain + ">", domain != ""
}
