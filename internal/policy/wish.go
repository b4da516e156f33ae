package policy

import (
	"slices"
	"strings"
)

// Tags are what people write at the beginning of a subject, or as the value of a
// header field, to ask for more protection.
type Tags struct {
	// Sign and Encrypt are the tags in a subject, such as "[encrypt]", compared
	// without regard to case; "" for none.
	Sign, Encrypt string
	// Field is the name of the header field, such as "X-Postseal", whose value is
	// "sign", "encrypt", or both with a comma between; "" for none.
	Field string
}

// FromSubject returns what a subject asks for, and the subject without its tags.
// Tags stand at its beginning, in any order; what stands elsewhere is text. A
// subject without tags is returned as it is.
func (t Tags) FromSubject(subject string) (Wish, string) {
	var w Wish
	rest := subject
	for {
		trimmed := strings.TrimLeft(rest, " \t")
		sign, ok := cutTag(trimmed, t.Sign)
		if ok {
			w.Sign, rest = true, sign
			continue
		}
		encrypt, ok := cutTag(trimmed, t.Encrypt)
		if !ok {
			break
		}
		w.Encrypt, rest = true, encrypt
	}
	if w == (Wish{}) {
		return w, subject
	}
	return w, strings.TrimLeft(rest, " \t")
}

func cutTag(text, tag string) (string, bool) {
	if tag == "" || len(text) < len(tag) || !strings.EqualFold(text[:len(tag)], tag) {
		return text, false
	}
	return text[len(tag):], true
}

// FromField returns what the value of the header field asks for. Words that are
// not known are a [*ValueError]: somebody wanted something.
func (t Tags) FromField(value string) (Wish, error) {
	var w Wish
	for word := range strings.SplitSeq(value, ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "sign":
			w.Sign = true
		case "encrypt":
			w.Encrypt = true
		default:
			return Wish{}, &ValueError{Value: strings.TrimSpace(word), Known: []string{"sign", "encrypt"}}
		}
	}
	return w, nil
}

// Add joins two wishes.
func (w Wish) Add(other Wish) Wish {
	return Wish{Sign: w.Sign || other.Sign, Encrypt: w.Encrypt || other.Encrypt}
}

// Replies says what becomes of a message in the clear that answers one that came
// encrypted.
type Replies int

// The values of Replies.
const (
	RepliesFree    Replies = iota // it is treated as any other
	RepliesEncrypt                // it is encrypted as if the sender had asked for that, or refused
	RepliesRefuse                 // it is refused, unless the rules have it encrypted
)

var replyNames = []string{RepliesFree: "free", RepliesEncrypt: "encrypt", RepliesRefuse: "refuse"}

// String returns the value as configurations have it.
func (r Replies) String() string { return nameOf(replyNames, int(r)) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Replies) UnmarshalText(text []byte) error {
	i := slices.Index(replyNames, string(text))
	if i < 0 {
		return &ValueError{Value: string(text), Known: replyNames}
	}
	*r = Replies(i)
	return nil
}
