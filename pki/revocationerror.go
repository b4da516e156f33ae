package pki

import (
	"errors"
	"strconv"
	"time"
)

// A RevocationReason is a CRLReason (RFC 5280, Section 5.3.1; RFC 6960, Section
// 4.2.1). Its numbers are those on the wire.
type RevocationReason int

// The reasons of RFC 5280, Section 5.3.1. The number 7 is not used.
const (
	RevokedUnspecified          RevocationReason = 0 // also where no reason is given
	RevokedKeyCompromise        RevocationReason = 1
	RevokedCACompromise         RevocationReason = 2
	RevokedAffiliationChanged   RevocationReason = 3
	RevokedSuperseded           RevocationReason = 4
	RevokedCessationOfOperation RevocationReason = 5
	RevokedCertificateHold      RevocationReason = 6
	RevokedRemoveFromCRL        RevocationReason = 8 // in delta CRLs: no longer revoked
	RevokedPrivilegeWithdrawn   RevocationReason = 9
	RevokedAACompromise         RevocationReason = 10
)

var revocationReasons = map[RevocationReason]string{
	RevokedUnspecified:          "unspecified",
	RevokedKeyCompromise:        "key compromise",
	RevokedCACompromise:         "CA compromise",
	RevokedAffiliationChanged:   "affiliation changed",
	RevokedSuperseded:           "superseded",
	RevokedCessationOfOperation: "cessation of operation",
	RevokedCertificateHold:      "certificate hold",
	RevokedRemoveFromCRL:        "removed from CRL",
	RevokedPrivilegeWithdrawn:   "privilege withdrawn",
	RevokedAACompromise:         "attribute authority compromise",
}

// String returns the reason's name, such as "key compromise".
func (r RevocationReason) String() string {
	if name, ok := revocationReasons[r]; ok {
		return name
	}
	return "reason " + strconv.Itoa(int(r))
}

// reachesBack reports whether a revocation for this reason makes a time before
// it doubtful, because someone else may have had the key.
func (r RevocationReason) reachesBack() bool {
	switch r {
	case RevokedAffiliationChanged, RevokedSuperseded, RevokedCessationOfOperation, RevokedCertificateHold,
		RevokedPrivilegeWithdrawn, RevokedRemoveFromCRL:
		return false
	}
	return true
}

// A RevocationParseError says that octets are not a CRL, an OCSP response or
// another form of revocation information.
type RevocationParseError struct {
	What  string // what was expected: "CRL", "OCSP response", …
	Field string // the field's name in its RFC, or the extension's identifier
}

func (e *RevocationParseError) Error() string { return "pki: malformed " + e.What + ": " + e.Field }

// A SourceFault says, for a program, why a source of revocation information
// could not tell whether a certificate is revoked.
type SourceFault int

// The faults.
const (
	SourceUnavailable  SourceFault = iota + 1 // there is none, or it could not be fetched
	SourceMalformed                           // not what was expected
	SourceBadSignature                        // not signed by the one whose name it has
	SourceUntrusted                           // signed by someone who may not vouch for this certificate
	SourceStale                               // its time has passed, or it is older than asked for
	SourceEarly                               // from the future
	SourceExpired                             // made after the certificate expired, when it need not be listed any more
	SourceOutOfScope                          // about other certificates, or about some reasons alone
	SourceCritical                            // has a critical extension that is not understood
	SourceWeak                                // signed with an algorithm that is off by default, or not supported
	SourceNonce                               // the nonce is missing or is not that of the request
	SourceRefused                             // the responder did not answer (RFC 6960, Section 4.2.1)
	SourceNoAnswer                            // the responder does not know the certificate
)

var sourceFaults = []string{
	"is not available", "is malformed", "has a signature that does not match", "is not signed by one who may do so",
	"is too old", "is from the future", "was made after the certificate expired", "does not cover the certificate for all reasons",
	"has a critical extension that is not understood", "is signed with an algorithm that is not accepted",
	"does not have the nonce of the request", "is a refusal", "does not know the certificate",
}

// String returns what is wrong, as the rest of a sentence: "is too old".
func (f SourceFault) String() string {
	if f < 1 || int(f) > len(sourceFaults) {
		return "has fault " + strconv.Itoa(int(f))
	}
	return sourceFaults[f-1]
}

// A SourceError says why one source did not give a certificate's status.
type SourceError struct {
	Source string // such as "the CRL of CN=CA,O=X", for people
	Fault  SourceFault
	Err    error // the underlying error, or nil
}

// Unwrap returns e.Err.
func (e *SourceError) Unwrap() error { return e.Err }

// Error returns a sentence for people, without control characters.
func (e *SourceError) Error() string {
	text := e.Source + " " + e.Fault.String()
	if e.Err != nil {
		text += ": " + printable(e.Err.Error())
	}
	return text
}

// A RevokedError says that a certificate is revoked.
type RevokedError struct {
	Certificate *Certificate
	Reason      RevocationReason
	RevokedAt   time.Time // when it was revoked; zero when that could not be read
	// Invalid is since when the key was, or may have been, in wrong hands (RFC
	// 5280, Section 5.3.2), or zero.
	Invalid time.Time
	Source  string // who says so, for people
}

// Error returns a sentence for people, without control characters.
func (e *RevokedError) Error() string {
	text := "the certificate of " + e.Certificate.owner() + " was revoked"
	if !e.RevokedAt.IsZero() {
		text += " on " + e.RevokedAt.Format(time.DateOnly)
	}
	if e.Reason != RevokedUnspecified {
		text += " (" + e.Reason.String() + ")"
	}
	return text + ", says " + e.Source
}

// A RevocationUnknownError says that it could not be found out whether a
// certificate is revoked.
type RevocationUnknownError struct {
	Certificate *Certificate // nil when no certificate was given
	// Errs are the causes, of type [*SourceError], one for each source that was
	// tried. There is at least one.
	Errs []error
}

// Unwrap returns e.Errs.
func (e *RevocationUnknownError) Unwrap() []error { return e.Errs }

// Error returns a sentence for people, without control characters.
func (e *RevocationUnknownError) Error() string {
	if e.Certificate == nil {
		return "no certificate was given"
	}
	text := "it is not known whether the certificate of " + e.Certificate.owner() + " is revoked"
	for i, err := range e.Errs {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text += sep + err.Error()
	}
	return text
}

// errBudget says that the limits of one check were reached.
var errBudget = errors.New("too many certificates, lists or signatures to try")
