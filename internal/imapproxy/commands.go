package imapproxy

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/saslrelay"
)

// begin tells the pump of a command.
func (s *session) begin(c *command) {
	c.more, c.finished = make(chan struct{}, 1), make(chan string, 1)
	s.pending.Lock()
	s.current = c
	s.pending.Unlock()
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

// login passes a LOGIN on and notes who it was.
func (s *session) login(tag, line string) error {
	held, ok, err := s.hold(tag, line)
	if !ok || err != nil {
		return err
	}
	words := &scanner{text: held}
	words.astring()
	words.take(' ')
	words.astring()
	words.take(' ')
	name, okName := words.astring()
	words.take(' ')
	password, okPassword := words.astring()
	if !okName || !okPassword || words.at != len(held) {
		return s.say("%s BAD LOGIN has a name and a password", tag)
	}
	name, undecrypted := s.stripName(name)
	if s.upstream == nil { // with Route
		if err = s.connect(false, name); err != nil {
			return err
		}
	}
	c := &command{tag: tag, told: true}
	s.begin(c)
	text, err := s.sendStrings(c, tag+" LOGIN", name, password)
	if err != nil {
		return err
	}
	return s.endLogin(tag, text, name, password, undecrypted)
}

// stripName takes the suffix off a login name that asks for mail as it is.
func (s *session) stripName(name string) (string, bool) {
	bare, ok := strings.CutSuffix(name, s.p.Undecrypted)
	if s.p.Undecrypted == "" || !ok || bare == "" {
		return name, false
	}
	return bare, true
}

// sendStrings sends a command with strings, as quoted strings where that can be,
// else as literals.
func (s *session) sendStrings(c *command, command string, values ...string) (string, error) {
	line := command
	for _, v := range values {
		if !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) && len(v) < 1000 {
			line += ` "` + quoting.Replace(v) + `"`
			continue
		}
		c.own = true // the continuation is for us
		if err := s.toUpstream(fmt.Sprintf("%s {%d}\r\n", line, len(v))); err != nil {
			return "", err
		}
		select {
		case <-c.more:
		case text := <-c.finished:
			return text, nil
		case <-s.done:
			return "", s.ended()
		}
		line = v
	}
	if err := s.toUpstream(line + "\r\n"); err != nil {
		return "", err
	}
	return s.finish(c)
}

// authenticate passes an exchange on and notes who it was.
func (s *session) authenticate(tag, line, args string) error {
	mechanism, initial := cutWord([]byte(args))
	mechanism = upper(mechanism)
	if len(saslrelay.Offered([]string{mechanism})) == 0 {
		return s.say("%s NO [CANNOT] This mechanism cannot be passed on", tag)
	}
	var name saslrelay.Name
	undecrypted := false
	// see looks at a response, and returns what the upstream is told.
	see := func(text string) string {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return text
		}
		if bare, ok := name.Strip(mechanism, decoded, s.p.Undecrypted); ok {
			undecrypted, decoded = true, bare
			text = base64.StdEncoding.EncodeToString(bare)
		}
		name.See(mechanism, decoded)
		return text
	}
	if first := strings.TrimRight(string(initial), "\r\n"); first != "" && first != "=" && s.upstream != nil {
		line = strings.TrimSuffix(strings.TrimRight(line, "\r\n"), first) + see(first) + "\r\n"
	}
	c := &command{tag: tag, told: true}
	if s.upstream == nil { // with Route
		first, ok, err := s.firstResponse(tag, mechanism, string(initial))
		if !ok || err != nil {
			return err
		}
		first = see(first)
		if err = s.connect(false, name.String()); err != nil {
			return err
		}
		if ok, err = s.reopen(c, mechanism); !ok || err != nil {
			return err
		}
		line = first + "\r\n"
	} else {
		s.begin(c)
	}
	for {
		if err := s.toUpstream(line); err != nil {
			return err
		}
		select {
		case <-c.more:
		case text := <-c.finished:
			return s.endLogin(tag, text, name.String(), name.Password(), undecrypted)
		case <-s.done:
			return s.ended()
		}
		next, err := readLine(s.cr, maxCommandLine)
		if err != nil {
			return err
		}
		line = see(strings.TrimRight(string(next), "\r\n")) + "\r\n"
	}
}

// endLogin tells the client how a login went. What it may do from now on is known
// by then.
func (s *session) endLogin(tag, text, account, password string, undecrypted bool) error {
	ok := strings.HasPrefix(upper(text), "OK")
	if ok {
		if err := s.loggedIn(account, password, undecrypted); err != nil {
			s.p.log().Warn("the keys of an account cannot be used", "account", account, "error", err)
			_ = s.say("%s NO [UNAVAILABLE] The keys of this account cannot be used now", tag)
			_ = s.say("* BYE Try again later")
			return errLeft
		}
	}
	if err := s.say("%s", s.view.filterLine([]byte(tag+" "+text))); err != nil || ok {
		return err
	}
	return s.refused()
}

// loggedIn finds out what is to be done for an account. The error is that its
// keys cannot be used: its mail is not shown as it is then, since a client would
// keep that.
func (s *session) loggedIn(account, password string, undecrypted bool) error {
	s.loggedInOK, s.account = true, account
	if s.p.LoggedIn != nil {
		var secret []byte
		if password != "" {
			secret = []byte(password)
		}
		s.p.LoggedIn(account, secret)
	}
	if s.p.Open != nil && !undecrypted {
		if err := s.openAccount(account); err != nil {
			return err
		}
	}
	s.out.Lock()
	s.view = view{login: true, asStored: s.options == nil}
	s.out.Unlock()
	s.p.log().Info("logged in", "account", account, "opens", s.options != nil)
	return nil
}

func (s *session) openAccount(account string) error {
	options, err := s.p.Open(account)
	if err != nil || options == nil {
		return err
	}
	var secret []byte
	if s.p.Secret != nil {
		if secret, err = s.p.Secret(account); err != nil {
			return err
		}
	}
	if s.sealer, err = newSealer(secret, account); err == nil {
		s.options = options
	}
	return err
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
	s.rendered.clear()
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
