// Package oid holds object identifiers: a comparable type, its DER form, and
// the identifiers that S/MIME needs, by the names the RFCs give them.
package oid

import (
	"math/big"
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
	if len(content) == 0 || len(content) > maxContent {
		return "", false
	}
	if o, ok := frequents().fromDER[string(content)]; ok {
		return o, true
	}
	var text [64]byte
	out := text[:0]
	for len(content) > 0 {
		n := 1
		for content[n-1]&0x80 != 0 {
			if n++; n > len(content) {
				return "", false
			}
		}
		if content[0] == 0x80 { // X.690, Section 8.19.2: no padding
			return "", false
		}
		out = appendArc(out, content[:n])
		content = content[n:]
	}
	return OID(out), true
}

// appendArc appends one arc in decimal; for the first one, which stands for
// two, both of them (X.690, Section 8.19.4).
func appendArc(out, digits []byte) []byte {
	if len(digits) <= 9 { // 63 bits
		var arc uint64
		for _, c := range digits {
			arc = arc<<7 | uint64(c&0x7f)
		}
		if len(out) == 0 {
			first := min(arc/40, 2)
			out = strconv.AppendUint(out, first, 10)
			arc -= first * 40
		}
		return strconv.AppendUint(append(out, '.'), arc, 10)
	}
	// The arcs below 2.25 are UUIDs (X.667).
	arc := new(big.Int)
	for _, c := range digits {
		arc.Lsh(arc, 7).Or(arc, big.NewInt(int64(c&0x7f)))
	}
	if len(out) == 0 {
		out = append(out, '2')
		arc.Sub(arc, offset)
	}
	return arc.Append(append(out, '.'), 10)
}

// AppendDER appends the content octets of o to dst. It reports false when o is
// not an object identifier.
func (o OID) AppendDER(dst []byte) ([]byte, bool) {
	if der, ok := frequents().toDER[o]; ok {
		return append(dst, der...), true
	}
	if out, ok := o.appendShort(dst); ok {
		return out, true
	}
	return o.appendAny(dst)
}

// appendShort is AppendDER for what nearly all identifiers are: well formed, of
// arcs of up to 18 digits. It reports false for others.
func (o OID) appendShort(dst []byte) ([]byte, bool) {
	if len(o) < 3 || o[0] < '0' || o[0] > '2' || o[1] != '.' {
		return dst, false
	}
	out, top := dst, uint64(o[0]-'0')
	for i, start := 2, true; i <= len(o); i++ { // past a dot, or its place
		arc, from := uint64(0), i
		for ; i < len(o) && o[i] != '.'; i++ {
			digit := o[i] - '0'
			if digit > 9 {
				return dst, false
			}
			arc = arc*10 + uint64(digit)
		}
		if n := i - from; n == 0 || n > 18 {
			return dst, false
		}
		if start {
			if top < 2 && arc >= 40 {
				return dst, false
			}
			arc += top * 40
			start = false
		}
		out = appendBase128(out, arc)
	}
	return out, true
}

// appendAny is AppendDER for all identifiers.
func (o OID) appendAny(dst []byte) ([]byte, bool) {
	first, rest, more := strings.Cut(string(o), ".")
	if !more || len(first) != 1 || first[0] < '0' || first[0] > '2' {
		return dst, false
	}
	top := uint64(first[0] - '0')
	for start := true; more; start = false {
		var text string
		text, rest, more = strings.Cut(rest, ".")
		if !isDecimal(text) {
			return dst, false
		}
		if len(text) > 18 { // may exceed 63 bits: an arc below 2.25
			large, _ := new(big.Int).SetString(text, 10)
			if start {
				if top < 2 {
					return dst, false
				}
				large.Add(large, offset)
			}
			dst = appendBig(dst, large)
			continue
		}
		arc, _ := strconv.ParseUint(text, 10, 64)
		if start {
			if top < 2 && arc >= 40 {
				return dst, false
			}
			arc += top * 40
		}
		dst = appendBase128(dst, arc)
	}
	return dst, true
}

// offset is what the first arc 2 adds to the second one.
var offset = big.NewInt(80)

func isDecimal(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != "" && len(text) <= 3*maxContent // 128 octets of 7 bits are 270 digits
}

func appendBase128(dst []byte, v uint64) []byte {
	shift := 0
	for v>>(shift+7) > 0 {
		shift += 7
	}
	for ; shift > 0; shift -= 7 {
		dst = append(dst, byte(v>>shift)|0x80)
	}
	return append(dst, byte(v)&0x7f)
}

func appendBig(dst []byte, v *big.Int) []byte {
	for i := max(1, (v.BitLen()+6)/7) - 1; i >= 0; i-- {
		var c byte
		for bit := range 7 {
			c |= byte(v.Bit(7*i+bit)) << bit
		}
		if i > 0 {
			c |= 0x80
		}
		dst = append(dst, c)
	}
	return dst
}
