package mimeraw

import (
	"errors"
	"slices"
	"strings"
)

// ErrMediaType is returned by [ParseMediaType] when there is no type with a
// subtype.
var ErrMediaType = errors.New("mimeraw: not a media type")

// MediaType is the value of a Content-Type field (RFC 2045, Section 5.1) or of a
// field with the same form.
type MediaType struct {
	// Type is the type and subtype in lower case, such as "text/plain".
	Type string

	// Params holds the parameters under their names in lower case, with
	// quoting, continuations and percent encoding removed. Values are not
	// trustworthy: they may hold any octets, line ends included.
	Params map[string]string
}

// ParseMediaType reads a media type as it is found in mail. Beyond the grammar of
// RFC 2045, Section 5.1 and RFC 2231 it takes comments and blanks anywhere,
// values that should be quoted but are not (up to the next semicolon), missing
// and superfluous semicolons, and quotation marks that are never closed. Of two
// parameters with the same name the first one counts; one in the form of RFC 2231
// counts before a plain one. A backslash in the value of "name" or "filename" is
// kept when neither a quotation mark nor a backslash follows, because old
// programs put paths there.
//
// Values in US-ASCII, UTF-8 and ISO 8859-1 (RFC 2231, Section 4) are returned in
// UTF-8; those in another charset as the octets that they are.
//
// The error is [ErrMediaType] when there is no type with a subtype. The
// parameters, which are never nil, and what there is of a type are returned also
// then: Content-Disposition can so be read with this function.
func ParseMediaType(value string) (MediaType, error) {
	s := mediaScanner{s: value}
	m := MediaType{}
	s.skip()
	start := s.i
	m.Type = s.token()
	slash := s.i
	s.skip()
	var err error
	if s.next() == '/' && m.Type != "" {
		s.i++
		s.skip()
		joined := s.i == slash+1 // as it should be: nothing around the slash
		switch sub := s.token(); {
		case sub == "":
			err = ErrMediaType
		case joined:
			m.Type = s.s[start:s.i]
		default:
			m.Type += "/" + sub
		}
	} else {
		err = ErrMediaType
	}
	m.Type = strings.ToLower(m.Type)
	m.Params = s.params()
	return m, err
}

// mediaScanner goes through the value of a field.
type mediaScanner struct {
	s string
	i int
}

// next returns the octet at hand, or 0 at the end.
func (s *mediaScanner) next() byte {
	if s.i < len(s.s) {
		return s.s[s.i]
	}
	return 0
}

// skip goes over white space and comments.
func (s *mediaScanner) skip() {
	for s.i < len(s.s) {
		switch s.s[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		case '(':
			s.i = s.comment()
		default:
			return
		}
	}
}

// comment returns the index after the comment that starts here (RFC 5322,
// Section 3.2.2). One that is not closed reaches to the end.
func (s *mediaScanner) comment() int {
	depth := 0
	for i := s.i; i < len(s.s); i++ {
		switch s.s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s.s)
}

// token reads a token, which may be empty.
func (s *mediaScanner) token() string {
	start := s.i
	for s.i < len(s.s) && isToken(s.s[s.i]) {
		s.i++
	}
	return s.s[start:s.i]
}

// isToken reports whether c may be in a token (RFC 2045, Section 5.1).
func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// params reads all parameters.
func (s *mediaScanner) params() map[string]string {
	list := paramList{plain: map[string]string{}}
	for s.i < len(s.s) {
		s.skip()
		name := strings.ToLower(s.token())
		if name == "" {
			s.i++ // a semicolon, or something that has no place here
			continue
		}
		s.skip()
		if s.next() != '=' {
			continue
		}
		s.i++
		s.skip()
		if s.next() == '"' {
			list.add(name, s.quoted(name == "name" || name == "filename"))
		} else {
			list.add(name, s.bare())
		}
	}
	return list.join()
}

// quoted reads a quoted string (RFC 5322, Section 3.2.4).
func (s *mediaScanner) quoted(path bool) string {
	s.i++
	// Nearly all are as they stand.
	if n := strings.IndexAny(s.s[s.i:], "\"\r\n\\"); n >= 0 && s.s[s.i+n] == '"' {
		value := s.s[s.i : s.i+n]
		s.i += n + 1
		return value
	}
	var b strings.Builder
	for i := s.i; i < len(s.s); i++ {
		c := s.s[i]
		switch c {
		case '"':
			s.i = i + 1
			return b.String()
		case '\r', '\n': // folding
			continue
		case '\\':
			if i+1 < len(s.s) && (!path || s.s[i+1] == '"' || s.s[i+1] == '\\') {
				i++
				c = s.s[i]
			}
		}
		b.WriteByte(c)
	}
	return s.bare() // never closed
}

// bare reads a value without quotation marks, up to a semicolon, a comment or
// the next parameter. Blanks within it are kept.
func (s *mediaScanner) bare() string {
	start, end := s.i, s.i
	for s.i < len(s.s) {
		c := s.s[s.i]
		if c == ';' {
			break
		}
		switch {
		case c == '(':
			// A comment, unless a word goes on after it, as in file(1).txt.
			s.i = s.comment()
			if s.i == len(s.s) || s.next() == ';' || isSpace(s.next()) {
				return s.s[start:end]
			}
			end = s.i
		case isSpace(c):
			for isSpace(s.next()) {
				s.i++
			}
			if s.isParam() {
				return s.s[start:end]
			}
		default:
			s.i++
			end = s.i
		}
	}
	return s.s[start:end]
}

// isSpace reports whether c is white space between tokens.
func isSpace(c byte) bool { return isBlank(c) || c == '\r' || c == '\n' }

// isParam reports whether a parameter follows.
func (s *mediaScanner) isParam() bool {
	ahead := *s
	return ahead.token() != "" && ahead.next() == '='
}

// String returns the media type in the form of RFC 2045, Section 5.1, without
// folding: parameters sorted by name, values quoted when they must be, and in the
// form of RFC 2231 when they hold octets that are not printable US-ASCII.
// Parameters whose names are not tokens are left out.
func (m MediaType) String() string {
	names := make([]string, 0, len(m.Params))
	for name := range m.Params {
		if name != "" && strings.IndexFunc(name, notInName) < 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(m.Type)
	for _, name := range names {
		b.WriteString("; ")
		b.WriteString(name)
		writeValue(&b, m.Params[name])
	}
	return b.String()
}

// notInName reports whether r cannot be in the name of a parameter. The asterisk
// is a token character, but RFC 2231 gives it a meaning.
func notInName(r rune) bool {
	return r >= 0x7f || !isToken(byte(r)) || r == '*'
}

// writeValue writes the end of a name, the equals sign and the value.
func writeValue(b *strings.Builder, value string) {
	token, printable := value != "", true
	for i := range len(value) {
		c := value[i]
		token = token && isToken(c)
		printable = printable && c >= ' ' && c < 0x7f
	}
	switch {
	case !printable:
		b.WriteString("*=utf-8''")
		writePercent(b, value)
	case token:
		b.WriteByte('=')
		b.WriteString(value)
	default:
		b.WriteString(`="`)
		for i := range len(value) {
			if value[i] == '"' || value[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(value[i])
		}
		b.WriteByte('"')
	}
}
