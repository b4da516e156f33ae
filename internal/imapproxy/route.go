package imapproxy

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/saslrelay"
)

// capabilities are ours, before there is an upstream.
func (s *session) capabilities() string {
	all := []string{"IMAP4rev1"}
	if s.p.Route != nil {
		all = append(all, "SASL-IR")
		for _, m := range saslrelay.Choosing() {
			all = append(all, "AUTH="+m)
		}
	}
	return strings.Join(s.view.filter(all), " ")
}

// firstResponse returns the client's first response to a mechanism, in base64: the
// one that came with the command, or what it answers to an empty challenge. It
// returns false, and has answered, when there is none.
func (s *session) firstResponse(tag, mechanism, initial string) (string, bool, error) {
	if !slices.Contains(saslrelay.Choosing(), mechanism) {
		return "", false, s.say("%s NO [CANNOT] This mechanism does not tell whose account it is", tag)
	}
	initial = strings.TrimRight(initial, "\r\n")
	if initial == "=" { // RFC 4959, Section 3
		return "", true, nil
	}
	if initial != "" {
		return initial, true, nil
	}
	if err := s.say("+ %s", base64.StdEncoding.EncodeToString([]byte(saslrelay.Begin(mechanism)))); err != nil {
		return "", false, err
	}
	if err := s.client.SetReadDeadline(time.Now().Add(s.p.idle())); err != nil {
		return "", false, err
	}
	line, err := readLine(s.cr, maxCommandLine)
	if err != nil {
		return "", false, err
	}
	first := strings.TrimRight(string(line), "\r\n")
	if first == "*" {
		return "", false, s.say("%s BAD The login was given up", tag)
	}
	return first, true, nil
}

// reopen begins an exchange with the upstream, up to where the client's first
// response is wanted. It returns false when the upstream has refused that, which
// the client has been told.
func (s *session) reopen(c *command, mechanism string) (bool, error) {
	c.quiet.Store(1) // the client has had it already
	s.begin(c)
	if err := s.toUpstream(c.tag + " AUTHENTICATE " + mechanism + "\r\n"); err != nil {
		return false, err
	}
	select {
	case <-c.more:
		return true, nil
	case text := <-c.finished:
		if err := s.say("%s", s.view.filterLine([]byte(c.tag+" "+text))); err != nil {
			return false, err
		}
		return false, s.refused()
	case <-s.done:
		return false, s.ended()
	}
}

// refused ends a connection whose upstream was chosen by a name that could not log
// in.
func (s *session) refused() error {
	if s.p.Route == nil {
		return nil
	}
	_ = s.say("* BYE Connect again to try again") // it has had the answer
	return errLeft
}

// hideID answers ID in the place of the upstream.
func (s *session) hideID(tag, line string) error {
	if _, ok, err := s.hold(tag, line); !ok || err != nil {
		return err
	}
	if err := s.say("* ID NIL"); err != nil {
		return err
	}
	return s.say("%s OK done", tag)
}
