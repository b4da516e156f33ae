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
	expunges int // when it came
	values   map[string]value
}

// A value is what an item has: text as it was, or a literal.
type value struct {
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

// number returns a value that is a number, 0 for others.
func (f *fetched) number(name string) uint32 {
	n, err := strconv.ParseUint(f.values[name].text, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// bytes returns a value that is a string, of at most max octets.
func (v value) bytes(max int64) ([]byte, error) {
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

// parseFetched reads a response. The literals are the result's, which nobody else
// frees, when it is not nil.
func parseFetched(r *response) *fetched {
	p := &responseScanner{segments: r.segments}
	f := &fetched{expunges: r.expunges, values: make(map[string]value)}
	head := string(p.until('('))
	words := strings.Fields(head)
	if len(words) != 3 || words[0] != "*" || upper(words[2]) != "FETCH" {
		return nil
	}
	n, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		return nil
	}
	f.seq = uint32(n)
	for !p.take(')') {
		name, ok := p.name()
		if !ok || !p.take(' ') {
			return nil
		}
		v, ok := p.value(0)
		if !ok {
			return nil
		}
		f.values[name] = v
		p.take(' ')
	}
	return f
}

// A responseScanner reads text with literals in it.
type responseScanner struct {
	segments []segment
	at       int // in the text of the first segment
}

func (p *responseScanner) rest() []byte {
	if len(p.segments) == 0 {
		return nil
	}
	return bytes.TrimRight(p.segments[0].text[min(p.at, len(p.segments[0].text)):], "\r\n")
}

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

// maxNesting bounds the parentheses of a response.
const maxNesting = 200

// value reads a value of any kind.
func (p *responseScanner) value(depth int) (value, bool) {
	rest := p.rest()
	if len(rest) == 0 || depth > maxNesting {
		return value{}, false
	}
	switch rest[0] {
	case '"':
		for i := 1; i < len(rest); i++ {
			switch rest[i] {
			case '\\':
				i++
			case '"':
				p.at += i + 1
				return value{text: string(rest[:i+1])}, true
			}
		}
		return value{}, false
	case '{', '~':
		if bytes.IndexByte(rest, '}') != len(rest)-1 || p.segments[0].literal == nil {
			return value{}, false
		}
		v := value{literal: p.segments[0].literal}
		p.segments, p.at = p.segments[1:], 0
		return v, true
	case '(':
		return p.list(depth)
	}
	end := bytes.IndexAny(rest, " )")
	if end < 0 {
		end = len(rest)
	}
	p.at += end
	return value{text: string(rest[:end])}, end > 0
}

// list reads a parenthesised list. Lists with literals in them are not kept.
func (p *responseScanner) list(depth int) (value, bool) {
	var text strings.Builder
	p.take('(')
	text.WriteByte('(')
	for first := true; !p.take(')'); first = false {
		if !first && !p.take(' ') && !bytes.HasPrefix(p.rest(), []byte("(")) {
			return value{}, false
		}
		v, ok := p.value(depth + 1)
		if !ok {
			return value{}, false
		}
		if text.Len() > 1 {
			text.WriteByte(' ')
		}
		text.WriteString(v.text)
	}
	text.WriteByte(')')
	return value{text: text.String()}, true
}
