package smtpproxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
)

// An outcome is how the transaction of one copy ended.
type outcome struct {
	copy  policy.Copy
	taken bool
	// unknown says that the connection was lost between the end of the message and
	// the reply to it: it may have been taken (RFC 1047).
	unknown bool
	// refused are the replies to single recipients, and reply is that to the whole
	// copy.
	refused map[string]error
	reply   error
}

// deliver gives a message to the upstream, in as many transactions as there are
// forms of it. The error is the reply to the client; that of the upstream when it
// has all of it.
func (s *session) deliver(e *envelope, m *outgoing.Message, plan *outgoing.Plan) error {
	// The transaction that is open has all recipients.
	open := len(plan.Copies) == 1
	var outcomes []outcome
	for _, c := range plan.Copies {
		o := s.send(e, m, plan, c, open)
		outcomes = append(outcomes, o)
		if !o.taken && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.taken || o.unknown }) {
			return o.reply // nobody has it: the client has it still
		}
	}
	if s.up.err == nil {
		s.setEnvelope(nil) // there is nothing to reset
	}
	return s.settle(e, m, outcomes)
}

// send gives one copy to the upstream. With open, MAIL and RCPT have been said.
func (s *session) send(e *envelope, m *outgoing.Message, plan *outgoing.Plan, c policy.Copy, open bool) outcome {
	o := outcome{copy: c, refused: make(map[string]error)}
	content, err := plan.Seal(c)
	if err != nil {
		s.p.log().Warn("a message cannot be protected", "sender", e.from, "error", err)
		o.reply = temporary("4.7.5", "The message could not be signed or encrypted")
		return o
	}
	defer content.Close()
	if c.Untouched() && m.EightBit && !s.up.has("8BITMIME") {
		o.reply = permanent(554, "5.6.3", "The message has 8-bit text, which the mail server does not take")
		return o
	}
	if !open && !s.begin(e, c, content.Size(), &o) {
		return o
	}
	r, err := s.up.message(content.NewReader(), content.Size())
	switch {
	case err != nil:
		o.unknown = errors.Is(err, ErrUnknownOutcome)
		o.reply = s.lost(err)
	case !r.good():
		o.reply = r.forClient()
	default:
		o.taken, o.reply = true, r.forClient()
		s.p.log().Info("message sent", "sender", e.from, "recipients", len(c.Recipients)-len(o.refused), "signed", c.Sign, "encrypted", c.Encrypt)
	}
	return o
}

// begin says MAIL and RCPT for a copy, in the place of what has been said before.
// It reports whether anybody is to get it.
func (s *session) begin(e *envelope, c policy.Copy, size int64, o *outcome) bool {
	params := e.params
	if s.up.has("SIZE") {
		params = fmt.Sprintf(" SIZE=%d", size) + params
	}
	utf8 := strings.Contains(e.params, " SMTPUTF8")
	from, _ := path(e.from, utf8) // it has been said once
	lines := []string{"RSET", "MAIL FROM:" + from + params}
	for _, address := range c.Recipients {
		to, _ := path(address, utf8)
		lines = append(lines, "RCPT TO:"+to+e.find(address).params)
	}
	replies, err := s.up.commands(lines)
	if err == nil && !replies[0].good() {
		err = replies[0]
	}
	if err == nil && !replies[1].good() {
		err = replies[1]
	}
	if err != nil {
		o.reply = s.lost(err)
		return false
	}
	for i, address := range c.Recipients {
		if r := replies[2+i]; !r.good() {
			o.reply = r.forClient()
			o.refused[address] = o.reply
		}
	}
	return len(o.refused) < len(c.Recipients)
}

// settle ends a message of which one copy at least was taken, or may have been.
// Those who did not get theirs are told of to the sender, by the upstream or, when
// that is not possible, in the reply.
func (s *session) settle(e *envelope, m *outgoing.Message, outcomes []outcome) error {
	failed := make(map[string]error)
	var doubtful []string
	var last error
	for _, o := range outcomes {
		if o.taken {
			last = o.reply
		}
		for _, address := range o.copy.Recipients {
			reply, refused := o.refused[address]
			switch {
			case o.unknown && !refused:
				doubtful = append(doubtful, address)
			case refused:
				failed[address] = reply
			case !o.taken:
				failed[address] = o.reply
			}
		}
	}
	if len(failed)+len(doubtful) == 0 {
		return last
	}
	if len(doubtful) == 0 {
		err := s.notify(e, m, outcomes, failed)
		if err == nil {
			return last
		}
		s.p.log().Error("a failure could not be reported by mail", "sender", e.from, "error", err)
	}
	if last == nil {
		// As far as is known nobody has it, and the client has it still.
		i := slices.IndexFunc(outcomes, func(o outcome) bool { return o.unknown })
		return outcomes[i].reply
	}
	return partial(failed, doubtful)
}

// partial is the reply to a message that some have, when it cannot be said to the
// sender by mail. It is permanent: a client that sent the message again by itself
// would send it twice to the others.
func partial(failed map[string]error, doubtful []string) error {
	const most = 20
	var lines []string
	for address := range failed {
		lines = append(lines, oneLine(address+" did not get this message"))
	}
	for _, address := range doubtful {
		lines = append(lines, oneLine("Whether "+address+" has got this message is not known"))
	}
	slices.Sort(lines)
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	lines = append(lines, "The others have it: send it again to these alone")
	return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 3, 0}, Message: strings.Join(lines, "\n")}
}
