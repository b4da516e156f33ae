package smime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/mimeraw"
)

// A HeaderPolicy says whether the fields of a message are protected like its
// body, and which of them those can read who see the message on its way: a
// header confidentiality policy (RFC 9788, Section 3).
type HeaderPolicy uint8

// The policies. All but the first put the fields into the content, too; they
// differ in what stays in front of an encrypted message. Bcc and the fields of
// transport, such as Received, never go inside.
const (
	HeadersUnprotected HeaderPolicy = iota // the body alone is protected
	HeadersVisible                         // hcp_no_confidentiality: everything stays in front
	HeadersBaseline                        // hcp_baseline: "[...]" is the Subject; Comments and Keywords are hidden
	HeadersShy                             // hcp_shy: moreover the names beside addresses, and the sender's time zone
)

var headerPolicies = []string{"unprotected", "visible", "baseline", "shy"}

// String returns the policy's name in a word, as UnmarshalText reads it.
func (p HeaderPolicy) String() string {
	if int(p) >= len(headerPolicies) {
		return "unknown"
	}
	return headerPolicies[p]
}

// UnmarshalText implements encoding.TextUnmarshaler. The words are unprotected,
// visible, baseline and shy; others are a *HeaderPolicyError.
func (p *HeaderPolicy) UnmarshalText(text []byte) error {
	i := slices.Index(headerPolicies, string(text))
	if i < 0 {
		return &HeaderPolicyError{Word: string(text)}
	}
	*p = HeaderPolicy(i)
	return nil
}

// A HeaderPolicyError says that a word names no HeaderPolicy.
type HeaderPolicyError struct{ Word string }

// Error returns a sentence for people.
func (e *HeaderPolicyError) Error() string {
	return fmt.Sprintf("there is no header policy %q; there are %s", e.Word, strings.Join(headerPolicies, ", "))
}

// Values of the parameter hp (RFC 9788, Section 2.1.1).
const (
	hpClear  = "clear"  // the fields were not meant to be hidden
	hpCipher = "cipher" // they were encrypted, and HP-Outer says what was in front
)

const (
	fieldOuter     = "HP-Outer"
	obscureSubject = "[...]" // RFC 9788, Section 3.2.1
)

// isStructural reports whether a field is about the body: RFC 9787, Section
// 1.1.1.
func isStructural(f mimeraw.Field) bool { return isContent(f) || f.Is("MIME-Version") }

// transport are the fields that are added on the way, and those that must not
// be seen by other recipients. They are not part of what an author writes.
var transport = []string{
	"return-path", "received", "delivered-to", "x-original-to", "authentication-results", "dkim-signature", "arc-seal",
	"arc-message-signature", "arc-authentication-results", "received-spf", "bcc", "resent-bcc",
}

// isAuthors reports whether a field is protected, where fields are.
func isAuthors(f mimeraw.Field) bool {
	return f.Name() != "" && !isStructural(f) && !f.Is(fieldOuter) && !slices.Contains(transport, strings.ToLower(f.Name()))
}

// A headerProtection is how a message is written.
type headerProtection struct {
	policy   HeaderPolicy
	mode     string // hpClear or hpCipher
	noLegacy bool   // no legacyDisplay
}

// A parted header is one whose outer fields stay in front, and whose inner fields
// go into the content.
type parted struct {
	outer, inner *mimeraw.Header
	typeParam    string         // is to be added to a Content-Type that is not there yet
	legacy       *legacyDisplay // nil when nothing is hidden
}

// part parts a header (RFC 9788, Section 5.2). With HeadersUnprotected the inner
// fields are those that describe the body.
func (p headerProtection) part(h *mimeraw.Header) *parted {
	outer, inner := contentFields(h, false), contentFields(h, true)
	if p.policy == HeadersUnprotected {
		return &parted{outer: outer, inner: inner}
	}
	// HP-Outer goes in for all that stays in front.
	in := &mimeraw.Header{Fields: make([]mimeraw.Field, 0, 2*len(outer.Fields)+len(inner.Fields))}
	front := &mimeraw.Header{Fields: make([]mimeraw.Field, 0, len(outer.Fields))}
	legacy := &legacyDisplay{}
	for _, f := range outer.Fields {
		if !isAuthors(f) {
			front.Fields = append(front.Fields, f)
			continue
		}
		in.Fields = append(in.Fields, f)
		shown, ok := f, true
		if p.mode == hpCipher {
			shown, ok = p.policy.conceal(f)
		}
		if (!ok || !bytes.Equal(shown.Raw, f.Raw) && shown.Value() != f.Value()) && slices.Contains(userFacing, strings.ToLower(f.Name())) {
			legacy.fields = append(legacy.fields, f)
		}
		if !ok {
			continue
		}
		front.Fields = append(front.Fields, shown)
		if p.mode == hpCipher {
			// RFC 9788, Section 2.2.
			in.Fields = append(in.Fields, mimeraw.Field{Raw: slices.Concat([]byte(fieldOuter+": "), shown.Raw)})
		}
	}
	typeParam := ";\r\n hp=\"" + p.mode + "\""
	for _, f := range inner.Fields {
		if f.Is("Content-Type") {
			f = withParam(f, typeParam, p.mode)
		}
		in.Fields = append(in.Fields, f)
	}
	out := &parted{outer: front, inner: in, typeParam: typeParam}
	if len(legacy.fields) > 0 && !p.noLegacy {
		out.legacy = legacy
	}
	return out
}

// withParam adds the parameter hp to a Content-Type.
func withParam(f mimeraw.Field, text, mode string) mimeraw.Field {
	if m, err := mimeraw.ParseMediaType(f.Value()); err == nil {
		if _, already := m.Params["hp"]; already {
			m.Params["hp"] = mode
			delete(m.Params, "hp-legacy-display")
			if again, fieldErr := mimeraw.NewField("Content-Type", m.String()); fieldErr == nil {
				return again
			}
		}
	}
	return withText(f, text)
}

// withText adds to the end of a field.
func withText(f mimeraw.Field, text string) mimeraw.Field {
	raw := bytes.TrimRight(f.Raw, "; \t\r\n")
	return mimeraw.Field{Raw: append(slices.Clip(raw), text+"\r\n"...)}
}

// conceal returns a field as it stands in front; ok is false when it does not.
func (p HeaderPolicy) conceal(f mimeraw.Field) (out mimeraw.Field, ok bool) {
	if p == HeadersVisible {
		return f, true
	}
	name := strings.ToLower(f.Name())
	switch name {
	case "subject": // RFC 9788, Section 3.2.1
		return mustField(f, obscureSubject), true
	case "comments", "keywords":
		return f, false
	}
	if p != HeadersShy {
		return f, true
	}
	switch name { // RFC 9788, Section 3.2.2
	case "from", "sender", "reply-to", "to", "cc":
		list, isList := parseMailboxes(f.Value())
		if !isList {
			return f, true
		}
		addresses := make([]string, len(list))
		for i, m := range list {
			addresses[i] = m.address
		}
		return mustField(f, strings.Join(addresses, ", ")), true
	case "date":
		if at, isDate := parseDate(f.Value()); isDate {
			return mustField(f, at.UTC().Format(dateForm)), true
		}
	}
	return f, true
}

// mustField returns a field with another value, which is printable.
func mustField(f mimeraw.Field, value string) mimeraw.Field {
	out, err := mimeraw.NewField(f.Name(), value)
	if err != nil { // a line would be too long: it was, too
		return f
	}
	return out
}

const dateForm = "Mon, 02 Jan 2006 15:04:05 -0700"

// parseDate reads a date as programs write it: RFC 5322, Section 3.3.
func parseDate(value string) (time.Time, bool) {
	if i := strings.IndexByte(value, '('); i >= 0 {
		value = strings.TrimRight(value[:i], " \t")
	}
	for _, form := range []string{"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST"} {
		if at, err := time.Parse(form, value); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
