package render

import (
	"errors"
	"strings"
	"unicode"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

// Names of header fields.
const (
	fieldResults    = "Authentication-Results"
	fieldPrefix     = "X-Postseal-"
	fieldStatus     = fieldPrefix + "Status"
	fieldSigner     = fieldPrefix + "Signer"
	fieldEncryption = fieldPrefix + "Encryption"
	fieldProblem    = fieldPrefix + "Problem"
	fieldWarning    = fieldPrefix + "Warning"
)

// maxWarnings bounds the warnings in a header.
const maxWarnings = 5

// forged reports whether a field claims to be ours. RFC 8601, Section 5: a
// border MTA removes what has its own authserv-id.
func forged(f mimeraw.Field, service string) bool {
	name := f.Name()
	if len(name) >= len(fieldPrefix) && strings.EqualFold(name[:len(fieldPrefix)], fieldPrefix) {
		return true
	}
	return strings.EqualFold(name, fieldResults) && strings.EqualFold(authservID(f.Value()), service)
}

// authservID returns the first word of an Authentication-Results field,
// comments and quotation marks left out (RFC 8601, Section 2.2).
func authservID(value string) string {
	var id strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && (quoted || depth > 0):
			if i++; quoted && i < len(value) {
				id.WriteByte(value[i])
			}
		case quoted && c == '"':
			quoted = false
		case quoted:
			id.WriteByte(c)
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '"':
			quoted = true
		case c == ' ' || c == '\t' || c == ';' || c == '/':
			// A version may follow the name.
			if id.Len() > 0 || c == ';' {
				return id.String()
			}
		default:
			id.WriteByte(c)
		}
	}
	return id.String()
}

// fields returns the fields of the verdict.
func (r *Rendering) fields(service string) []mimeraw.Field {
	var out []mimeraw.Field
	add := func(name, value string) {
		f, err := mimeraw.NewField(name, value)
		if err != nil {
			// The only way for it to fail is a word of more than 998 octets.
			f, err = mimeraw.NewField(name, cut(value, 60))
		}
		if err == nil {
			out = append(out, f)
		}
	}
	add(fieldResults, service+r.results())
	add(fieldStatus, string(r.Status))
	if r.Message != nil {
		for _, address := range r.signers() {
			add(fieldSigner, plainText(address))
		}
		for _, l := range r.Message.Layers {
			if !l.Encrypted || l.Err != nil {
				continue
			}
			authenticated := "authenticated"
			if !l.Authenticated {
				authenticated = "not authenticated"
			}
			add(fieldEncryption, plainText(l.Cipher)+", "+authenticated)
		}
	}
	if r.Problem != nil {
		add(fieldProblem, plainText(r.Problem.Error()))
	}
	for _, w := range r.warnings() {
		add(fieldWarning, plainText(w.Error()))
	}
	return out
}

// signers returns the addresses of the signers, of a message whose signatures
// are all good.
func (r *Rendering) signers() []string {
	if !r.Message.Trusted {
		return nil
	}
	var out []string
	for _, l := range r.Message.Layers {
		for _, s := range l.Signers {
			if s.Err != nil || !s.Trusted || s.Certificate == nil {
				continue
			}
			name := s.Certificate.CommonName()
			if len(s.Certificate.Emails) > 0 {
				name = s.Certificate.Emails[0]
			}
			out = append(out, name)
		}
	}
	return out
}

func (r *Rendering) warnings() []error {
	if r.Message == nil {
		return nil
	}
	var out []error
	for _, l := range r.Message.Layers {
		out = append(out, l.Warnings...)
	}
	out = append(out, r.Message.Problems...)
	return out[:min(len(out), maxWarnings)]
}

// results returns the results of an Authentication-Results field: one for each
// signer, or none.
func (r *Rendering) results() string {
	var b strings.Builder
	if r.Message != nil {
		for _, l := range r.Message.Layers {
			for _, s := range l.Signers {
				b.WriteString("; smime=" + result(s, r.Message.Trusted))
				if s.Err != nil {
					b.WriteString(" (" + comment(s.Err.Error()) + ")")
				} else if !r.Message.Trusted {
					b.WriteString(" (the message as a whole is not good)")
				}
				if c := s.Certificate; c != nil && len(c.Emails) > 0 {
					// RFC 7281, Section 3.
					b.WriteString(" body.smime-identifier=" + pvalue(c.Emails[0]))
				}
			}
		}
	}
	if b.Len() == 0 {
		return "; smime=none" // RFC 7281, Section 3: there is no signature
	}
	return b.String()
}

// result is the word of RFC 7281, Section 3 for a signer. A signature that is
// good and does not count for the content, as one outside of encryption, does
// not pass.
func result(s *cms.SignerResult, counts bool) string {
	if s.Err == nil {
		if !counts || !s.Trusted {
			return "neutral"
		}
		return "pass"
	}
	ve, ok := errors.AsType[*cms.VerifyError](s.Err)
	if !ok {
		return "permerror"
	}
	switch ve.Reason {
	case cms.ReasonWeak:
		return "policy"
	case cms.ReasonUnsupported, cms.ReasonNoCertificate:
		return "neutral"
	}
	return "fail"
}

// plainText returns text from messages and certificates for a header: printable
// US-ASCII, and not too long.
func plainText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case r > unicode.MaxASCII || r < ' ' || r == 0x7f:
			return '?'
		}
		return r
	}, s)
	return cut(s, 500)
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}

// comment returns text for a comment (RFC 5322, Section 3.2.2).
func comment(s string) string {
	return strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(cut(plainText(s), 200))
}

// pvalue returns an address as a value of a property (RFC 8601, Section 2.2):
// as it is where that can be, or quoted.
func pvalue(address string) string {
	address = plainText(address)
	isAtom := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", r)
	}
	local, domain, ok := strings.Cut(address, "@")
	if ok && local != "" && domain != "" && !strings.ContainsFunc(local, func(r rune) bool { return !isAtom(r) }) &&
		!strings.ContainsFunc(domain, func(r rune) bool { return !isAtom(r) }) {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(address) + `"`
}
