package pki

import (
	"context"
	"strconv"
	"time"
)

// A RevocationStatus says whether a certificate is revoked.
type RevocationStatus int

// The statuses. The zero value is RevocationUnknown.
const (
	RevocationUnknown RevocationStatus = iota
	RevocationGood
	RevocationRevoked
)

// String returns "unknown", "good" or "revoked".
func (s RevocationStatus) String() string {
	names := []string{"unknown", "good", "revoked"}
	if s < 0 || int(s) >= len(names) {
		return "status " + strconv.Itoa(int(s))
	}
	return names[s]
}

// A Fetcher gets revocation information. Package pki/fetch has one over HTTP.
// Its URLs come from certificates, that is from strangers, and begin with
// http:// or https://; it is up to the Fetcher to bound time, size and
// redirects. It may be used by several goroutines if the [Revocation] is.
type Fetcher interface {
	// FetchCRL returns the CRL at url, in DER.
	FetchCRL(ctx context.Context, url string) ([]byte, error)
	// FetchOCSP sends a request to the responder at url and returns the
	// OCSPResponse, in DER.
	FetchOCSP(ctx context.Context, url string, request *OCSPRequest) ([]byte, error)
}

// A NoncePolicy says how OCSP is asked.
type NoncePolicy int

// The policies.
const (
	// NonceIfAnswered sends a nonce. Responses without one are accepted (many
	// responders sign theirs in advance), those with another one are not.
	NonceIfAnswered NoncePolicy = iota
	// NonceRequired refuses responses without a nonce, too.
	NonceRequired
	// NonceNone sends none, so that responses from a cache can be used.
	NonceNone
)

// Revocation checks whether certificates are revoked, by CRLs (RFC 5280, Section
// 6.3) and OCSP (RFC 6960). The zero value checks all certificates of a chain
// now, with nothing at hand and nothing fetched, and takes "unknown" for an
// error. It may be used by several goroutines as long as it is not changed.
type Revocation struct {
	// Time is for when the status is wanted; zero means now.
	//
	// Information from after Time counts, if it was made before the certificate
	// expired: a revocation after Time for a reason that does not make the key's
	// use before it doubtful (superseded, cessation of operation, affiliation
	// changed, privilege withdrawn, hold) leaves the certificate good at Time.
	// Other reasons do so only with TimeProven.
	Time time.Time

	// TimeProven says that Time is vouched for by another than the owner of the
	// certificate, as by a time-stamp. Then a revocation after Time leaves the
	// certificate good at Time whatever the reason, unless it gives an earlier
	// date since when the key was invalid.
	TimeProven bool

	// CRLs and OCSP are information at hand, trusted or not, such as that of a
	// message. Fetched information is looked for only where they do not say.
	CRLs []*CRL
	OCSP []*OCSPResponse

	// Certificates, trusted or not, are those of CRL issuers and responders.
	// Those of the chain need not be among them.
	Certificates []*Certificate

	// Responders are certificates of OCSP responders that are trusted for the
	// status of any certificate (RFC 6960, Section 4.2.2.2, item 1).
	Responders []*Certificate

	// Chain builds and validates a path from the certificate of a CRL issuer to
	// a trust anchor, as of a time, and returns it, leaf first. Its last element
	// has to be that of the chain that is being checked (RFC 5280, Section
	// 6.3.3 (f)). Revocation is checked here and need not be checked there. Nil
	// means that a CRL issuer outside the chain is accepted only when a CA of
	// the chain has issued its certificate.
	Chain func(leaf *Certificate, others []*Certificate, at time.Time) ([]*Certificate, error)

	// Fetcher gets what is not at hand; nil means that nothing is fetched.
	Fetcher Fetcher

	// Nonce says how OCSP is asked.
	Nonce NoncePolicy

	// SoftFail lets a certificate pass of which nothing could be found out. One
	// that is known to be revoked never passes. Whoever can suppress answers can
	// then hide a revocation.
	SoftFail bool

	// LeafOnly leaves out the certificates of CAs. Trust anchors are always left
	// out.
	LeafOnly bool

	// MaxAge refuses information that was made longer before Time. Zero means
	// that its nextUpdate decides, or one day where it has none.
	MaxAge time.Duration

	// Grace accepts information for so long after its nextUpdate.
	Grace time.Duration

	// Skew is how far clocks may differ; zero means 5 minutes, a negative value
	// not at all.
	Skew time.Duration

	// Allow names algorithms that are off by default: "sha1", "md5", "dsa",
	// "rsa1024" and so on. Nil is none.
	Allow []string
}

// A CertificateStatus is what was found out of one certificate.
type CertificateStatus struct {
	Certificate *Certificate
	Status      RevocationStatus

	// Reason, RevokedAt and Invalid are those of [RevokedError].
	Reason    RevocationReason
	RevokedAt time.Time
	Invalid   time.Time

	// CRL or OCSP is the source of a status that is not unknown; Source names it
	// for people. ThisUpdate and NextUpdate are its times, with those of the
	// delta CRL, if there is one.
	CRL                    *CRL
	OCSP                   *OCSPResponse
	Source                 string
	ThisUpdate, NextUpdate time.Time

	// Err is nil, a [*RevokedError] or a [*RevocationUnknownError].
	Err error
}

// Check finds out the status of the certificates of a chain that was validated,
// leaf first, its trust anchor last. It returns one status for each certificate
// that was checked, also with an error.
//
// The error is the [*RevokedError] of the first certificate that is revoked;
// or, without SoftFail, the [*RevocationUnknownError] of the first whose status
// is unknown. With a ctx that is done, nothing is fetched any more.
func (r *Revocation) Check(ctx context.Context, chain []*Certificate) ([]CertificateStatus, error) {
	for _, c := range chain {
		if c == nil {
			chain = nil
			break
		}
	}
	if len(chain) == 0 {
		return nil, &RevocationUnknownError{Errs: []error{&SourceError{Source: "the chain", Fault: SourceUnavailable}}}
	}
	s := newSession(ctx, r, chain)
	n := len(chain) - 1
	if r.LeafOnly {
		n = min(n, 1)
	}
	out := make([]CertificateStatus, 0, n)
	var unknown error
	var revoked error
	for i := range n {
		st := s.status(chain[i:], 0)
		out = append(out, st)
		if st.Status == RevocationRevoked && revoked == nil {
			revoked = st.Err
		}
		if st.Status == RevocationUnknown && unknown == nil {
			unknown = st.Err
		}
	}
	if revoked != nil {
		return out, revoked
	}
	if r.SoftFail {
		return out, nil
	}
	return out, unknown
}
