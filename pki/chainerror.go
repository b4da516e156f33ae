package pki

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// A Reason says, for a program, why a chain was not accepted.
type Reason int

// The reasons.
const (
	UnknownIssuer Reason = iota + 1 // no chain leads to a root
	Expired                         // a certificate of the chain is past its time
	NotYetValid                     // a certificate of the chain is before its time
	WrongUsage                      // not for the protection of mail (extended key usage)
	BadSignature                    // the issuer is there, but did not sign this
	Constraint                      // an issuer may not issue this
	Unsupported                     // something that this package cannot check
	Malformed                       // a part that has to be read cannot be
	Weak                            // a signature that is not accepted by default; Err is a WeakError
	Policy                          // no certificate policy where one is asked for
	TooComplex                      // more paths, signatures or names than are tried
)

// String returns the reason's name, such as "unknown issuer".
func (r Reason) String() string {
	names := []string{
		"unknown issuer", "expired", "not yet valid", "wrong usage", "bad signature", "constraint", "unsupported",
		"malformed", "weak algorithm", "policy", "too complex",
	}
	if r < 1 || int(r) > len(names) {
		return "reason " + strconv.Itoa(int(r))
	}
	return names[r-1]
}

// A ChainError says why no chain was accepted. Where several things are wrong,
// it tells the one that would remain: an unknown issuer rather than a time that
// has passed.
type ChainError struct {
	Reason Reason
	// Certificate is the one at fault: the leaf, or one of its issuers.
	Certificate *Certificate
	// Path is the path that was tried, or the most telling of several: leaf
	// first, as far as it went. It has Certificate in it, or in a dead end, the
	// issuer that was not followed is Certificate.
	Path []*Certificate
	// Err is the underlying error, or nil.
	Err error
}

// Unwrap returns e.Err.
func (e *ChainError) Unwrap() error { return e.Err }

// Error returns a sentence for people, without control characters.
func (e *ChainError) Error() string {
	c := e.Certificate
	if c == nil {
		return "no certificate was given"
	}
	who := "the certificate of " + c.owner()
	switch e.Reason {
	case UnknownIssuer:
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			return who + " is signed by itself and is not among the trusted ones"
		}
		return who + " was issued by " + quoted(c.Issuer()) + ", which is not known or not trusted"
	case Expired:
		return who + " expired on " + c.NotAfter.Format(time.DateOnly)
	case NotYetValid:
		return who + " is not valid before " + c.NotBefore.Format(time.DateOnly)
	case WrongUsage:
		if e.Err == nil {
			return who + " is not meant for the protection of mail"
		}
		return who + " is not meant for this use" + e.detail()
	case BadSignature:
		return who + " was not signed by its issuer, " + quoted(c.Issuer())
	case Constraint:
		return who + " breaks a rule for issuing certificates" + e.detail()
	case Malformed:
		return who + " cannot be read" + e.detail()
	case Weak:
		return who + " is signed too weakly" + e.detail()
	case Policy:
		return who + " does not have the policy that it needs" + e.detail()
	}
	return who + " cannot be checked" + e.detail()
}

// Tried returns the path for people, leaf first, such as
//
//	"Alice", issued by "Example CA", issued by "Example Root"
//
// without control characters. It is "" when there is none.
func (e *ChainError) Tried() string {
	names := make([]string, len(e.Path))
	for i, c := range e.Path {
		names[i] = c.owner()
	}
	return strings.Join(names, ", issued by ")
}

// chainError returns the fault for callers.
func (f *fault) chainError() *ChainError {
	return &ChainError{Reason: f.reason, Certificate: f.at, Path: f.path, Err: f.err}
}

func (e *ChainError) detail() string {
	if e.Err == nil {
		return ""
	}
	return ": " + printable(e.Err.Error())
}

func quoted(s string) string { return `"` + s + `"` }

// owner names the subject in a sentence.
func (c *Certificate) owner() string {
	if name := c.CommonName(); name != "" {
		return quoted(name)
	}
	if len(c.Emails) > 0 {
		return c.Emails[0]
	}
	if name := c.Subject(); name != "" {
		return quoted(name)
	}
	return "no name (serial number " + hex.EncodeToString(c.Serial[:min(len(c.Serial), 20)]) + ")"
}
