package policy

import "fmt"

// A ConflictError says that recipients need a message in different forms, where
// there can be one only.
type ConflictError struct {
	// One and Other need different forms; Other is empty when One must not be seen
	// by the others, since the message does not name it.
	One, Other string
}

// Error returns a sentence for people.
func (e *ConflictError) Error() string {
	if e.Other == "" {
		return fmt.Sprintf("the message is encrypted, and would show the others that %s gets it: send it to %s separately", e.One, e.One)
	}
	return fmt.Sprintf("%s and %s need this message in different forms: send it to each of them separately", e.One, e.Other)
}

// PlanOne says in which form all recipients get a message, where all have to get
// the same: what is required for one is done for all, and what is asked for where
// it is possible is done when it is possible for all. A form that is required for
// one and ruled out for another, or that would reveal a hidden recipient to
// others, is a [*ConflictError].
func (r *Rules) PlanOne(from Sender, to []Recipient, w Wish) (Copy, []*Refusal, error) {
	out := Copy{Sign: from.Identity && !from.Signed, Encrypt: true}
	var refusals []*Refusal
	// The recipients that require something, and those that do not let it be.
	var signs, signsNot, encrypts, encryptsNot string
	hidden := ""
	for _, one := range to {
		out.Recipients = append(out.Recipients, one.Address)
		if _, refusal := r.decide(from, one, w); refusal != nil {
			refusals = append(refusals, refusal)
			continue
		}
		t := r.Asks(from, one.Address, w)
		note(&signs, t.Sign == SignAlways && !from.Signed, one.Address)
		note(&signsNot, t.Sign == SignNever, one.Address)
		note(&encrypts, t.Encrypt == EncryptRequire, one.Address)
		note(&encryptsNot, t.Encrypt == EncryptNever || !one.Certificate, one.Address)
		note(&hidden, one.Hidden && len(to) > 1, one.Address)
	}
	if len(refusals) > 0 {
		return out, refusals, nil
	}
	switch {
	case signs != "" && signsNot != "":
		return out, nil, &ConflictError{signs, signsNot}
	case encrypts != "" && encryptsNot != "":
		return out, nil, &ConflictError{encrypts, encryptsNot}
	case encrypts != "" && hidden != "":
		return out, nil, &ConflictError{One: hidden}
	}
	out.Sign = out.Sign && signsNot == ""
	out.Encrypt = encryptsNot == "" && hidden == "" && len(to) > 0 && (encrypts != "" || !from.Signed)
	return out, nil, nil
}

// note remembers the first address for which something holds.
func note(first *string, holds bool, address string) {
	if holds && *first == "" {
		*first = address
	}
}
