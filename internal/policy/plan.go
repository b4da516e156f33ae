package policy

import (
	"fmt"
	"slices"
)

// A Wish is what a person asks for on top of the rules, for one message.
type Wish struct {
	Sign, Encrypt bool
}

// raise returns t with what a person asked for.
func (t Treatment) raise(w Wish) Treatment {
	if w.Sign {
		t.Sign = SignAlways
	}
	if w.Encrypt {
		t.Encrypt = EncryptRequire
	}
	return t
}

// A Recipient is one of those to whom a message goes.
type Recipient struct {
	Address string
	// Hidden says that the message does not name the recipient (Bcc). Others are
	// not to learn of it from whom a message is encrypted to.
	Hidden bool
	// Certificate says that there is a certificate to encrypt to.
	Certificate bool
	// Err says why there is none, for the refusal; may be nil.
	Err error
}

// A Copy is one form of a message, and who gets it. One Copy is one transaction.
type Copy struct {
	Recipients    []string
	Sign, Encrypt bool
}

// Untouched reports whether the message goes out as it came in.
func (c *Copy) Untouched() bool { return !c.Sign && !c.Encrypt }

// A Refusal is a recipient who cannot get the message as the policy asks.
type Refusal struct {
	Recipient string
	Reason    Reason
	Err       error // of Recipient, or of the sender's identity; may be nil
}

// A Reason says why a message is refused.
type Reason int

// The reasons.
const (
	NoCertificate Reason = iota + 1 // encryption is required, and there is no certificate
	NoIdentity                      // a signature is required, and the sender has no identity
)

// Error returns a sentence for people.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("encryption is required for %s, and no certificate can be used", r.Recipient)
	if r.Reason == NoIdentity {
		text = fmt.Sprintf("mail to %s has to be signed, and the sender has no identity that can sign", r.Recipient)
	}
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

// Unwrap returns r.Err.
func (r *Refusal) Unwrap() error { return r.Err }

// A Sender is who sends a message.
type Sender struct {
	Address string
	// Also is another address that the message comes from, such as that of the
	// envelope, or "". What is asked for one of them is asked for both.
	Also string
	// Identity says that there is an identity to sign with.
	Identity bool
	// Signed says that the message is signed by its sender already. It is not
	// signed again, and it is encrypted, around the signature, only where that is
	// required.
	Signed bool
	// Err says why there is none, for the refusal; may be nil.
	Err error
}

// Check judges one recipient, as at RCPT: nil, or why the message is refused.
func (r *Rules) Check(from Sender, to Recipient, w Wish) *Refusal {
	_, refusal := r.decide(from, to, w)
	return refusal
}

// Asks returns what is asked for of a message to one recipient.
func (r *Rules) Asks(from Sender, to string, w Wish) Treatment {
	t := r.For(from.Address, to)
	if from.Also != "" && from.Also != from.Address {
		other := r.For(from.Also, to)
		t = Treatment{max(t.Sign, other.Sign), max(t.Encrypt, other.Encrypt)}
	}
	return t.raise(w)
}

// decide returns what a recipient gets, or why nothing.
func (r *Rules) decide(from Sender, to Recipient, w Wish) (Copy, *Refusal) {
	t := r.Asks(from, to.Address, w)
	c := Copy{
		Recipients: []string{to.Address},
		Sign:       t.Sign != SignNever && from.Identity && !from.Signed,
		Encrypt:    t.Encrypt != EncryptNever && to.Certificate && (!from.Signed || t.Encrypt == EncryptRequire),
	}
	switch {
	case t.Encrypt == EncryptRequire && !c.Encrypt:
		return c, &Refusal{Recipient: to.Address, Reason: NoCertificate, Err: to.Err}
	case t.Sign == SignAlways && !c.Sign && !from.Signed:
		return c, &Refusal{Recipient: to.Address, Reason: NoIdentity, Err: from.Err}
	}
	return c, nil
}

// Plan says who gets which form of a message. Recipients with the same form are
// one Copy; but each hidden one who is encrypted to has a Copy of its own, since
// a message names all whom it is encrypted to. Copies are in the order of their
// first recipients. With refusals the copies are for the others: whether these
// get the message is for the caller to say.
func (r *Rules) Plan(from Sender, to []Recipient, w Wish) ([]Copy, []*Refusal) {
	type planned struct {
		Copy
		alone bool // nobody may join it
	}
	var plan []planned
	var refusals []*Refusal
	for _, one := range to {
		c, refusal := r.decide(from, one, w)
		if refusal != nil {
			refusals = append(refusals, refusal)
			continue
		}
		single := c.Encrypt && one.Hidden
		i := slices.IndexFunc(plan, func(o planned) bool { return !o.alone && o.Sign == c.Sign && o.Encrypt == c.Encrypt })
		if single || i < 0 {
			plan = append(plan, planned{c, single})
			continue
		}
		plan[i].Recipients = append(plan[i].Recipients, one.Address)
	}
	copies := make([]Copy, len(plan))
	for i, p := range plan {
		copies[i] = p.Copy
	}
	return copies, refusals
}
