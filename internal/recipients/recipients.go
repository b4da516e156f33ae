// Package recipients answers to whom a message for a mail address is encrypted:
// it asks the sources of certificates, and judges what they have. A certificate
// is used when its source vouches for it, as for one that was trusted by hand, or
// when a path leads to an authority that is trusted. What was found and is not
// used is told with the reason.
package recipients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// A Candidate is a certificate that was found, with the verdict on it.
type Candidate struct {
	keystore.Found
	// Err says why the certificate is not used; nil for one that can be.
	Err error
	// Untrusted says that nobody who is trusted says whose it is, and that nothing
	// else is wrong with it.
	Untrusted bool
}

// maxJudged bounds the paths that are built for one address and one source, each of
// which may ask the network: a source may give any number of certificates.
const maxJudged = 32

// ErrTooMany is the Err of a candidate that was not judged, since so many before it
// were.
var ErrTooMany = errors.New("was not looked at: there are too many certificates for this address")

// A Judge is how candidates are judged.
type Judge struct {
	// Trust decides about those that their source does not vouch for. It is
	// required.
	Trust cms.Trust
	// Time is when they have to be good; zero means now.
	Time time.Time
	// Allow names algorithms that are off by default.
	Allow []cms.Allowance
	// Certificates may stand on the paths; nobody vouches for them.
	Certificates []*pki.Certificate
}

// Find asks a source for an address. The candidates are in the order in which
// they are to be used; of those whose path is to be found out the first 32 of each
// source are judged, and the others have an [ErrTooMany]. They and an error, which is that of
// the source, may both be there.
func (j *Judge) Find(ctx context.Context, source keystore.Finder, address string) ([]Candidate, error) {
	at := j.Time
	if at.IsZero() {
		at = time.Now()
	}
	found, err := source.Find(ctx, address)
	out := make([]Candidate, len(found))
	judged := make(map[string]int) // by source
	for i, one := range found {
		out[i] = Candidate{Found: one, Err: one.Err}
		if one.Err != nil || one.Vouched {
			continue
		}
		if judged[one.Source]++; judged[one.Source] > maxJudged {
			out[i].Err = ErrTooMany
		} else {
			out[i].Err = j.Trust.TrustSigner(&cms.TrustRequest{Certificate: one.Certificate, Time: at, Allow: j.Allow,
				Intermediates: slices.Concat(one.Chain, j.Certificates)})
			out[i].Untrusted = out[i].Err != nil
		}
	}
	return out, err
}

// Choose returns the candidate that is used, or nil.
func Choose(found []Candidate) *Candidate {
	for i := range found {
		if found[i].Err == nil {
			return &found[i]
		}
	}
	return nil
}

// A NoneError says that nothing can be encrypted to an address.
type NoneError struct {
	Address string
	Found   []Candidate // which cannot be used, and why; may be empty
}

// Error returns a sentence for people, with the first of the reasons.
func (e *NoneError) Error() string {
	if len(e.Found) == 0 {
		return "no certificate is known for " + e.Address
	}
	return fmt.Sprintf("none of the certificates for %s can be used: the one of %q, from %s, %v", e.Address,
		e.Found[0].Certificate.Subject(), e.Found[0].Source, e.Found[0].Err)
}

// An UntrustedError says that there is a certificate for an address, and that
// nobody who is trusted says whose it is.
type UntrustedError struct {
	Address string
	Found   Candidate
}

// Error returns a sentence for people.
func (e *UntrustedError) Error() string {
	return fmt.Sprintf("whether the certificate of %q, from %s, is that of %s is not known: %v", e.Found.Certificate.Subject(), e.Found.Source, e.Address, e.Found.Err)
}

// Unwrap returns the error of the candidate.
func (e *UntrustedError) Unwrap() error { return e.Found.Err }

// None returns why no candidate can be used: an [*UntrustedError] where trust is
// all that is missing, or a [*NoneError].
func None(address string, found []Candidate) error {
	if i := slices.IndexFunc(found, func(c Candidate) bool { return c.Untrusted }); i >= 0 {
		return &UntrustedError{address, found[i]}
	}
	return &NoneError{address, found}
}

// preferred are the ciphers in the order in which they are used, where not
// everybody can read the first.
var preferred = []cms.Cipher{cms.AES256GCM, cms.AES128GCM, cms.ChaCha20Poly1305Encryption, cms.AES256CBC, cms.AES192CBC, cms.AES128CBC}

// ErrNoCommonCipher says that recipients have no cipher in common.
var ErrNoCommonCipher = errors.New("the recipients have no cipher in common that they say they can read")

// CommonCipher returns the best cipher that all recipients can read, "" for the
// default. Each element is what one of them said; nil is one of whom nothing is
// known, who takes what the others can read (RFC 8551, Section 2.7.1).
func CommonCipher(said [][]cms.Cipher) (cms.Cipher, error) {
	for i, cipher := range preferred {
		if slices.ContainsFunc(said, func(list []cms.Cipher) bool { return list != nil && !slices.Contains(list, cipher) }) {
			continue
		}
		if i == 0 {
			return "", nil
		}
		return cipher, nil
	}
	return "", ErrNoCommonCipher
}
