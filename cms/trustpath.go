package cms

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/postseal/postseal/pki"
)

// A PathTrust accepts signers whose certificate is issued below one of Roots,
// or is one of them, and is not revoked. It implements [Trust], and may be used
// by several goroutines as long as it is not changed.
type PathTrust struct {
	// Roots are whom the user trusts. Nil is nobody.
	Roots *pki.Roots

	// AllowExpired is that of [pki.ChainOptions].
	AllowExpired bool

	// Revocation says how revocation is checked; nil is not at all. The CRLs and
	// OCSP responses of the message are used besides those that it has, its Time
	// and Allow are those of the request, and where it has no Chain, CRL issuers
	// are judged by Roots.
	Revocation *pki.Revocation

	// Issuers gets certificates that are missing on the way to a root, from where
	// the others say that they are (RFC 5280, Section 4.2.2.1); nil is from
	// nowhere. Its URLs come from strangers. Package pki/fetch has one.
	Issuers IssuerFetcher

	// Context is that of all that is fetched; nil is context.Background.
	Context context.Context

	// Checked is told of a path that is good, leaf first, and what was found out
	// about its revocation, nil when that is not checked; may be nil.
	Checked func(chain []*pki.Certificate, found []pki.CertificateStatus)
}

// An IssuerFetcher gets the certificates at a URL.
type IssuerFetcher interface {
	FetchIssuers(ctx context.Context, url string) ([]*pki.Certificate, error)
}

// TrustSigner implements [Trust]. The error is a [*pki.ChainError], a
// [*pki.RevokedError] or a [*pki.RevocationUnknownError], or wraps one.
func (p *PathTrust) TrustSigner(req *TrustRequest) error {
	ctx := p.Context
	if ctx == nil {
		ctx = context.Background()
	}
	opts := req.ChainOptions()
	opts.AllowExpired = p.AllowExpired
	roots := p.Roots
	if roots == nil {
		roots = pki.NewRoots(nil)
	}
	chain, err := roots.Verify(req.Certificate, opts)
	if err != nil && p.Issuers != nil {
		chain, err = p.search(ctx, roots, req.Certificate, &opts, err)
	}
	if err != nil {
		return err
	}
	if p.Revocation == nil {
		if p.Checked != nil {
			p.Checked(chain, nil)
		}
		return nil
	}
	return p.checkRevocation(ctx, roots, req, chain, opts)
}

func (p *PathTrust) checkRevocation(ctx context.Context, roots *pki.Roots, req *TrustRequest, chain []*pki.Certificate, opts pki.ChainOptions) error {
	r := *p.Revocation
	crls, responses := req.RevocationInfo()
	r.CRLs = slices.Concat(r.CRLs, crls)
	r.OCSP = slices.Concat(r.OCSP, responses)
	r.Certificates = slices.Concat(r.Certificates, opts.Intermediates)
	r.Time, r.Allow = opts.Time, opts.Allow
	if r.Chain == nil {
		r.Chain = func(leaf *pki.Certificate, others []*pki.Certificate, at time.Time) ([]*pki.Certificate, error) {
			return roots.Verify(leaf, pki.ChainOptions{Time: at, Intermediates: others, Purpose: pki.AnyPurpose, Allow: opts.Allow})
		}
	}
	found, err := r.Check(ctx, chain)
	if p.Checked != nil {
		p.Checked(chain, found)
	}
	return err
}

// Limits of the search for missing issuers.
const (
	maxIssuerRounds  = 6  // certificates on the way to a root
	maxIssuerFetches = 12 // URLs in all
	maxFetchedCerts  = 50 // certificates in all
)

// search looks for missing issuers: those of the signer's certificate, then
// those of what was found, and so on. The error is failure as long as no path is
// found, with what could not be fetched.
func (p *PathTrust) search(ctx context.Context, roots *pki.Roots, leaf *pki.Certificate, opts *pki.ChainOptions, failure error) ([]*pki.Certificate, error) {
	var ce *pki.ChainError
	asked := make(map[string]bool)
	var problems []error
	frontier, fetched := []*pki.Certificate{leaf}, 0
	for range maxIssuerRounds {
		if !errors.As(failure, &ce) || ce.Reason != pki.UnknownIssuer {
			break
		}
		var found []*pki.Certificate
		for _, c := range withIssuers(frontier, opts.Intermediates) {
			for _, url := range pki.IssuerURLs(c) {
				if asked[url] || len(asked) == maxIssuerFetches {
					continue
				}
				asked[url] = true
				certs, err := p.Issuers.FetchIssuers(ctx, url)
				if err != nil {
					problems = append(problems, err)
				}
				found = append(found, certs...)
			}
		}
		found = found[:min(len(found), maxFetchedCerts-fetched)]
		if len(found) == 0 {
			break
		}
		fetched += len(found)
		opts.Intermediates = slices.Concat(opts.Intermediates, found)
		chain, err := roots.Verify(leaf, *opts)
		if err == nil {
			return chain, nil
		}
		failure, frontier = err, found
	}
	if len(problems) > 0 {
		return nil, &IssuerError{Err: failure, Fetches: problems}
	}
	return nil, failure
}

// withIssuers adds to certificates those of known that may have issued them,
// and those that may have issued these, and so on.
func withIssuers(certs, known []*pki.Certificate) []*pki.Certificate {
	out := slices.Clone(certs)
	for i := 0; i < len(out) && len(out) < maxFetchedCerts; i++ {
		for _, k := range known {
			same := func(c *pki.Certificate) bool { return bytes.Equal(c.Raw, k.Raw) }
			if pki.NamesEqual(out[i].RawIssuer, k.RawSubject) && !slices.ContainsFunc(out, same) {
				out = append(out, k)
			}
		}
	}
	return out
}

// An IssuerError says that there is no path to a root, and that certificates
// that may have been on it could not be fetched.
type IssuerError struct {
	Err     error   // why there is no path: a [*pki.ChainError]
	Fetches []error // why they could not be fetched; there is one at least
}

// Error returns a sentence for people.
func (e *IssuerError) Error() string {
	text := e.Err.Error()
	for _, err := range e.Fetches {
		text += "; " + err.Error()
	}
	return text
}

// Unwrap returns all of the errors.
func (e *IssuerError) Unwrap() []error { return append([]error{e.Err}, e.Fetches...) }
