package smtpproxy

// A textFilter reads the text of DATA (RFC 5321, Section 4.5.2) and writes it
// anew, so that its end, its lines and its dots are the same for every reader:
// CRLF.CRLF ends it, and a bare CR or LF becomes CRLF. The zero value is at the
// beginning of a text.
type textFilter struct {
	text  dotted
	state int
}

// States of a textFilter; the zero value is the beginning of a line.
const (
	atStart = iota
	afterDot
	afterDotCR
	afterCR
	inText
)

// filter takes octets, and returns what they become, which is valid until the
// next call. When the text has ended it returns what followed it as well.
func (t *textFilter) filter(p []byte) (out, rest []byte, ended bool) {
	t.text.empty()
	slow := 0 // up to where it goes octet by octet
	for i := 0; i < len(p); i++ {
		c := p[i]
		if i >= slow && (t.state == inText || t.state == atStart && c != '.') {
			if n := t.text.line(p[i:]); n > 0 {
				t.state = atStart
				i += n - 1
				continue
			}
			slow = i + lineLength(p[i:])
		}
		switch {
		case t.state == afterDotCR && c == '\n':
			t.text.end()
			return t.text.out, p[i+1:], true
		case t.state == atStart && c == '.':
			t.state = afterDot
			continue
		case t.state == afterDot && c == '\r':
			t.state = afterDotCR
			continue
		case t.state == afterDotCR:
			t.state = afterCR
			t.text.put('\r')
		}
		t.text.put(c)
		switch {
		case c == '\r':
			t.state = afterCR
		case c == '\n' && t.state == afterCR:
			t.state = atStart
		default:
			t.state = inText
		}
	}
	return t.text.out, nil, false
}
