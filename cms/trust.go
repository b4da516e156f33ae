package cms

import (
	"crypto/x509"
	"time"

	"github.com/postseal/postseal/pki"
)

// A TrustRequest is what [Trust] is asked about.
type TrustRequest struct {
	Certificate   *pki.Certificate   // the signer's
	Intermediates []*pki.Certificate // that came with the message
	Time          time.Time          // at which validity is judged
	SigningTime   time.Time          // as the signer claims; zero when it claims none
	Allow         []Allowance        // of VerifyOptions: they hold for the signatures on certificates, too

	revocation func() ([]*pki.CRL, []*pki.OCSPResponse)
}

// RevocationInfo returns the CRLs and OCSP responses that came with the message
// (RFC 5652, Section 10.2.1; RFC 5940), those that cannot be read left out.
// Nothing vouches for them.
func (r *TrustRequest) RevocationInfo() ([]*pki.CRL, []*pki.OCSPResponse) {
	if r.revocation == nil {
		return nil, nil
	}
	return r.revocation()
}

// ChainOptions returns the request as package pki wants it.
func (r *TrustRequest) ChainOptions() pki.ChainOptions {
	opts := pki.ChainOptions{Time: r.Time, Intermediates: r.Intermediates}
	for _, a := range r.Allow {
		opts.Allow = append(opts.Allow, string(a))
	}
	return opts
}

// Trust decides whether a signer, whose signature has been found to match, is
// acceptable. TrustSigner returns nil for yes. Implementations must be safe for
// concurrent use when they serve several readers.
type Trust interface {
	TrustSigner(req *TrustRequest) error
}

// TrustFunc is a function as a Trust.
type TrustFunc func(req *TrustRequest) error

// TrustSigner calls f.
func (f TrustFunc) TrustSigner(req *TrustRequest) error { return f(req) }

// TrustRoots accepts signers whose certificate is one of roots, or is issued
// below one of them for the protection of mail (RFC 8550). With no roots it
// accepts nobody.
func TrustRoots(roots ...*x509.Certificate) Trust {
	certs := make([]*pki.Certificate, len(roots))
	for i, c := range roots {
		certs[i] = pki.FromX509(c)
	}
	return TrustPool(pki.NewRoots(certs))
}

// TrustPool is TrustRoots over a pool.
func TrustPool(pool *pki.Roots) Trust {
	return TrustFunc(func(req *TrustRequest) error {
		_, err := pool.Verify(req.Certificate, req.ChainOptions())
		return err
	})
}

type insecureTrust struct{}

func (insecureTrust) TrustSigner(*TrustRequest) error { return nil }

// InsecureTrustAnySigner asks nothing about signers: a good verdict then says
// that somebody signed, and not who. [SignerResult.Trusted] stays false.
var InsecureTrustAnySigner Trust = insecureTrust{}
