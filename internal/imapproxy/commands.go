package imapproxy

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// begin tells the pump of a command.
func (s *session) begin(c *command) {
	c.more, c.finished = make(chan struct{}, 1), make(chan string, 1)
	s.pending.Lock()
	s.current = c
	s.pending.Unlock()
	s.asked = time.Now()
	s.waiting.Store(true)
	_ = s.hurry(s.upstream) // a reader that is blocked hears of it
}

// toUpstream writes to the upstream.
func (s *session) toUpstream(text string) error {
	if err := s.upstream.SetWriteDeadline(time.Now().Add(upstreamTimeout)); err != nil {
		return err
	}
	_, _ = s.uw.WriteString(text) // uw keeps its error
	return s.uw.Flush()
}

// finish waits for the end of a command.
func (s *session) finish(c *command) (string, error) {
	select {
	case text := <-c.finished:
		return text, nil
	case <-s.done:
		return "", s.ended()
	}
}

// pass passes a command on, octet for octet, and waits for its end.
func (s *session) pass(tag, name, line string) error {
	c := &command{tag: tag}
	s.begin(c)
	text, err := s.passLines(c, line)
	if err == nil && name == "LOGOUT" && strings.HasPrefix(upper(text), "OK") {
		return errLeft
	}
	return err
}

// passLines passes on the lines and literals of a command.
func (s *session) passLines(c *command, line string) (string, error) {
	for {
		if err := s.toUpstream(line); err != nil {
			return "", err
		}
		l, ok := literalAt([]byte(line))
		if !ok {
			return s.finish(c)
		}
		if l.waiting {
			select {
			case <-c.more:
			case text := <-c.finished: // it was refused: the literal does not come
				return text, nil
			case <-s.done:
				return "", s.ended()
			}
		}
		if err := s.copyLiteral(l.size); err != nil {
			return "", err
		}
		next, err := readLine(s.cr, maxCommandLine)
		if err != nil {
			return "", err
		}
		line = strings.Clone(string(next))
	}
}

// copyLiteral passes octets of the client on.
func (s *session) copyLiteral(size int64) error {
	for size > 0 {
		n := min(size, 1<<20)
		for _, err := range []error{s.client.SetReadDeadline(time.Now().Add(s.p.idle())), s.upstream.SetWriteDeadline(time.Now().Add(upstreamTimeout))} {
			if err != nil {
				return err
			}
		}
		if _, err := io.CopyN(&s.uw, s.cr, n); err != nil {
			return err
		}
		size -= n
	}
	return s.uw.Flush()
}

// run carries out a command of our own. take is given the responses to FETCH.
func (s *session) run(text string, take func(*response) bool) (string, error) {
	return s.runFor("", text, take)
}

// runFor is run for responses of a kind other than FETCH.
func (s *session) runFor(kind, text string, take func(*response) bool) (string, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	s.serial++
	c := &command{tag: fmt.Sprintf("PS%d", s.serial), own: true, take: take, takes: kind}
	s.begin(c)
	if err := s.toUpstream(c.tag + " " + text + "\r\n"); err != nil {
		s.hangUp()
		<-s.done // nobody calls take any more
		return "", err
	}
	return s.finish(c)
}

// hold reads the rest of a command into memory, literals as quoted strings. It
// returns false, and has answered, when it is too long or cannot be held.
func (s *session) hold(tag, line string) (string, bool, error) {
	var whole strings.Builder
	good := true
	for {
		l, ok := literalAt([]byte(line))
		text := strings.TrimRight(line, "\r\n")
		if !ok {
			whole.WriteString(text)
			if !good {
				return "", false, s.say("%s BAD A literal has line ends in it", tag)
			}
			return whole.String(), true, nil
		}
		if int64(whole.Len())+l.size > maxHeld {
			if !l.waiting {
				return "", false, ErrTooLong // it is on its way
			}
			return "", false, s.say("%s BAD The command is too long", tag)
		}
		whole.WriteString(strings.TrimSuffix(text[:strings.LastIndexByte(text, '{')], "~"))
		data, next, err := s.shortLiteral(l)
		if err != nil {
			return "", false, err
		}
		good = good && !strings.ContainsAny(data, "\r\n\x00")
		whole.WriteString(`"` + quoting.Replace(data) + `"`)
		line = next
	}
}

// shortLiteral reads a literal of at most maxHeld octets, and the line after it.
func (s *session) shortLiteral(l literal) (data, next string, err error) {
	if l.waiting {
		if err = s.say("+ go on"); err != nil {
			return "", "", err
		}
	}
	octets := make([]byte, l.size)
	if _, err = io.ReadFull(s.cr, octets); err != nil {
		return "", "", err
	}
	line, err := readLine(s.cr, maxCommandLine)
	return string(octets), string(line), err
}

// selectCommand passes SELECT or EXAMINE on and notes the mailbox.
func (s *session) selectCommand(tag, name, line, args string) error {
	s.selectMailbox(mailbox{readOnly: name == "EXAMINE"})
	if l, isLiteral := literalAt([]byte(line)); isLiteral {
		if l.size > maxHeld {
			return s.say("%s BAD The name of the mailbox is too long", tag)
		}
		held, ok, err := s.hold(tag, line)
		if !ok || err != nil {
			return err
		}
		line = held + "\r\n"
		_, rest := cutWord([]byte(line))
		_, rest = cutWord(rest)
		args = string(rest)
	}
	words := &scanner{text: args}
	mailboxName, ok := words.astring()
	if !ok {
		mailboxName = args
	}
	c := &command{tag: tag}
	s.begin(c)
	text, err := s.passLines(c, line)
	if err == nil && strings.HasPrefix(upper(text), "OK") {
		if upper(mailboxName) == "INBOX" {
			mailboxName = "INBOX" // RFC 3501, Section 5.1
		}
		s.pending.Lock()
		s.mailbox.name = mailboxName
		s.pending.Unlock()
	}
	return err
}

// idle passes IDLE on, and DONE (RFC 2177).
func (s *session) idle(tag, line string) error {
	c := &command{tag: tag, idles: true}
	s.begin(c)
	if err := s.toUpstream(line); err != nil {
		return err
	}
	select {
	case <-c.more:
	case <-c.finished:
		return nil
	case <-s.done:
		return s.ended()
	}
	s.rest()
	if err := s.awaitClient(); err != nil {
		return err
	}
	done, err := readLine(s.cr, maxCommandLine)
	if err != nil {
		return err
	}
	s.waiting.Store(true)
	_ = s.hurry(s.upstream) // a reader that is blocked hears of it
	if err = s.toUpstream(string(done)); err != nil {
		return err
	}
	_, err = s.finish(c)
	return err
}
