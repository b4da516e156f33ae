// Package policy decides which protection an outgoing message gets, for each of
// its recipients. It is pure: it knows rules, and asks for nothing; who has a key
// or a certificate is told to it.
//
// Rules are about a sender and a recipient, each an address, a domain or anybody.
// The most specific rule wins: an address is more specific than a domain, and a
// domain than anybody; the specificity of sender and recipient are added. Of
// rules that are equally specific the one that asks for more wins, for signing
// and encrypting each, so that the order of rules never matters and no rule is
// undone by accident.
//
// A person can ask for more than the rules do, with a tag in the subject or a
// header field, and never for less.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postseal/postseal/keystore"
)

// A Sign says whether to sign.
type Sign int

// The values of Sign; a greater one asks for more.
const (
	SignNever      Sign = iota // never; what the sender signed stays signed
	SignIfPossible             // when the sender has an identity
	SignAlways                 // always: without an identity the message is refused
)

// An Encrypt says whether to encrypt.
type Encrypt int

// The values of Encrypt; a greater one asks for more.
const (
	EncryptNever      Encrypt = iota // never; what the sender encrypted stays encrypted
	EncryptIfPossible                // when the recipient has a certificate
	EncryptRequire                   // always: a recipient without a certificate is refused
)

var (
	signNames    = []string{SignNever: "never", SignIfPossible: "if-possible", SignAlways: "always"}
	encryptNames = []string{EncryptNever: "never", EncryptIfPossible: "if-possible", EncryptRequire: "require"}
)

// String returns the value as configurations have it.
func (s Sign) String() string { return nameOf(signNames, int(s)) }

// String returns the value as configurations have it.
func (e Encrypt) String() string { return nameOf(encryptNames, int(e)) }

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("value %d", i)
	}
	return names[i]
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Sign) UnmarshalText(text []byte) error {
	i := slices.Index(signNames, string(text))
	if i < 0 {
		return &ValueError{Value: string(text), Known: signNames}
	}
	*s = Sign(i)
	return nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Encrypt) UnmarshalText(text []byte) error {
	i := slices.Index(encryptNames, string(text))
	if i < 0 {
		return &ValueError{Value: string(text), Known: encryptNames}
	}
	*e = Encrypt(i)
	return nil
}

// A ValueError says that a configuration has a value that is none of those
// that are known.
type ValueError struct {
	Value string
	Known []string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("%q is not one of %s", e.Value, strings.Join(e.Known, ", "))
}

// A Treatment is what rules ask for.
type Treatment struct {
	Sign    Sign
	Encrypt Encrypt
}

// A Rule asks for a treatment of the mail of some senders to some recipients.
type Rule struct {
	// Sender and Recipient are a mail address, a domain (with or without "@"
	// before it, its subdomains not included), or empty for anybody.
	Sender, Recipient string
	// Sign and Encrypt are what is asked for; nil leaves that to other rules.
	Sign    *Sign
	Encrypt *Encrypt
}

// A PatternError says that a rule's sender or recipient is neither an address nor
// a domain.
type PatternError struct {
	Rule    int // the first is 0
	Pattern string
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("rule %d: %q is neither a mail address nor a domain", e.Rule+1, e.Pattern)
}

// How specific a pattern is.
const (
	anybody = iota
	domain
	address
)

// A pattern is one that was read.
type pattern struct {
	kind int
	text string // an address, or a domain
}

func parsePattern(text string) (pattern, bool) {
	at := strings.LastIndexByte(text, '@')
	switch {
	case text == "":
		return pattern{}, true
	case at > 0:
		normal, err := keystore.NormalizeAddress(text)
		return pattern{address, normal}, err == nil
	}
	// A domain is what may stand after the @ of an address.
	normal, err := keystore.NormalizeAddress("x@" + strings.TrimPrefix(text, "@"))
	return pattern{domain, strings.TrimPrefix(normal, "x@")}, err == nil && strings.TrimPrefix(text, "@") != ""
}

// matches tells whether a normalised address is meant.
func (p pattern) matches(addr string) bool {
	switch p.kind {
	case anybody:
		return true
	case domain:
		return addr[strings.LastIndexByte(addr, '@')+1:] == p.text
	}
	return addr == p.text
}

// Rules is a policy. It is not changed after New, and may be used by several
// goroutines.
type Rules struct {
	rules []parsed
}

type parsed struct {
	sender, recipient pattern
	sign              *Sign
	encrypt           *Encrypt
}

// New reads rules. Without any nothing is signed or encrypted. The error is a
// [*PatternError].
func New(rules []Rule) (*Rules, error) {
	out := &Rules{}
	for i, r := range rules {
		p := parsed{sign: r.Sign, encrypt: r.Encrypt}
		for _, side := range []struct {
			text string
			dst  *pattern
		}{{r.Sender, &p.sender}, {r.Recipient, &p.recipient}} {
			var ok bool
			if *side.dst, ok = parsePattern(side.text); !ok {
				return nil, &PatternError{Rule: i, Pattern: side.text}
			}
		}
		out.rules = append(out.rules, p)
	}
	return out, nil
}

// For returns the treatment of mail from a sender to a recipient. An address
// that is none, such as the empty sender of a bounce, is matched by rules for
// anybody alone.
func (r *Rules) For(sender, recipient string) Treatment {
	from, to := normalize(sender), normalize(recipient)
	var t Treatment
	signLevel, encryptLevel := -1, -1
	for _, rule := range r.rules {
		if !rule.sender.matches(from) || !rule.recipient.matches(to) {
			continue
		}
		level := rule.sender.kind + rule.recipient.kind
		if rule.sign != nil && (level > signLevel || level == signLevel && *rule.sign > t.Sign) {
			t.Sign, signLevel = *rule.sign, level
		}
		if rule.encrypt != nil && (level > encryptLevel || level == encryptLevel && *rule.encrypt > t.Encrypt) {
			t.Encrypt, encryptLevel = *rule.encrypt, level
		}
	}
	return t
}

// normalize returns an address as patterns have it, "" for one that is none.
func normalize(addr string) string {
	normal, err := keystore.NormalizeAddress(addr)
	if err != nil {
		return ""
	}
	return normal
}
