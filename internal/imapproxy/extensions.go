package imapproxy

import (
	"slices"
	"strings"
)

// noteCapabilities notes what the upstream says that it can.
func (s *session) noteCapabilities(line []byte) {
	text := strings.TrimRight(string(line), "\r\n")
	before, list, ok := cutFold(text, "[CAPABILITY ")
	if ok && strings.Count(before, " ") == 2 {
		list, _, ok = strings.Cut(list, "]")
	} else {
		before, list, ok = cutFold(text, "* CAPABILITY ")
		ok = ok && before == ""
	}
	if !ok {
		return
	}
	caps := strings.Fields(upper(list))
	s.pending.Lock()
	s.caps = caps
	s.pending.Unlock()
}

// can reports whether the upstream has a capability, and asks it when it has said
// nothing yet.
func (s *session) can(name string) (bool, error) {
	s.pending.Lock()
	caps := s.caps
	s.pending.Unlock()
	if caps == nil {
		if _, err := s.runFor("CAPABILITY", "CAPABILITY", func(*response) bool { return true }); err != nil {
			return false, err
		}
		s.pending.Lock()
		caps = s.caps
		s.pending.Unlock()
	}
	return slices.Contains(caps, name), nil
}

// never are commands that nobody can have here.
var never = []string{"COMPRESS", "UNAUTHENTICATE"}

// unwatched are commands that cannot be kept true where messages are opened: they
// give content by other ways than FETCH, or change the form of answers.
var unwatched = []string{"CONVERT", "REPLACE", "UID REPLACE", "GENURLAUTH", "URLFETCH", "CONVERSIONS"}

// enable passes on those extensions that can be kept true (RFC 5161).
func (s *session) enable(tag, line, args string) error {
	words := strings.Fields(args)
	kept := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !slices.Contains([]string{"CONDSTORE", "QRESYNC"}, upper(w)) })
	if len(kept) == len(words) {
		return s.pass(tag, "ENABLE", line)
	}
	if len(kept) > 0 {
		return s.pass(tag, "ENABLE", tag+" ENABLE "+strings.Join(kept, " ")+"\r\n")
	}
	if err := s.say("* ENABLED"); err != nil {
		return err
	}
	return s.say("%s OK done", tag)
}

// notify passes NOTIFY on (RFC 5465), unless it wants content in what it is told of
// new messages: that would be content as it is stored.
func (s *session) notify(tag, line string) error {
	held, ok, err := s.hold(tag, line)
	if !ok || err != nil {
		return err
	}
	split := func(r rune) bool { return strings.ContainsRune(" ()[]<>", r) }
	for _, word := range strings.FieldsFunc(upper(held), split)[1:] {
		one := item{name: strings.TrimSuffix(word, ".PEEK")}
		if one.content() {
			return s.say("%s NO [CANNOT] Notifications have no content of messages here", tag)
		}
	}
	return s.pass(tag, "NOTIFY", held+"\r\n")
}
