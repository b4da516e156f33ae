package keystore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
)

// A Finder is a source of correspondents' certificates, such as the local
// store or a directory. Implementations are safe for concurrent use.
type Finder interface {
	// Source names the source for people, such as "ldap://ldap.example.org".
	// It has no secrets in it.
	Source() string

	// Find returns the certificates that the source has for a mail address, in
	// the order of SortFound, those that cannot be used among them. None and a
	// nil error mean that the source was asked and has none; a source that
	// cannot be asked, or whose answer cannot be believed, is an error.
	Find(ctx context.Context, address string) ([]Found, error)
}

// A Found is a certificate that a source has for an address.
type Found struct {
	Certificate *pki.Certificate
	// Chain has other certificates that the source gave with it, from which a
	// path to a root may be built. Nobody vouches for them.
	Chain []*pki.Certificate

	Source string // the Source of the Finder
	Detail string // how the source came by it, such as "harvested"; may be empty

	// Vouched says that the source itself vouches for the binding of address
	// and certificate: it was trusted by hand, say. Else that is to be found
	// out by a path to a root.
	Vouched bool
	// Preferred says that the correspondent asked for this certificate to be
	// used.
	Preferred bool
	// Capabilities are the ciphers that the correspondent can read, the best
	// liked first. Nil: not known. Empty: none of them is written here.
	Capabilities []cms.Cipher
	// FirstSeen and LastSeen are when the source saw the certificate, or zero.
	FirstSeen, LastSeen time.Time

	// Err is nil when the certificate can be used to encrypt to the address, as
	// far as the source can tell, and says else why not: usually an
	// [*UnusableError]. A path to a root is not part of it.
	Err error
}

// Unusable says, for a program, why a certificate is not used.
type Unusable int

// The reasons.
const (
	UnusableExpired   Unusable = iota + 1 // its time has passed
	UnusableNotYet                        // its time has not come
	UnusableAddress                       // it is for other addresses
	UnusablePurpose                       // it is not for the protection of mail (extended key usage)
	UnusableKeyUsage                      // its key is not for this use
	UnusableKey                           // its key cannot be used by this program
	UnusableExtension                     // it has a critical extension that is not understood
	UnusableRejected                      // it was rejected by hand
)

// String returns the reason in words.
func (u Unusable) String() string {
	words := [...]string{UnusableExpired: "has expired", UnusableNotYet: "is not valid yet", UnusableAddress: "is for another address",
		UnusablePurpose: "is not for mail", UnusableKeyUsage: "has a key that is not for this use",
		UnusableKey: "has a key that is not supported", UnusableExtension: "has a critical extension that is not understood",
		UnusableRejected: "was rejected by hand"}
	if u < 1 || int(u) >= len(words) {
		return fmt.Sprintf("cannot be used (reason %d)", int(u))
	}
	return words[u]
}

// An UnusableError says why a certificate is not used.
type UnusableError struct {
	Reason Unusable
	Err    error // the cause, or nil
}

// Error returns the rest of a sentence that begins with "the certificate".
func (e *UnusableError) Error() string {
	if e.Err == nil {
		return e.Reason.String()
	}
	return e.Reason.String() + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *UnusableError) Unwrap() error { return e.Err }

// CheckEncryption tells whether mail to address can be encrypted to c at a
// time, by what c says of itself: its validity, addresses, usages (RFC 8550,
// Section 4.4) and key. Nil is yes; else the error is an [*UnusableError] with
// the first reason against it. An empty address is not checked.
func CheckEncryption(c *pki.Certificate, address string, at time.Time) error {
	return checkUse(c, address, at, c.CanEncrypt())
}

// CheckSigning is CheckEncryption for signatures in the name of address.
func CheckSigning(c *pki.Certificate, address string, at time.Time) error {
	return checkUse(c, address, at, c.CanSign())
}

func checkUse(c *pki.Certificate, address string, at time.Time, usage bool) error {
	switch {
	case address != "" && !hasAddress(c, address):
		return &UnusableError{Reason: UnusableAddress}
	case !usage:
		return &UnusableError{Reason: UnusableKeyUsage}
	case !c.MayProtectEmail():
		return &UnusableError{Reason: UnusablePurpose}
	case c.PublicKey == nil:
		return &UnusableError{Reason: UnusableKey, Err: c.KeyErr}
	case len(c.UnhandledCritical) > 0:
		return &UnusableError{Reason: UnusableExtension}
	case c.NotAfter.IsZero() || at.After(c.NotAfter):
		return &UnusableError{Reason: UnusableExpired}
	case at.Before(c.NotBefore):
		return &UnusableError{Reason: UnusableNotYet}
	}
	return nil
}

// hasAddress compares as NormalizeAddress does, which knows a little more of
// the case of domains than Certificate.HasEmail.
func hasAddress(c *pki.Certificate, address string) bool {
	if c.HasEmail(address) {
		return true
	}
	want, err := NormalizeAddress(address)
	return err == nil && slices.ContainsFunc(c.Emails, func(have string) bool {
		normal, err := NormalizeAddress(have)
		return err == nil && normal == want
	})
}

// maxAddress bounds an address, in octets: RFC 5321, Section 4.5.3.1 has 64
// and 255, and UTF-8 takes more.
const maxAddress = 1000

// NormalizeAddress returns a mail address in the form in which addresses are
// compared: the domain in lower case, A-labels kept, and the local part as it
// is (RFC 5321, Section 2.4). What has not the form local@domain, has control
// characters or is longer than 1,000 octets is a [*SyntaxError].
func NormalizeAddress(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 || len(address) > maxAddress ||
		strings.ContainsFunc(address, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\uFFFD' }) ||
		strings.ContainsAny(address[at:], " <>,;") {
		return "", malformed("mail address")
	}
	domain := strings.ToLower(address[at:])
	if domain == address[at:] {
		return address, nil
	}
	return address[:at] + domain, nil
}

// SortFound sorts certificates in the order in which they are to be used:
// those that can be used first; of these, those that the source vouches for,
// then the one that the correspondent prefers, then the newest first.
func SortFound(found []Found) {
	slices.SortStableFunc(found, func(a, b Found) int {
		return cmp.Or(falseFirst(a.Err != nil, b.Err != nil), falseFirst(!a.Vouched, !b.Vouched), falseFirst(!a.Preferred, !b.Preferred),
			CompareAge(a.Certificate, b.Certificate))
	})
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// CompareAge is negative when a is newer than b: the one that begins later is,
// then the one that ends later. Different certificates are never equal.
func CompareAge(a, b *pki.Certificate) int {
	return cmp.Or(b.NotBefore.Compare(a.NotBefore), b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
}

// A SourceError says that a source could not be asked, or gave no answer that
// can be believed. Whether it has a certificate is then not known.
type SourceError struct {
	Source string
	Err    error
}

func (e *SourceError) Error() string { return "asking " + e.Source + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *SourceError) Unwrap() error { return e.Err }

// A Chain asks several sources in the order of Finders, which is the user's
// policy. It is itself a Finder. It must not be changed while it is used.
type Chain struct {
	Finders []Finder
	// All asks every source. Otherwise the first that has a certificate that
	// can be used is the last that is asked.
	All bool
	// Timeout bounds the time of each source. 0: no bound but that of the
	// context.
	Timeout time.Duration
}

// Source implements Finder.
func (c *Chain) Source() string { return "all sources" }

// Find implements Finder. The certificates are in the order of the sources,
// each with its source. Every source that was asked in vain is a
// [*SourceError] in the error, which joins them. Certificates and error may
// both be there; the error is nil only if every source that was asked gave an
// answer, so that none and nil mean that nobody has a certificate.
func (c *Chain) Find(ctx context.Context, address string) ([]Found, error) {
	var found []Found
	var failures []error
	for _, f := range c.Finders {
		some, err := c.ask(ctx, f, address)
		if err != nil {
			failures = append(failures, err)
		}
		found = append(found, some...)
		if ctx.Err() != nil || !c.All && slices.ContainsFunc(some, func(f Found) bool { return f.Err == nil }) {
			break
		}
	}
	if err := ctx.Err(); err != nil && len(failures) == 0 {
		failures = append(failures, err)
	}
	return found, errors.Join(failures...)
}

func (c *Chain) ask(ctx context.Context, f Finder, address string) ([]Found, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	found, err := f.Find(ctx, address)
	if err == nil || errors.As(err, new(*SourceError)) {
		return found, err
	}
	return found, &SourceError{Source: f.Source(), Err: err}
}
