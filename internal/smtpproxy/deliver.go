package smtpproxy

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/smime"
)

// An outcome is how the transaction of one copy ended.
type outcome struct {
	copy  policy.Copy
	taken bool
	// refused are the replies to single recipients, and reply is that to the whole
	// copy, when it was not taken.
	refused map[string]error
	reply   error
}

// deliver gives a message to the upstream, in as many transactions as there are
// forms of it. The error is the reply to the client.
func (s *session) deliver(e *envelope, m *message) error {
	copies, signer, err := s.plan(e, m)
	if err != nil {
		return err
	}
	// The transaction that is open has all recipients.
	open := len(copies) == 1
	if !open {
		if r, rsetErr := s.up.command("RSET"); rsetErr != nil || !r.good() {
			return s.lost(errors.Join(ErrUpstreamLost, rsetErr))
		}
	}
	var outcomes []outcome
	for _, c := range copies {
		o := s.send(e, m, c, signer, open)
		outcomes = append(outcomes, o)
		if !o.taken && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.taken }) {
			return o.reply // nobody has it: the client has it still
		}
	}
	s.setEnvelope(nil)
	return s.settle(e, m, outcomes)
}

// plan says who gets which form, and returns how to sign. The error is the reply
// to the client. What a sender encrypted, and what it signed where no encryption
// is asked for, is left as it is.
func (s *session) plan(e *envelope, m *message) ([]policy.Copy, *cms.Signer, error) {
	if m.encrypted {
		return []policy.Copy{{Recipients: all(e)}}, nil, nil
	}
	from := policy.Sender{Address: m.from, Also: e.from, Identity: m.signed}
	if m.from == "" {
		from.Address = e.from
	}
	signer, err := s.signer(from.Address)
	switch {
	case err == nil:
		from.Identity = true
	case errors.Is(err, ErrNoIdentity):
		from.Err = err
	default:
		s.p.log().Warn("the identity of the sender cannot be used", "sender", from.Address, "error", err)
		return nil, nil, temporary("4.7.5", "The sender's private key cannot be used now")
	}
	copies, refusals := s.p.Rules.Plan(from, m.recipientsOf(e), m.wish)
	if len(refusals) > 0 {
		return nil, nil, refusalReply(refusals)
	}
	for i := range copies {
		copies[i].Sign = copies[i].Sign && !m.signed
	}
	return copies, signer, nil
}

func all(e *envelope) []string {
	out := make([]string, len(e.to))
	for i := range e.to {
		out[i] = e.to[i].address
	}
	return out
}

// refusalReply is the reply to a message that cannot go out as the policy asks.
func refusalReply(refusals []*policy.Refusal) error {
	var lines []string
	for _, r := range refusals {
		lines = append(lines, oneLine(r.Error()))
	}
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and for %d more", len(lines)-most))
	}
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 5}, Message: strings.Join(lines, "\n")}
}

// signer returns how to sign as somebody.
func (s *session) signer(address string) (*cms.Signer, error) {
	if s.keys == nil {
		return nil, ErrNoIdentity
	}
	return s.keys.Signer(s.ctx, address)
}

// send gives one copy to the upstream. With open, MAIL and RCPT have been said.
func (s *session) send(e *envelope, m *message, c policy.Copy, signer *cms.Signer, open bool) outcome {
	o := outcome{copy: c, refused: make(map[string]error)}
	content, err := s.protect(e, m, c, signer)
	if err != nil {
		s.p.log().Warn("a message cannot be protected", "sender", e.from, "error", err)
		o.reply = temporary("4.7.5", "The message could not be signed or encrypted")
		return o
	}
	defer func() { _ = content.Close() }() // it is sent, or is not needed any more
	if c.Untouched() && m.eightBit && !s.up.has("8BITMIME") {
		o.reply = permanent(554, "5.6.3", "The message has 8-bit text, which the mail server does not take")
		return o
	}
	if !open && !s.begin(e, c, content.Size(), &o) {
		return o
	}
	r, err := s.up.data(content.NewReader())
	switch {
	case err != nil:
		o.reply = s.lost(err)
	case !r.good():
		o.reply = r.forClient()
	default:
		o.taken = true
		s.p.log().Info("message sent", "sender", e.from, "recipients", len(c.Recipients)-len(o.refused), "signed", c.Sign, "encrypted", c.Encrypt)
	}
	return o
}

// begin says MAIL and RCPT for a copy. It reports whether anybody is to get it.
func (s *session) begin(e *envelope, c policy.Copy, size int64, o *outcome) bool {
	params := e.params
	if s.up.has("SIZE") {
		params = fmt.Sprintf(" SIZE=%d", size) + params
	}
	r, err := s.up.command("MAIL FROM:<%s>%s", e.from, params)
	if err == nil && !r.good() {
		err = r
	}
	if err != nil {
		o.reply = s.lost(err)
		return false
	}
	for _, address := range c.Recipients {
		if r, err = s.up.command("RCPT TO:<%s>%s", address, e.find(address).params); err != nil {
			o.reply = s.lost(err)
			return false
		}
		if !r.good() {
			o.refused[address] = r.forClient()
			o.reply = o.refused[address]
		}
	}
	if len(o.refused) == len(c.Recipients) {
		_, err = s.up.command("RSET")
		if err != nil {
			o.reply = s.lost(err)
		}
		return false
	}
	return true
}

// protect makes a copy. It is whole before anything of it is sent.
func (s *session) protect(e *envelope, m *message, c policy.Copy, signer *cms.Signer) (*spool.Buffer, error) {
	out := spool.New(spool.Options{Dir: s.p.SpoolDir})
	err := s.write(out, e, m, c, signer)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

func (s *session) write(out io.Writer, e *envelope, m *message, c policy.Copy, signer *cms.Signer) error {
	if c.Untouched() {
		_, err := io.Copy(out, m.reader())
		return err
	}
	var signers []cms.Signer
	if c.Sign {
		signers = []cms.Signer{*signer}
	}
	var w io.WriteCloser
	var err error
	if c.Encrypt {
		var to []cms.Recipient
		var said [][]cms.Cipher
		for _, address := range c.Recipients {
			found := e.find(address).found
			to = append(to, &cms.CertificateRecipient{Certificate: found.Certificate})
			said = append(said, found.Capabilities)
		}
		var cipher cms.Cipher
		if cipher, err = recipients.CommonCipher(said); err != nil {
			// RFC 8551, Section 2.7.1.2: what everybody has to be able to read.
			cipher = cms.AES128CBC
		}
		w, err = smime.Encrypt(out, to, &smime.EncryptOptions{Signers: signers, Cipher: cipher})
	} else {
		w, err = smime.Sign(out, signers, &smime.SignOptions{})
	}
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, m.reader()); err != nil {
		return err
	}
	return w.Close()
}

// settle ends a message of which one copy at least was taken. Those who did not
// get theirs are told of to the sender, by the upstream or, when that is not
// possible, in the reply.
func (s *session) settle(e *envelope, m *message, outcomes []outcome) error {
	failed := make(map[string]error)
	for _, o := range outcomes {
		for _, address := range o.copy.Recipients {
			reply, refused := o.refused[address]
			if !o.taken && !refused {
				reply = o.reply
			}
			if (!o.taken || refused) && !e.never[address] {
				failed[address] = reply
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	err := s.notify(e, m, failed)
	if err == nil {
		return nil
	}
	s.p.log().Error("a failure could not be reported by mail", "sender", e.from, "error", err)
	var lines []string
	for address := range failed {
		lines = append(lines, oneLine(address+" did not get this message"))
	}
	slices.Sort(lines)
	lines = append(lines, "The others did: send it again to these alone")
	return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 3, 0}, Message: strings.Join(lines, "\n")}
}
