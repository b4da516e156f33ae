// Package oid holds object identifiers: a comparable type, its DER form, and
// the identifiers that S/MIME needs, by the names the RFCs give them.
package oid

import (
	"strconv"
	"strings"
)

// An OID is an object identifier in dotted decimal, such as
// "1.2.840.113549.1.7.1". It is comparable and can be a map key or a constant.
type OID string

// String returns the dotted decimal form.
func (o OID) String() string { return string(o) }

// maxContent bounds the content octets of an identifier that is read. The
// longest in use have about twenty.
const maxContent = 128

// FromDER decodes the content octets of an OBJECT IDENTIFIER
// (X.690, Section 8.19). It reports false when they are not one.
func FromDER(content []byte) (OID, bool) {
	if len(content) == 0 || len(content) > maxContent || content[len(content)-1]&0x80 != 0 {
		return "", false
	}
	var text [64]byte
	out := text[:0]
	var arc uint64
	start := true
	for _, c := range content {
		if start && c == 0x80 { // X.690, Section 8.19.2: no padding
			return "", false
		}
		if arc > 1<<56 {
			return "", false
		}
		arc = arc<<7 | uint64(c&0x7f)
		if start = c&0x80 == 0; !start {
			continue
		}
		if len(out) == 0 {
			first := min(arc/40, 2)
			out = strconv.AppendUint(out, first, 10)
			arc -= first * 40
		}
		out = append(out, '.')
		out = strconv.AppendUint(out, arc, 10)
		arc = 0
	}
	return OID(out), true
}

// AppendDER appends the content octets of o to dst. It reports false when o is
// not an object identifier.
func (o OID) AppendDER(dst []byte) ([]byte, bool) {
	first, rest, ok := strings.Cut(string(o), ".")
	if !ok || rest == "" {
		return dst, false
	}
	top, err := strconv.ParseUint(first, 10, 8)
	if err != nil || top > 2 {
		return dst, false
	}
	for n := 0; rest != ""; n++ {
		var part string
		part, rest, ok = strings.Cut(rest, ".")
		arc, err := strconv.ParseUint(part, 10, 56)
		if err != nil || (ok && rest == "") || (n == 0 && top < 2 && arc >= 40) {
			return dst, false
		}
		if n == 0 {
			arc += top * 40
		}
		dst = appendBase128(dst, arc)
	}
	return dst, true
}

func appendBase128(dst []byte, v uint64) []byte {
	n := 1
	for w := v >> 7; w > 0; w >>= 7 {
		n++
	}
	for i := n - 1; i >= 0; i-- {
		c := byte(v>>(7*uint(i))) & 0x7f
		if i > 0 {
			c |= 0x80
		}
		dst = append(dst, c)
	}
	return dst
}
