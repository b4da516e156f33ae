package imapproxy

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/smime"
)

// A Keeping is what becomes of a message before it is stored. One that is protected
// already is stored as it is.
type Keeping struct {
	// Sign signs in the name of the one who is in the From field, where there is an
	// identity for it.
	Sign bool
	// Encrypt encrypts to the account itself: to the certificate of Self, its
	// address. A message is refused when there is none.
	Encrypt bool
	Self    string
	// Keys are those of the account.
	Keys outgoing.Keys
	// Headers says how the header of what is encrypted is protected.
	Headers smime.HeaderPolicy
}

// maxMessages bounds the messages of one APPEND (RFC 3502).
const maxMessages = 1000

// appendCommand passes an APPEND on, or protects its messages before.
func (s *session) appendCommand(tag, line, args string) error {
	// The name may be a literal.
	l, ok := literalAt([]byte(line))
	for ok && strings.HasPrefix(args, "{") {
		if l.size > maxHeld {
			return s.say("%s BAD The name of the mailbox is too long", tag)
		}
		name, next, err := s.shortLiteral(l)
		if err != nil {
			return err
		}
		if strings.ContainsAny(name, "\r\n\x00") {
			return s.skip(tag, next, "BAD The name of the mailbox has line ends in it")
		}
		args = `"` + quoting.Replace(name) + `"` + next
		line = tag + " APPEND " + args
		l, ok = literalAt([]byte(line))
	}
	words := &scanner{text: args}
	mailboxName, named := words.astring()
	if !named || s.p.Append == nil {
		return s.passAll(tag, line)
	}
	keeping, err := s.keeping(mailboxName)
	if err != nil {
		return err
	}
	if keeping == nil || !keeping.Sign && !keeping.Encrypt {
		return s.passAll(tag, line)
	}
	args = strings.TrimRight(args, "\r\n")
	return s.protect(tag, line, len(strings.TrimRight(line, "\r\n"))-len(args)+words.at, keeping)
}

// passAll passes on a command, and its literals.
func (s *session) passAll(tag, line string) error {
	c := &command{tag: tag}
	s.begin(c)
	_, err := s.passLines(c, line)
	return err
}

// keeping returns what becomes of messages in a mailbox; nil leaves them alone.
func (s *session) keeping(name string) (*Keeping, error) {
	if upper(name) == "INBOX" {
		name = "INBOX" // RFC 3501, Section 5.1
	}
	use, known := s.uses[name]
	if !known {
		if err := s.readUses(); err != nil {
			return nil, err
		}
		use = s.uses[name]
	}
	return s.p.Append(s.account, name, use), nil
}

// readUses asks the upstream for the special uses of mailboxes (RFC 6154).
func (s *session) readUses() error {
	s.uses = make(map[string]string)
	can, err := s.can("SPECIAL-USE")
	if err != nil || !can {
		return err
	}
	_, err = s.runFor("LIST", `LIST "" "*" RETURN (SPECIAL-USE)`, func(r *response) bool {
		defer r.free()
		if len(r.segments) != 1 {
			return true // a name that is a literal has no use that is looked for
		}
		text := strings.TrimRight(string(r.segments[0].text), "\r\n")
		attributes, rest, ok := strings.Cut(strings.TrimPrefix(text, "* LIST ("), ") ")
		words := &scanner{text: rest}
		words.astring() // the delimiter
		words.take(' ')
		name, named := words.astring()
		if !ok || !named || len(s.uses) > 10_000 {
			return true
		}
		s.uses[name] = ""
		for a := range strings.FieldsSeq(strings.ToLower(attributes)) {
			if a == `\sent` || a == `\drafts` || a == `\archive` || a == `\junk` || a == `\trash` || a == `\all` || a == `\flagged` || a == `\important` {
				s.uses[name] = a
			}
		}
		return true
	})
	return err
}

// A piece is a part of an APPEND: text, and the message that follows it. The last
// one is text alone.
type piece struct {
	text    string // without the announcement
	raw     *spool.Buffer
	binary  bool // it was announced as a literal8 (RFC 4466)
	message *outgoing.Message
	content *outgoing.Content // protected; nil is raw
}

func (p *piece) close() {
	if p.content != nil {
		p.content.Close()
	}
	if p.message != nil {
		p.message.Close()
	}
	if p.raw != nil {
		_ = p.raw.Close()
	}
}

func (p *piece) source() (io.Reader, int64) {
	if p.content != nil {
		return p.content.NewReader(), p.content.Size()
	}
	return p.raw.NewReader(), p.raw.Size()
}

// protect takes the messages of an APPEND, protects them, and passes the command on.
// Nothing of it has gone to the upstream before all of that is done. named is where
// the name of the mailbox ends in line.
func (s *session) protect(tag, line string, named int, k *Keeping) error {
	var pieces []*piece
	defer func() {
		for _, p := range pieces {
			p.close()
		}
	}()
	for ; ; named = 0 {
		l, ok := literalAt([]byte(line))
		other := upper(line[min(named, len(line)):])
		if strings.Contains(other, "CATENATE (") || strings.Contains(other, "UTF8 (") { // which nobody was offered
			return s.skip(tag, line, "NO [CANNOT] The message cannot be protected in this form")
		}
		if !ok {
			pieces = append(pieces, &piece{text: strings.TrimRight(line, "\r\n")})
			return s.store(tag, pieces)
		}
		text := strings.TrimRight(line, "\r\n")
		text = text[:strings.LastIndexByte(text, '{')]
		p := &piece{text: strings.TrimSuffix(text, "~"), binary: strings.HasSuffix(text, "~")}
		switch {
		case s.p.MaxAppend > 0 && l.size > s.p.MaxAppend:
			return s.skip(tag, line, "NO [TOOBIG] The message is too large")
		case len(pieces) == maxMessages:
			return s.skip(tag, line, "NO [LIMIT] There are too many messages in one command")
		}
		pieces = append(pieces, p)
		if err := s.take(p, l); err != nil {
			return err
		}
		next, err := readLine(s.cr, maxCommandLine)
		if err != nil {
			return err
		}
		line = strings.Clone(string(next))
		if err = s.seal(p, k); err != nil {
			s.p.log().Warn("a message cannot be stored", "account", s.account, "error", err)
			return s.skip(tag, line, "NO "+refusal(err))
		}
	}
}

// take reads a message.
func (s *session) take(p *piece, l literal) error {
	if l.waiting {
		if err := s.say("+ go on"); err != nil {
			return err
		}
	}
	p.raw = spool.New(spool.Options{Dir: s.p.SpoolDir})
	for left := l.size; left > 0; {
		n := min(left, 1<<20)
		if err := s.client.SetReadDeadline(time.Now().Add(s.p.idle())); err != nil {
			return err
		}
		if _, err := io.CopyN(p.raw, s.cr, n); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// skip reads the rest of a command, and refuses it.
func (s *session) skip(tag, line, answer string) error {
	for {
		l, ok := literalAt([]byte(line))
		if !ok || l.waiting {
			return s.say("%s %s", tag, answer)
		}
		for left := l.size; left > 0; left -= min(left, 1<<20) {
			if err := s.client.SetReadDeadline(time.Now().Add(s.p.idle())); err != nil {
				return err
			}
			if _, err := io.CopyN(io.Discard, s.cr, min(left, 1<<20)); err != nil {
				return err
			}
		}
		next, err := readLine(s.cr, maxCommandLine)
		if err != nil {
			return err
		}
		line = strings.Clone(string(next))
	}
}

// seal protects a message.
func (s *session) seal(p *piece, k *Keeping) error {
	sign, encrypt := policy.SignNever, policy.EncryptNever
	if k.Sign {
		sign = policy.SignIfPossible
	}
	if k.Encrypt {
		encrypt = policy.EncryptRequire
	}
	rules, err := policy.New([]policy.Rule{{Sign: &sign, Encrypt: &encrypt}})
	if err != nil {
		return err
	}
	sealer := &outgoing.Sealer{Rules: rules, Headers: k.Headers, SpoolDir: s.p.SpoolDir}
	self, err := sealer.LookUp(s.ctx, k.Keys, k.Self, k.Self)
	if err != nil {
		return err
	}
	if p.message, err = sealer.Receive(p.raw.NewReader()); err != nil {
		return err
	}
	if p.message.Encrypted {
		return nil
	}
	plan, err := sealer.Plan(s.ctx, &outgoing.Envelope{Account: s.account, Keys: k.Keys, From: k.Self, To: []outgoing.Recipient{self}}, p.message)
	if err != nil {
		return err
	}
	for _, c := range plan.Copies { // there is one recipient, and so one copy
		if !c.Untouched() {
			p.content, err = plan.Seal(c)
		}
	}
	return err
}

// refusal is what a client is told when a message cannot be protected.
func refusal(err error) string {
	if _, ok := errors.AsType[*outgoing.UnavailableError](err); ok {
		return "[UNAVAILABLE] The message cannot be protected now, and is not stored"
	}
	return "[CANNOT] The message cannot be protected as the policy asks, and is not stored"
}

// store passes an APPEND on.
func (s *session) store(tag string, pieces []*piece) error {
	c := &command{tag: tag, own: true}
	s.begin(c)
	for _, p := range pieces {
		if p.raw == nil {
			if err := s.toUpstream(p.text + "\r\n"); err != nil {
				return err
			}
			break
		}
		src, size := p.source()
		mark := ""
		if p.binary && p.content == nil {
			mark = "~"
		}
		if err := s.toUpstream(fmt.Sprintf("%s%s{%d}\r\n", p.text, mark, size)); err != nil {
			return err
		}
		select {
		case <-c.more:
		case text := <-c.finished:
			return s.say("%s", s.view.filterLine([]byte(tag+" "+text)))
		case <-s.done:
			return s.ended()
		}
		if err := s.sendAll(src); err != nil {
			return err
		}
	}
	text, err := s.finish(c)
	if err != nil {
		return err
	}
	return s.say("%s", s.view.filterLine([]byte(tag+" "+text)))
}

// sendAll writes a literal to the upstream.
func (s *session) sendAll(src io.Reader) error {
	for {
		if err := s.upstream.SetWriteDeadline(time.Now().Add(upstreamTimeout)); err != nil {
			return err
		}
		if _, err := io.CopyN(&s.uw, src, 1<<20); err == io.EOF {
			return s.uw.Flush()
		} else if err != nil {
			return err
		}
	}
}
