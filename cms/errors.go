package cms

import (
	"errors"
	"fmt"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/spool"
)

// A SyntaxError says that a message is not what its content type's definition
// asks for.
type SyntaxError struct {
	Offset int64  // where in the input, in octets; -1 when that is not known
	Field  string // the field, as its ASN.1 module names it
	Err    error  // the cause, or nil; io.ErrUnexpectedEOF when the input is cut off
}

func (e *SyntaxError) Error() string {
	text := "malformed " + e.Field
	if e.Offset >= 0 {
		text += fmt.Sprintf(" near octet %d", e.Offset)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// An UnsupportedError says that a message needs something that is not
// implemented, or that is off by default.
type UnsupportedError struct {
	What  string    // "content encryption", "key agreement", …
	OID   OID       // of the algorithm or type; "" when it has none
	Allow Allowance // what would have to be allowed; "" when nothing helps
}

func (e *UnsupportedError) Error() string {
	text := e.What
	if e.OID != "" {
		text += " " + alg.Name(e.OID)
		if alg.Name(e.OID) != string(e.OID) {
			text += " (" + string(e.OID) + ")"
		}
	}
	if e.Allow != "" {
		return text + " is off by default"
	}
	return text + " is not supported"
}

// A LimitError says that a message exceeds a limit of [Limits].
type LimitError struct {
	Limit string // what is limited
	Max   int64
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s exceeds the limit of %d", e.Limit, e.Max) }

// ErrNoMatch is what an [Identity] returns when no RecipientInfo is for it.
var ErrNoMatch = errors.New("no key for this message")

// A NoMatchError says that none of the identities is a recipient. It wraps
// [ErrNoMatch].
type NoMatchError struct {
	Recipients []RecipientInfo // whom the message is for
}

func (e *NoMatchError) Error() string {
	if len(e.Recipients) == 1 {
		return "no key for this message, which has one recipient"
	}
	return fmt.Sprintf("no key for this message, which has %d recipients", len(e.Recipients))
}

// Unwrap returns ErrNoMatch.
func (e *NoMatchError) Unwrap() error { return ErrNoMatch }

// ErrDecrypt says that a message could not be decrypted with the key that it
// is for, or that its authentication failed. It has no cause by intention: a
// sender who could tell the causes apart could decrypt messages (RFC 3218).
var ErrDecrypt = errors.New("decryption failed")

// A Reason says why a signature, digest or MAC is not acceptable.
type Reason uint8

// The reasons.
const (
	ReasonNoSigners     Reason = iota + 1 // nobody has signed
	ReasonContent                         // detached content is missing, or there is too much of it
	ReasonDigest                          // the content is not what was signed
	ReasonSignature                       // the signature does not match
	ReasonAttributes                      // attributes are missing, doubled or contradictory
	ReasonNoCertificate                   // the signer's certificate is not at hand
	ReasonWeak                            // an algorithm or key is off by default
	ReasonUnsupported                     // an algorithm is not implemented
	ReasonUntrusted                       // Trust refused the signer
	ReasonMAC                             // the message authentication code does not match
)

var reasonText = map[Reason]string{
	ReasonNoSigners:     "nobody has signed",
	ReasonContent:       "the signed content is missing or ambiguous",
	ReasonDigest:        "the content is not what was signed",
	ReasonSignature:     "the signature does not match",
	ReasonAttributes:    "the signed attributes are not acceptable",
	ReasonNoCertificate: "the signer's certificate is missing",
	ReasonWeak:          "the signature is too weak",
	ReasonUnsupported:   "the signature is of an unsupported kind",
	ReasonUntrusted:     "the signer is not trusted",
	ReasonMAC:           "the message authentication code does not match",
}

// String returns a sentence without its full stop.
func (r Reason) String() string { return reasonText[r] }

// A VerifyError says that content is not authentic, or that nobody who is
// trusted vouches for it.
type VerifyError struct {
	Reason Reason
	Err    error // the cause, or nil
}

func (e *VerifyError) Error() string {
	if e.Err != nil {
		return e.Reason.String() + ": " + e.Err.Error()
	}
	return e.Reason.String()
}

func (e *VerifyError) Unwrap() error { return e.Err }

// A MissingDigestsError says that a [ContentHash] lacks digests that the
// signatures need. It is the cause in a VerifyError with ReasonContent.
type MissingDigestsError struct {
	Digests []string // by name, such as "sha512"
}

func (e *MissingDigestsError) Error() string {
	return fmt.Sprintf("the content was not hashed with %q", e.Digests)
}

// A UsageError reports a caller's mistake.
type UsageError struct{ Msg string }

func (e *UsageError) Error() string { return "cms: " + e.Msg }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// ErrChanged says that a message that was read twice was not the same the second
// time.
var ErrChanged = spool.ErrChanged

// wire turns an error of the BER reader into one of this package. field is
// what was being read. Errors of the source pass.
func wire(err error, field string) error {
	if err == nil {
		return nil
	}
	if se, ok := errors.AsType[*ber.SyntaxError](err); ok {
		cause := se.Err
		if cause == nil {
			cause = errors.New(se.Msg)
		}
		return &SyntaxError{Offset: se.Offset, Field: field, Err: cause}
	}
	if le, ok := errors.AsType[*ber.LimitError](err); ok {
		return &LimitError{Limit: le.What, Max: le.Max}
	}
	return err
}

// malformed is a SyntaxError in an element that has been read whole.
func malformed(field string) error { return &SyntaxError{Offset: -1, Field: field} }
