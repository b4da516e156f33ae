package imapproxy

import (
	"slices"
	"strconv"
	"strings"
)

// An item is one of those that FETCH asks for.
type item struct {
	name string // in upper case: "FLAGS", "BODY", "BINARY", "RFC822.HEADER", …
	raw  string // as the client wrote it
	is   string // the same in upper case

	// What stands in brackets, for BODY, BINARY and BINARY.SIZE.
	bracket bool
	path    []int
	what    string   // "", "HEADER", "TEXT", "MIME", "HEADER.FIELDS" or "HEADER.FIELDS.NOT"
	fields  []string // of a header, in upper case
	section string   // as it is to be answered
	partial bool
	offset  int64
	count   int64
	peek    bool
}

// content reports whether an item is answered from the rendering.
func (i *item) content() bool {
	switch i.name {
	case "BODY", "BODYSTRUCTURE", "ENVELOPE", "RFC822", "RFC822.SIZE", "RFC822.HEADER", "RFC822.TEXT", "BINARY", "BINARY.SIZE", "PREVIEW":
		return true
	}
	return false
}

// seen reports whether fetching an item sets \Seen (RFC 3501, Section 6.4.5;
// RFC 3516, Section 4.3).
func (i *item) seen() bool {
	switch i.name {
	case "RFC822", "RFC822.TEXT":
		return true
	case "BODY", "BINARY":
		return i.bracket && !i.peek
	}
	return false
}

// A fetch is a FETCH command.
type fetch struct {
	tag       string
	uid       bool
	set       string
	items     []item
	modifiers string // in parentheses, or ""
	rest      string // what follows the set, as the client wrote it
}

// asks reports whether f has an item, by its name in upper case.
func (f *fetch) asks(name string) bool {
	return slices.ContainsFunc(f.items, func(i item) bool { return i.is == name })
}

// macros are short for several items (RFC 3501, Section 6.4.5).
var macros = map[string]string{
	"ALL":  "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE",
	"FAST": "FLAGS INTERNALDATE RFC822.SIZE",
	"FULL": "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY",
}

// parseFetch reads a FETCH command, literals in place. It returns false for what
// is not understood, which the server may judge.
func parseFetch(tag string, uid bool, args string) (*fetch, bool) {
	set, rest, ok := strings.Cut(args, " ")
	if !ok || set == "" {
		return nil, false
	}
	f := &fetch{tag: tag, uid: uid, set: set, rest: rest}
	s := &scanner{text: rest}
	if expanded, isMacro := macros[upper(s.peekWord())]; isMacro {
		s.word()
		for word := range strings.FieldsSeq(expanded) {
			f.items = append(f.items, item{name: word, raw: word, is: word})
		}
	} else if s.take('(') {
		for !s.take(')') {
			one, itemOK := s.item()
			if !itemOK {
				return nil, false
			}
			f.items = append(f.items, one)
			s.take(' ')
		}
	} else {
		one, itemOK := s.item()
		if !itemOK {
			return nil, false
		}
		f.items = append(f.items, one)
	}
	if s.take(' ') {
		f.modifiers = s.text[s.at:]
		s.at = len(s.text)
		if !strings.HasPrefix(f.modifiers, "(") || !strings.HasSuffix(f.modifiers, ")") {
			return nil, false
		}
	}
	return f, s.at == len(s.text) && len(f.items) > 0
}

// A scanner reads a command.
type scanner struct {
	text string
	at   int
}

func (s *scanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// wordEnd is the end of the word at s.at: letters, digits, dots and hyphens.
func (s *scanner) wordEnd() int {
	i := s.at
	for i < len(s.text) && (s.text[i] == '.' || s.text[i] == '-' || s.text[i] >= '0' && s.text[i] <= '9' ||
		s.text[i] >= 'A' && s.text[i] <= 'Z' || s.text[i] >= 'a' && s.text[i] <= 'z') {
		i++
	}
	return i
}

func (s *scanner) peekWord() string { return s.text[s.at:s.wordEnd()] }

func (s *scanner) word() string {
	w := s.peekWord()
	s.at += len(w)
	return w
}

// item reads one item.
func (s *scanner) item() (item, bool) {
	begin := s.at
	one := item{name: upper(s.word())}
	if base, ok := strings.CutSuffix(one.name, ".PEEK"); ok {
		one.name, one.peek = base, true
	}
	if one.name == "" {
		return one, false
	}
	if s.take('[') {
		one.bracket = true
		if one.name != "BODY" && one.name != "BINARY" && one.name != "BINARY.SIZE" || !s.section(&one) || !s.partial(&one) {
			return one, false
		}
	} else if one.peek || one.name == "BINARY" || one.name == "BINARY.SIZE" {
		return one, false
	}
	if one.name == "PREVIEW" && strings.HasPrefix(upper(s.text[s.at:]), " (LAZY)") { // RFC 8970, Section 4.1
		s.at += len(" (LAZY)")
	}
	one.raw = s.text[begin:s.at]
	one.is = upper(one.raw)
	return one, true
}

// section reads what stands in brackets, and the closing one.
func (s *scanner) section(one *item) bool {
	begin := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		n := s.number()
		if n < 1 || n > 1<<20 || len(one.path) == 100 {
			return false
		}
		one.path = append(one.path, int(n))
		if !s.take('.') {
			break
		}
	}
	one.what = upper(s.word())
	one.section = strings.TrimSuffix(s.text[begin:s.at], one.what)
	switch one.what {
	case "", "HEADER", "TEXT":
	case "MIME":
		if len(one.path) == 0 {
			return false
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		if !s.take(' ') || !s.take('(') || !s.fieldNames(one) {
			return false
		}
	default:
		return false
	}
	if one.name != "BODY" && one.what != "" || strings.HasSuffix(s.text[begin:s.at], ".") {
		return false
	}
	one.section = upper(s.text[begin:s.at])
	return s.take(']')
}

// fieldNames reads the names of header fields, and the closing parenthesis.
func (s *scanner) fieldNames(one *item) bool {
	for !s.take(')') {
		name, ok := s.astring()
		if !ok || name == "" || len(one.fields) == 500 {
			return false
		}
		one.fields = append(one.fields, upper(name))
		s.take(' ')
	}
	return len(one.fields) > 0
}

// astring reads an atom or a quoted string. Literals have been made quoted
// strings before.
func (s *scanner) astring() (string, bool) {
	if !s.take('"') {
		begin := s.at
		for s.at < len(s.text) && !strings.ContainsRune(" ()\"[]{}\\%*", rune(s.text[s.at])) {
			s.at++
		}
		return s.text[begin:s.at], s.at > begin
	}
	var b strings.Builder
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return b.String(), true
		case c == '\\' && s.at < len(s.text):
			c = s.text[s.at]
			s.at++
		}
		b.WriteByte(c)
	}
	return "", false
}

// partial reads <offset.count>.
func (s *scanner) partial(one *item) bool {
	if !s.take('<') {
		return true
	}
	one.partial = true
	one.offset = s.number()
	if !s.take('.') {
		return false
	}
	one.count = s.number()
	return one.offset >= 0 && one.count > 0 && s.take('>')
}

// number reads digits; it is -1 when there are none, or too many.
func (s *scanner) number() int64 {
	begin := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	n, err := strconv.ParseInt(s.text[begin:s.at], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
