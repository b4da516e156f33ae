package mimeraw

import (
	"strconv"
	"strings"
)

// maxSections is how many sections of one parameter are joined.
const maxSections = 1000

// section is one piece of a parameter that was split (RFC 2231, Section 3).
type section struct {
	value    string
	extended bool // percent encoded, the first one with a charset
}

// paramList gathers parameters as they come.
type paramList struct {
	plain    map[string]string
	extended map[string]string          // name*=charset'lang'value
	split    map[string]map[int]section // name*0, name*0*
}

// add takes one parameter under its name as written, in lower case. The first of
// a name wins.
func (l *paramList) add(name, value string) {
	base, extended := strings.CutSuffix(name, "*")
	number := -1
	if star := strings.LastIndexByte(base, '*'); star >= 0 {
		n, ok := sectionNumber(base[star+1:])
		if !ok {
			return
		}
		base, number = base[:star], n
	}
	if base == "" || strings.IndexByte(base, '*') >= 0 {
		return
	}
	switch {
	case number >= 0:
		if l.split == nil {
			l.split = map[string]map[int]section{}
		}
		if l.split[base] == nil {
			l.split[base] = map[int]section{}
		}
		if _, ok := l.split[base][number]; !ok {
			l.split[base][number] = section{value, extended}
		}
	case extended:
		if l.extended == nil {
			l.extended = map[string]string{}
		}
		if _, ok := l.extended[base]; !ok {
			l.extended[base] = value
		}
	default:
		if _, ok := l.plain[base]; !ok {
			l.plain[base] = value
		}
	}
}

// sectionNumber reads the number of a section. RFC 2231, Section 3: no leading
// zeros.
func sectionNumber(s string) (int, bool) {
	if len(s) > 1 && s[0] == '0' || len(s) > 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n < maxSections
}

// join returns the parameters, decoded and put together.
func (l *paramList) join() map[string]string {
	for name, sections := range l.split {
		if value, ok := joinSections(sections); ok {
			l.plain[name] = value
		}
	}
	for name, value := range l.extended {
		charset, text := cutCharset(value)
		l.plain[name] = toUTF8(charset, percentDecode(text))
	}
	return l.plain
}

// joinSections joins sections from number 0 up to the first that is missing.
func joinSections(sections map[int]section) (string, bool) {
	first, ok := sections[0]
	if !ok {
		return "", false
	}
	charset := ""
	if first.extended {
		charset, first.value = cutCharset(first.value)
		sections[0] = first
	}
	var b strings.Builder
	for n := 0; ; n++ {
		s, more := sections[n]
		if !more {
			break
		}
		if s.extended {
			s.value = percentDecode(s.value)
		}
		b.WriteString(s.value)
	}
	return toUTF8(charset, b.String()), true
}

// cutCharset splits charset'language'text (RFC 2231, Section 4). Without both
// quotes, all of it is text.
func cutCharset(s string) (charset, text string) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	if _, text, ok = strings.Cut(rest, "'"); !ok {
		return "", s
	}
	return strings.ToLower(charset), text
}

// toUTF8 converts ISO 8859-1 to UTF-8 and leaves everything else as it is.
func toUTF8(charset, s string) string {
	if charset != "iso-8859-1" {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// percentDecode decodes %XX; a percent sign without two digits stays.
func percentDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// writePercent writes s as RFC 2231, Section 7 wants it: letters, digits and a
// few marks as they are, everything else as %XX.
func writePercent(b *strings.Builder, s string) {
	for i := range len(s) {
		c := s[i]
		if isToken(c) && c != '*' && c != '\'' && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
	}
}

// upperHex holds the hexadecimal digits.
const upperHex = "0123456789ABCDEF"

// hexValue returns the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
