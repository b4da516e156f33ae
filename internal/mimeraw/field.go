package mimeraw

import (
	"bytes"
	"strings"
)

// Field is one header field.
type Field struct {
	// Raw is the field with its folding and line ends, exactly as received.
	// The last field of a header that was cut off may have no line end.
	Raw []byte
}

// Name returns the name of the field as it was written, without the blanks that
// may precede the colon (RFC 5322, Section 4.5). It is empty when there is no
// colon, and when what stands before the colon cannot be a name (because it
// holds blanks or control characters).
func (f Field) Name() string {
	name, _ := f.split()
	return string(name)
}

// Is reports whether the field has the given name, without regard to case.
func (f Field) Is(name string) bool {
	// Most fields have another name, which their first octets tell.
	if len(name) == 0 || len(f.Raw) <= len(name) || f.Raw[0]|0x20 != name[0]|0x20 {
		return false
	}
	own, _ := f.split()
	return len(own) == len(name) && strings.EqualFold(string(own), name)
}

// Value returns what stands after the colon, unfolded (RFC 5322, Section 2.2.3:
// line ends are removed, the blanks after them stay) and without blanks at both
// ends. A field without a name has the whole line as its value.
func (f Field) Value() string {
	_, value := f.split()
	value = trim(value)
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	var b strings.Builder
	b.Grow(len(value))
	for {
		end := bytes.IndexByte(value, '\n')
		if end < 0 {
			b.Write(value)
			return b.String()
		}
		line := value[:end]
		if end > 0 && line[end-1] == '\r' {
			line = line[:end-1]
		}
		b.Write(line)
		value = value[end+1:]
	}
}

// trim takes blanks and line ends off both ends.
func trim(b []byte) []byte {
	space := func(c byte) bool { return isBlank(c) || c == '\r' || c == '\n' }
	for len(b) > 0 && space(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && space(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// split returns the name (nil when it is not valid) and what follows the colon.
func (f Field) split() (name, value []byte) {
	colon := bytes.IndexByte(f.Raw, ':')
	if colon < 0 {
		return nil, f.Raw
	}
	name = f.Raw[:colon]
	for len(name) > 0 && isBlank(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return nil, f.Raw
		}
	}
	if len(name) == 0 {
		return nil, f.Raw
	}
	return name, f.Raw[colon+1:]
}

// NewField returns a field that ends in CRLF. The value is folded at its blanks
// to lines of at most 78 columns where that is possible; unfolding gives the same
// value, less the blanks at both ends.
//
// It returns [ErrField] when the name is not a field name, when the value holds
// CR, LF or NUL, and when a line would be longer than 998 octets.
func NewField(name, value string) (Field, error) {
	// RFC 5322, Section 2.2: a name is of printable US-ASCII except the colon.
	if name == "" || len(name) > 76 {
		return Field{}, ErrField
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return Field{}, ErrField
		}
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return Field{}, ErrField
	}
	value = strings.Trim(value, " \t")
	raw := make([]byte, 0, len(name)+len(value)+len(value)/32+8)
	raw = append(raw, name...)
	raw = append(raw, ':')
	if value == "" {
		return Field{Raw: append(raw, "\r\n"...)}, nil
	}
	return fold(raw, " "+value)
}

// fold appends value, which starts with a blank and does not end in one, to raw
// and folds it before blanks.
func fold(raw []byte, value string) (Field, error) {
	const (
		maxColumns = 78  // RFC 5322, Section 2.1.1: SHOULD
		maxLine    = 998 // RFC 5322, Section 2.1.1: MUST
	)
	column := len(raw)
	for first := true; value != ""; first = false {
		// One piece: blanks, and the word after them. A line therefore never
		// consists of blanks alone, which RFC 5322, Section 3.2.2 forbids.
		word := len(value) - len(strings.TrimLeft(value, " \t"))
		end := len(value)
		if i := strings.IndexAny(value[word:], " \t"); i >= 0 {
			end = word + i
		}
		// The first word leaves the line of the name only when that helps.
		if column+end > maxColumns && (!first || end <= maxColumns) {
			raw = append(raw, "\r\n"...)
			column = 0
		}
		raw = append(raw, value[:end]...)
		if column += end; column > maxLine {
			return Field{}, ErrField
		}
		value = value[end:]
	}
	return Field{Raw: append(raw, "\r\n"...)}, nil
}
