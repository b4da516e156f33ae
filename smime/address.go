package smime

import (
	"strings"
	"unicode/utf8"
)

// A mailbox is a name and an address (RFC 5322, Section 3.4).
type mailbox struct {
	name, address string
	comments      []string // those beside it; some programs show them as name
}

// parseMailboxes reads the value of a From field. ok is false when it is no
// list of mailboxes, a group among them, or not clearly so: nobody is then
// known to be the sender.
func parseMailboxes(value string) (list []mailbox, ok bool) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return nil, false
	}
	s := &addressScanner{s: value}
	for {
		if !s.skip() {
			return nil, false
		}
		if s.take(',') {
			continue // RFC 5322, Section 4.4: empty members
		}
		if s.s == "" {
			return list, true
		}
		m, found := s.mailbox()
		if !found || !s.skip() || (s.s != "" && !s.take(',')) {
			return nil, false
		}
		m.comments, s.comments = s.comments, nil
		list = append(list, m)
	}
}

// An addressScanner takes tokens from the start of s.
type addressScanner struct {
	s        string
	comments []string // those that were gone over, without their brackets
}

func (s *addressScanner) take(c byte) bool {
	if s.s == "" || s.s[0] != c {
		return false
	}
	s.s = s.s[1:]
	return true
}

// skip goes over blanks and comments. It is false for a comment without end.
func (s *addressScanner) skip() bool {
	depth := 0
	var comment strings.Builder
	for s.s != "" {
		c := s.s[0]
		switch {
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			if depth--; depth == 0 {
				s.comments = append(s.comments, comment.String()[1:])
				comment.Reset()
			}
		case depth > 0 && c == '\\' && len(s.s) > 1:
			s.s = s.s[1:]
			c = s.s[0]
		case depth == 0 && c != ' ' && c != '\t':
			return true
		}
		if depth > 0 {
			comment.WriteByte(c)
		}
		s.s = s.s[1:]
	}
	return depth == 0
}

// mailbox reads a mailbox: with a name and angle brackets, or an address alone.
func (s *addressScanner) mailbox() (m mailbox, ok bool) {
	rest, comments := s.s, len(s.comments)
	var room [usualWords]string
	words, ok := s.words(room[:0], false)
	if !ok {
		return m, false
	}
	if s.take('<') {
		m.name = strings.Join(words, " ")
		m.address, ok = s.address()
		return m, ok && s.skip() && s.take('>')
	}
	s.s, s.comments = rest, s.comments[:comments]
	m.address, ok = s.address()
	return m, ok
}

// usualWords is how many words a part of a mailbox has at most, most often.
const usualWords = 8

// words reads words up to something else, and appends them to words. joined asks
// for exactly one word, or atoms with a dot between each two.
func (s *addressScanner) words(words []string, joined bool) (_ []string, ok bool) {
	dot := true // a word may follow
	for s.skip() {
		var word string
		switch {
		case s.s == "":
			return words, !joined || !dot
		case s.s[0] == '"':
			if word, ok = s.quoted(); !ok {
				return nil, false
			}
		case joined && s.s[0] == '.':
			if dot {
				return nil, false
			}
			s.s, dot = s.s[1:], true
			words = append(words, ".")
			continue
		case s.s[0] == '.': // RFC 5322, Section 4.1: in names
			word, s.s = ".", s.s[1:]
		default:
			n := strings.IndexAny(s.s, "()<>[]:;@\\,.\" \t")
			if n < 0 {
				n = len(s.s)
			}
			if n == 0 {
				return words, !joined || !dot
			}
			word, s.s = s.s[:n], s.s[n:]
		}
		if joined && !dot {
			return nil, false
		}
		dot = false
		words = append(words, word)
	}
	return nil, false
}

// quoted reads a quoted string.
func (s *addressScanner) quoted() (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s.s); i++ {
		switch c := s.s[i]; c {
		case '"':
			s.s = s.s[i+1:]
			return b.String(), true
		case '\\':
			if i++; i < len(s.s) {
				b.WriteByte(s.s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// address reads an addr-spec. Routes (RFC 5322, Section 4.4) are refused.
func (s *addressScanner) address() (string, bool) {
	var room, domainRoom [usualWords]string
	local, ok := s.words(room[:0], true)
	if !ok || !s.take('@') || !s.skip() {
		return "", false
	}
	var domain string
	if strings.HasPrefix(s.s, "[") {
		end := strings.IndexByte(s.s, ']')
		// RFC 5321, Section 4.1.3 has less than RFC 5322 allows: what others may read
		// as the end of an address leaves a doubt.
		if end < 0 || strings.ContainsAny(s.s[1:end], "[\\ \t\"<>(),;@") {
			return "", false
		}
		domain, s.s = s.s[:end+1], s.s[end+1:]
	} else {
		rest := s.s
		labels, found := s.words(domainRoom[:0], true)
		domain = strings.Join(labels, "")
		if !found || strings.Contains(rest[:len(rest)-len(s.s)], `"`) {
			return "", false
		}
	}
	l := strings.Join(local, "")
	if l == "" || domain == "" {
		return "", false
	}
	return l + "@" + domain, true
}
