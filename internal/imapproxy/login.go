package imapproxy

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/postseal/postseal/internal/saslrelay"
)

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
