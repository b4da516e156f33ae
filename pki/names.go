package pki

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// String types that cryptobyte has no names for (X.680, Section 8.4).
const (
	tagNumericString   = asn1.Tag(18)
	tagVisibleString   = asn1.Tag(26)
	tagUniversalString = asn1.Tag(28)
	tagBMPString       = asn1.Tag(30)
)

// An attribute is an AttributeTypeAndValue (RFC 5280, Section 4.1.2.4).
type attribute struct {
	typ     oid.OID
	tag     asn1.Tag
	content []byte
	element []byte // the value with tag and length
}

// Keywords of RFC 4514, Section 3, and the customary ones of OpenSSL.
var attributeNames = map[oid.OID]string{
	"2.5.4.3":                    "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "street",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "title",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"2.5.4.97":                   "organizationIdentifier",
	oid.DNEmailAddress:           "emailAddress",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
}

// readName splits a Name into its RDNs, as far as it can be read; ok tells
// whether that was all of it.
func readName(raw []byte) (rdns [][]attribute, ok bool) {
	s := cryptobyte.String(raw)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() {
		return nil, false
	}
	for !seq.Empty() {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, asn1.SET) {
			return rdns, false
		}
		var rdn []attribute
		for !set.Empty() {
			var pair, element cryptobyte.String
			var a attribute
			if !set.ReadASN1(&pair, asn1.SEQUENCE) || !der.ReadOID(&pair, &a.typ) ||
				!pair.ReadAnyASN1Element(&element, &a.tag) || !pair.Empty() {
				return rdns, false
			}
			a.element = element
			var content cryptobyte.String
			if !element.ReadAnyASN1(&content, &a.tag) {
				return rdns, false
			}
			a.content = content
			rdn = append(rdn, a)
		}
		rdns = append(rdns, rdn)
	}
	return rdns, true
}

// text returns the value as a string, when it is one of the string types.
func (a *attribute) text() (string, bool) { return decodeString(a.tag, a.content) }

func decodeString(tag asn1.Tag, content []byte) (string, bool) {
	switch tag {
	case asn1.UTF8String:
		return string(content), utf8.Valid(content)
	case asn1.PrintableString, asn1.IA5String, tagVisibleString, tagNumericString, asn1.GeneralString:
		if utf8.Valid(content) { // QUIRK: these are ASCII, but UTF-8 is found in them
			return string(content), true
		}
		return latin1(content), true
	case asn1.T61String:
		// RFC 5280, Appendix B: TeletexString, in practice, holds ISO 8859-1.
		return latin1(content), true
	case tagBMPString:
		if len(content)%2 != 0 {
			return "", false
		}
		units := make([]uint16, 0, len(content)/2)
		for i := 0; i < len(content); i += 2 {
			units = append(units, uint16(content[i])<<8|uint16(content[i+1]))
		}
		return string(utf16.Decode(units)), true
	case tagUniversalString:
		if len(content)%4 != 0 {
			return "", false
		}
		runes := make([]rune, 0, len(content)/4)
		for i := 0; i < len(content); i += 4 {
			v := uint32(content[i])<<24 | uint32(content[i+1])<<16 | uint32(content[i+2])<<8 | uint32(content[i+3])
			if v > unicode.MaxRune {
				return "", false
			}
			runes = append(runes, rune(v))
		}
		return string(runes), true
	}
	return "", false
}

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// NameText writes a Name as RFC 4514 has it. What cannot be read is shown as a
// last part "#…" of hexadecimal digits.
func NameText(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	rdns, ok := readName(raw)
	var b strings.Builder
	if !ok {
		b.WriteString("#" + hex.EncodeToString(raw[:min(len(raw), 64)]))
	}
	// RFC 4514, Section 2.1: from the last RDN to the first.
	for _, rdn := range slices.Backward(rdns) {
		for i := range rdn {
			switch {
			case i > 0:
				b.WriteByte('+')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			writeAttribute(&b, &rdn[i])
		}
	}
	return b.String()
}

func writeAttribute(b *strings.Builder, a *attribute) {
	name, known := attributeNames[a.typ]
	if !known {
		name = a.typ.String()
	}
	b.WriteString(name)
	b.WriteByte('=')
	text, ok := a.text()
	if !ok { // RFC 4514, Section 2.4: the octets of the BER encoding
		b.WriteString("#" + hex.EncodeToString(a.element))
		return
	}
	for i, r := range text {
		// RFC 4514, Section 2.4: what has to be escaped.
		switch {
		case strings.ContainsRune(`"+,;<>\`, r), i == 0 && (r == ' ' || r == '#'), i == len(text)-1 && r == ' ':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			writePrintable(b, r)
		}
	}
}

// writePrintable writes r, or \XX for each octet of it when it does not print.
func writePrintable(b *strings.Builder, r rune) {
	if unicode.IsPrint(r) {
		b.WriteRune(r)
		return
	}
	const digits = "0123456789ABCDEF"
	for _, c := range []byte(string(r)) {
		b.Write([]byte{'\\', digits[c>>4], digits[c&15]})
	}
}

func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		writePrintable(&b, r)
	}
	return b.String()
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func commonName(raw []byte) string {
	rdns, _ := readName(raw)
	for _, rdn := range slices.Backward(rdns) {
		for i := range rdn {
			if text, ok := rdn[i].text(); ok && rdn[i].typ == "2.5.4.3" {
				return printable(text)
			}
		}
	}
	return ""
}

// NamesEqual reports whether two Names (whole elements, such as RawIssuer and
// RawSubject) are the same: equal octets, or equal by the rules of RFC 5280,
// Section 7.1: RDN by RDN, the attributes of each in any order, string types
// converted, letters compared without case, and white space at the ends left
// out and elsewhere taken as one space. Unicode normalisation is not done.
func NamesEqual(a, b []byte) bool {
	return bytes.Equal(a, b) || foldName(a) == foldName(b)
}

// foldName returns a string that two Names share if and only if they are the
// same. A name that cannot be read is the same as itself alone.
func foldName(raw []byte) string {
	rdns, ok := foldRDNs(raw)
	if !ok {
		return "?" + string(raw)
	}
	var b strings.Builder
	for _, rdn := range rdns {
		b.WriteString("/" + rdn)
	}
	return b.String()
}

// foldRDNs is foldName for each RDN of a Name that can be read.
func foldRDNs(raw []byte) ([]string, bool) {
	rdns, ok := readName(raw)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(rdns))
	for _, rdn := range rdns {
		parts := make([]string, 0, len(rdn))
		for i := range rdn {
			value := "#" + string(rdn[i].element)
			if text, isText := rdn[i].text(); isText {
				value = "=" + foldText(text)
			}
			parts = append(parts, rdn[i].typ.String()+strconv.Quote(value))
		}
		slices.Sort(parts)
		out = append(out, strings.Join(parts, "+"))
	}
	return out, true
}

// foldText follows the steps of RFC 4518 that RFC 5280, Section 7.1 needs:
// case folding and insignificant space handling.
func foldText(s string) string {
	return strings.ToLower(strings.ToUpper(strings.Join(strings.Fields(s), " ")))
}
