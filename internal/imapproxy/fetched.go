package imapproxy

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/postseal/postseal/internal/spool"
)

// A fetched is a response to FETCH that was read.
type fetched struct {
	seq      uint32
	uid      uint32 // 0 when it is not there
	expunges int    // when it came
	values   []value
}

// A value is what an item has: text as it was, with short literals in it, or a
// literal.
type value struct {
	name    string // in upper case
	text    string
	literal *spool.Buffer
}

// free frees the literals.
func (f *fetched) free() {
	for _, v := range f.values {
		if v.literal != nil {
			_ = v.literal.Close()
		}
	}
}

// get returns the value of an item, nil when it is not there.
func (f *fetched) get(name string) *value {
	for i := range f.values {
		if f.values[i].name == name {
			return &f.values[i]
		}
	}
	return nil
}

// bytes returns a value that is a string, of at most max octets.
func (v *value) bytes(max int64) ([]byte, error) {
	if v.literal != nil {
		return io.ReadAll(io.LimitReader(v.literal.NewReader(), max))
	}
	if strings.HasPrefix(v.text, `"`) {
		s := &scanner{text: v.text}
		text, _ := s.astring()
		return []byte(text), nil
	}
	return nil, nil // NIL
}

// maxFlat bounds literals that are taken for text, in octets.
const maxFlat = 64 << 10

// parseFetched reads a response. The literals are the result's, which nobody else
// frees, when it is not nil.
func parseFetched(r *response) *fetched {
	p := &responseScanner{}
	p.begin(r.segments)
	f := &fetched{expunges: r.expunges, values: make([]value, 0, 2)}
	head, ok := bytes.CutPrefix(p.until('('), []byte("* "))
	number, word, _ := bytes.Cut(head, []byte(" "))
	if !ok || !bytes.EqualFold(bytes.TrimSpace(word), []byte("FETCH")) {
		return nil
	}
	if f.seq, ok = number32(string(number)); !ok {
		return nil
	}
	var flat []*spool.Buffer // which the result does not hold
	for !p.take(')') {
		v := value{}
		if v.name, ok = p.name(); !ok || !p.take(' ') || !p.value(&v) {
			return nil
		}
		if v.literal != nil && !strings.HasPrefix(v.name, "BODY[") {
			flat = append(flat, v.literal)
			if v.text, ok = flatten(v.text, v.literal); !ok {
				return nil
			}
			v.literal = nil
		}
		if v.name == "UID" {
			f.uid, _ = number32(v.text)
		}
		f.values = append(f.values, v)
		p.take(' ')
	}
	for _, b := range append(flat, p.passed...) {
		_ = b.Close()
	}
	return f
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func number32(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

// flatten returns a literal as text.
func flatten(announcement string, literal *spool.Buffer) (string, bool) {
	if literal.Size() > maxFlat {
		return "", false
	}
	data, err := io.ReadAll(literal.NewReader())
	return announcement + "\r\n" + string(data), err == nil
}

// A responseScanner reads text with literals in it.
type responseScanner struct {
	segments []segment
	line     []byte          // the text of the first segment, without its end
	at       int             // in line
	passed   []*spool.Buffer // literals that have become text
}

// begin begins to read segments.
func (p *responseScanner) begin(segments []segment) {
	p.segments, p.line, p.at = segments, nil, 0
	if len(segments) > 0 {
		p.line = trimEnd(segments[0].text)
	}
}

func (p *responseScanner) rest() []byte { return p.line[min(p.at, len(p.line)):] }

func (p *responseScanner) take(c byte) bool {
	if rest := p.rest(); len(rest) > 0 && rest[0] == c {
		p.at++
		return true
	}
	return false
}

// until returns the text before a character, which is passed over.
func (p *responseScanner) until(c byte) []byte {
	before, _, ok := bytes.Cut(p.rest(), []byte{c})
	if !ok {
		return nil
	}
	p.at += len(before) + 1
	return before
}

// name reads the name of an item, what stands in brackets with it, in upper case.
func (p *responseScanner) name() (string, bool) {
	rest := p.rest()
	depth := 0
	for i, c := range rest {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ' ' && depth == 0:
			p.at += i
			return upper(string(rest[:i])), i > 0
		}
	}
	return "", false
}

// value reads a value of any kind. That of a literal is its announcement and the
// literal.
func (p *responseScanner) value(v *value) bool {
	if rest := p.rest(); len(rest) > 0 && (rest[0] == '{' || rest[0] == '~') {
		if bytes.IndexByte(rest, '}') != len(rest)-1 || p.segments[0].literal == nil {
			return false
		}
		v.text, v.literal = string(rest), p.segments[0].literal
		p.begin(p.segments[1:])
		return true
	}
	var ok bool
	v.text, ok = p.text()
	return ok
}

// text reads a word, a quoted string or a parenthesised list, with the literals
// in it.
func (p *responseScanner) text() (string, bool) {
	var done strings.Builder // of the segments before
	begin, depth, quoted := p.at, 0, false
	for len(p.segments) > 0 {
		rest := p.rest()
		if len(rest) == 0 {
			// The end of a segment: its literal is a part of the list.
			literal := p.segments[0].literal
			if literal == nil || depth == 0 || quoted {
				return "", false
			}
			flat, ok := flatten(string(p.line[begin:]), literal)
			if !ok || done.Len() > maxFlat {
				return "", false
			}
			done.WriteString(flat)
			p.passed = append(p.passed, literal)
			p.begin(p.segments[1:])
			begin = 0
			continue
		}
		text := p.line
		switch c := rest[0]; {
		case quoted && c == '\\':
			p.at++
		case c == '"':
			if quoted = !quoted; !quoted && depth == 0 {
				p.at++
				return string(text[begin:p.at]), true
			}
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth <= 1:
			if depth == 1 {
				p.at++
			}
			end := string(text[begin:p.at])
			return done.String() + end, len(end) > 0
		case c == ')':
			depth--
		case c == ' ' && depth == 0:
			return string(text[begin:p.at]), p.at > begin
		}
		p.at++
	}
	return "", false
}
