package imapproxy

import (
	"bufio"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
)

// An address is one of an envelope (RFC 3501, Section 7.4.2), as the header has it:
// encoded words are left for the client. The beginning of a group has a local part
// alone, and its end has nothing.
type address struct {
	name, route, local, domain string
	group                      bool // the beginning or the end of one
}

// maxAddresses bounds those of a field.
const maxAddresses = 10_000

// addresses returns those of a field. What is none is shown as far as it can be.
func addresses(h *mimeraw.Header, name string) []address {
	var out []address
	for _, value := range h.Values(name) {
		s := &addressScanner{text: value}
		for s.at < len(value) && len(out) < maxAddresses {
			out = s.next(out)
		}
		if s.inGroup {
			out = append(out, address{group: true})
		}
	}
	return out
}

// An addressScanner reads a list of addresses (RFC 5322, Section 3.4).
type addressScanner struct {
	text    string
	at      int
	inGroup bool
}

// next reads an address, or the beginning or the end of a group.
func (s *addressScanner) next(out []address) []address {
	var words []string // before what is in angle brackets, or all there is
	var comment, angle string
	hasAngle := false
	end := func() []address {
		a := address{name: strings.Join(words, " ")}
		spec := angle
		if !hasAngle {
			a.name, spec = comment, strings.Join(words, "")
		}
		if route, rest, ok := strings.Cut(spec, ":"); ok && strings.HasPrefix(route, "@") {
			a.route, spec = route, rest
		}
		a.local, a.domain = spec, ""
		if i := strings.LastIndexByte(spec, '@'); i >= 0 {
			a.local, a.domain = spec[:i], spec[i+1:]
		}
		if a == (address{}) && !hasAngle {
			return out // nothing between two commas
		}
		return append(out, a)
	}
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch c {
		case ' ', '\t', '\r', '\n':
		case '(':
			comment = s.comment()
		case '"':
			words = append(words, s.until('"'))
		case '<':
			angle, hasAngle = strings.Join(strings.Fields(s.angle()), ""), true
		case ',':
			return end()
		case ':':
			if !s.inGroup && !hasAngle {
				s.inGroup = true
				return append(out, address{local: strings.Join(words, " "), group: true})
			}
		case ';':
			out = end()
			if s.inGroup {
				s.inGroup = false
				out = append(out, address{group: true})
			}
			return out
		default:
			begin := s.at - 1
			for s.at < len(s.text) && !strings.ContainsRune(" \t\r\n(\"<,:;", rune(s.text[s.at])) {
				s.at++
			}
			words = append(words, s.text[begin:s.at])
		}
	}
	return end()
}

// until reads to an unquoted end, without it and without backslashes.
func (s *addressScanner) until(end byte) string {
	var b strings.Builder
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == end:
			return b.String()
		case c == '\\' && s.at < len(s.text):
			c = s.text[s.at]
			s.at++
		}
		b.WriteByte(c)
	}
	return b.String()
}

// angle reads what is in angle brackets, in which the local part may be quoted.
func (s *addressScanner) angle() string {
	var b strings.Builder
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch c {
		case '>':
			return b.String()
		case '"':
			b.WriteString(s.until('"'))
		case '(':
			s.comment()
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// comment reads a comment, which may have others in it.
func (s *addressScanner) comment() string {
	var b strings.Builder
	for depth := 1; s.at < len(s.text); {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '\\' && s.at < len(s.text):
			c = s.text[s.at]
			s.at++
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return b.String()
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func writeAddresses(w *bufio.Writer, list []address) {
	if len(list) == 0 {
		_, _ = w.WriteString("NIL") // w keeps its error
		return
	}
	_ = w.WriteByte('(')
	for _, a := range list {
		_ = w.WriteByte('(')
		writeOptional(w, a.name, a.name != "")
		_ = w.WriteByte(' ')
		writeOptional(w, a.route, a.route != "")
		_ = w.WriteByte(' ')
		writeOptional(w, a.local, !a.group || a.local != "")
		_ = w.WriteByte(' ')
		writeOptional(w, a.domain, !a.group) // RFC 3501, Section 7.4.2: NIL is for groups
		_ = w.WriteByte(')')
	}
	_ = w.WriteByte(')')
}
