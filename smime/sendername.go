package smime

import (
	"io"
	"mime"
	"slices"
	"strings"
	"unicode"

	"github.com/postseal/postseal/pki"
)

const whatOrder = "a sender's name has characters that change the direction of writing"

// problems judges the name, and the comments, which some programs show as name.
func (m *mailbox) problems() []error {
	var out []error
	for _, text := range append([]string{m.name}, m.comments...) {
		text = decodeName(text)
		if showsOther(text, m.isOwn) {
			out = append(out, &DisplayNameError{Name: text, Address: m.address})
		}
		if strings.ContainsFunc(text, reorders) {
			out = append(out, &StructureError{What: whatOrder})
		}
	}
	return out
}

// isOwn reports whether a text is the address itself.
func (m *mailbox) isOwn(text string) bool { return strings.EqualFold(text, m.address) }

// pretends returns a name or comment that shows an address which is neither the
// sender's nor one of the signer's, or "".
func (m *mailbox) pretends(signer *pki.Certificate) string {
	for _, text := range append([]string{m.name}, m.comments...) {
		text = decodeName(text)
		if showsOther(text, func(word string) bool { return m.isOwn(word) || signer.HasEmail(word) }) {
			return text
		}
	}
	return ""
}

// decodeName decodes encoded words (RFC 2047), also where they do not count but
// are decoded by some. Of character sets that are not known, only what is ASCII
// in them is right.
func decodeName(name string) string {
	decoder := mime.WordDecoder{CharsetReader: asciiOf}
	if decoded, err := decoder.DecodeHeader(name); err == nil {
		return decoded
	}
	return name
}

// asciiOf makes the ASCII characters of a text in any character set visible, of
// those in two octets and of UTF-7 (RFC 2152), too.
func asciiOf(charset string, input io.Reader) (io.Reader, error) {
	octets, err := io.ReadAll(input)
	if err != nil {
		return nil, err
	}
	text := strings.Map(func(r rune) rune {
		switch {
		case r == 0:
			return -1
		case r >= 0x80:
			return unicode.ReplacementChar
		}
		return r
	}, string(octets))
	if strings.EqualFold(charset, "utf-7") {
		// The at sign alone, and after or before others.
		for _, at := range []string{"+AEA-", "+AEA", "AEA-", "AEA", "AQ"} {
			text = strings.ReplaceAll(text, at, "@")
		}
	}
	return strings.NewReader(text), nil
}

// atSigns are characters that look like the at sign.
const atSigns = "@＠﹫"

// showsOther reports whether a text has something that looks like an address,
// and is not one that may be there.
func showsOther(text string, may func(address string) bool) bool {
	if !strings.ContainsAny(text, atSigns) || may(strings.Trim(text, ` '"<>`)) {
		return false
	}
	words := strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`<>()[]",;:|`, r)
	})
	return slices.ContainsFunc(words, func(word string) bool {
		return strings.ContainsAny(word, atSigns) && !may(strings.Trim(word, "'."))
	})
}

// reorders reports whether a character makes text appear in another order
// (UAX #9, Section 2): those of the embeddings, overrides and isolates. Marks
// are found in names that are honest.
func reorders(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}
