package dane

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// A Resolver asks the DNS. Implementations are safe for concurrent use.
//
// Names are given as A-labels, with or without a dot at the end, and are always
// complete: no search list is applied. CNAME and DNAME records are followed, but
// by LookupCNAME.
//
// Of the results, exactly one is nil. The answer that there is no such name, or
// no such record, is an [*Answer] without records, and tells whether DNSSEC
// vouches for it. Whatever keeps an answer from being known, or from being
// believed, is a [*LookupError].
type Resolver interface {
	// LookupTLSA and LookupSMIMEA return the records at a name such as
	// [TLSAName] and [SMIMEAName] make, the unusable ones too.
	LookupTLSA(ctx context.Context, name string) (*Answer[Record], error)
	LookupSMIMEA(ctx context.Context, name string) (*Answer[Record], error)
	// LookupMX returns mail exchangers in no order.
	LookupMX(ctx context.Context, name string) (*Answer[MX], error)
	// LookupA and LookupAAAA return addresses of IPv4 and of IPv6.
	LookupA(ctx context.Context, name string) (*Answer[netip.Addr], error)
	LookupAAAA(ctx context.Context, name string) (*Answer[netip.Addr], error)
	// LookupSRV returns services in no order (RFC 2782).
	LookupSRV(ctx context.Context, name string) (*Answer[SRV], error)
	// LookupTXT returns the strings of each record joined to one, as octets.
	LookupTXT(ctx context.Context, name string) (*Answer[string], error)
	// LookupCNAME returns the target of the CNAME record at name itself, in the
	// form of Answer.Name, and no records if there is none: so the security of one step of a chain of
	// aliases can be known (RFC 7672, Section 2.1.3).
	LookupCNAME(ctx context.Context, name string) (*Answer[string], error)
}

// An Answer is what the DNS said, or DNSSEC proved, about a name and a type.
type Answer[T any] struct {
	// Records are in the order of the answer; none if there are none.
	Records []T

	// Secure says that DNSSEC vouches for the whole answer: for the records,
	// for every alias that was followed, or, without records, for there being
	// none. Else the answer is "insecure" in the sense of RFC 4035, Section 4.3:
	// the zone is not signed, or the resolver does not validate or is not
	// trusted to. Answers whose signatures are wrong are errors.
	Secure bool

	// NXDomain says that the name, or the one that it is an alias for, does not
	// exist at all. False with no records: the name exists, but has none of the
	// type.
	NXDomain bool

	// Name is the canonical name: where the last alias led to, or else the name
	// that was asked for. It is in lower case and has no dot at the end.
	Name string

	// TTL is how long the answer may be kept: the least of all its parts, and
	// zero if that is not known.
	TTL time.Duration
}

// Alias reports whether name, in any case and with or without a dot at the end,
// is an alias: whether the answer was found under another name.
func (a *Answer[T]) Alias(name string) bool { return canonical(name) != a.Name }

// An MX is a mail exchanger (RFC 5321, Section 5.1).
type MX struct {
	Preference uint16
	// Host is in lower case and has no dot at the end, but is "." when no mail is
	// taken (RFC 7505).
	Host string
}

// An SRV is the place of a service (RFC 2782).
type SRV struct {
	Priority, Weight, Port uint16
	// Target is in lower case and has no dot at the end, but is "." when there is
	// no such service.
	Target string
}

// Reason says, for a program, why a lookup failed.
type Reason int

// The reasons.
const (
	Bogus     Reason = iota + 1 // the zone is signed, and its signatures do not hold
	ServFail                    // the resolver failed for another reason, or did not tell which
	Timeout                     // no answer in time
	Refused                     // the resolver does not answer such questions, or to this host
	Malformed                   // the answer is broken, or answers something else
	Network                     // the resolver could not be reached
	BadName                     // the name cannot be asked for
	TooMany                     // the answer is beyond a limit: too large, or too many aliases
	OtherCode                   // the resolver answered with another error code
	Canceled                    // the caller has lost interest: its context was canceled
)

// String returns the reason in words that follow "the lookup failed:".
func (r Reason) String() string {
	words := [...]string{Bogus: "the DNSSEC signatures are wrong", ServFail: "the resolver failed", Timeout: "no answer in time",
		Refused: "the resolver refused", Malformed: "the answer is malformed", Network: "the resolver cannot be reached",
		BadName: "not a domain name", TooMany: "the answer is beyond a limit", OtherCode: "the resolver reported an error",
		Canceled: "canceled"}
	if r < 1 || int(r) >= len(words) {
		return fmt.Sprintf("reason %d", int(r))
	}
	return words[r]
}

// A LookupError says that an answer is not known or cannot be believed. It never
// means that there is no record.
type LookupError struct {
	Name   string // the name that was asked for, without a dot at the end
	Type   string // the type of record, such as "TLSA"
	Reason Reason
	Err    error // the cause, or nil
}

// Error returns a sentence such as "DNS: TLSA of _25._tcp.mx.example.com: the
// DNSSEC signatures are wrong".
func (e *LookupError) Error() string {
	s := fmt.Sprintf("DNS: %s of %s: %v", e.Type, e.Name, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns e.Err.
func (e *LookupError) Unwrap() error { return e.Err }

// Temporary reports whether the same lookup may succeed later.
func (e *LookupError) Temporary() bool { return e.Reason != BadName }
