package outgoing

import (
	"errors"
	"strings"

	"github.com/postseal/postseal/internal/policy"
)

var (
	// ErrNoIdentity says that an account has no identity for an address.
	ErrNoIdentity = errors.New("there is no identity for this address")
	// ErrTooLarge says that a message is larger than allowed.
	ErrTooLarge = errors.New("the message is too large")
	// ErrClock says that the clock of this host shows a time before this program
	// was written, so that nothing can be said of certificates.
	ErrClock = errors.New("the clock of this host is wrong")
	// ErrClearReply says that a message in the clear answers one that came
	// encrypted, which the policy does not let pass.
	ErrClearReply = errors.New("this answers a message that came encrypted, and would go out in the clear")
	// ErrHeader says that a message to encrypt has something before its body that
	// is no header, and would stay readable.
	ErrHeader = errors.New("the message begins with a line that is no header field")
	// ErrNotValid says that a certificate has expired, or is not valid yet.
	ErrNotValid = errors.New("the certificate is not valid at this time")
)

// errNoKeys says that there is nobody whose certificates could be used.
var errNoKeys = errors.New("this account has no certificates")

// An UnavailableError says that something cannot be found out or used now, as
// when a directory does not answer or a key is locked. It may pass.
type UnavailableError struct {
	// What is a sentence for the person who sends, without details.
	What string
	// Err is the cause, for the log.
	Err error
}

// Error returns the sentence and the cause.
func (e *UnavailableError) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *UnavailableError) Unwrap() error { return e.Err }

// A WishError says that a person asked for something that is not understood.
type WishError struct {
	Field string // of the header
	Err   error
}

// Error returns a sentence for people.
func (e *WishError) Error() string { return "the header field " + e.Field + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *WishError) Unwrap() error { return e.Err }

// A RefusedError says for whom a message cannot be protected as the policy asks.
// Nobody gets it.
type RefusedError struct {
	Refusals []*policy.Refusal // at least one
}

// Error returns a line for each recipient.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.Refusals))
	for i, r := range e.Refusals {
		lines[i] = r.Error()
	}
	return strings.Join(lines, "\n")
}
