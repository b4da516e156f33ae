package ca

import (
	"crypto"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// How long CAs are valid.
const (
	rootYears    = 20
	issuingYears = 10
)

// skew is how far a certificate is dated back, for clocks that are slow.
const skew = 5 * time.Minute

// URLs tell where the status of certificates, and that of their issuer, can be
// had. Each may be empty.
type URLs struct {
	CRL    string // http, RFC 5280, Section 4.2.1.13
	OCSP   string // http, RFC 5280, Section 4.2.2.1
	Issuer string // of the issuer's certificate in DER, RFC 5280, Section 4.2.2.1
}

// An Authority is a CA's certificate with its private key.
type Authority struct {
	// Certificate is the CA's.
	Certificate *pki.Certificate

	key crypto.Signer
}

// New returns the authority of a certificate and its private key. The error is a
// [*RequestError] when the certificate is not that of a CA, or not that of the
// key.
func New(c *pki.Certificate, key crypto.PrivateKey) (*Authority, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refuse("key", "cannot sign")
	}
	if _, _, err := algorithmOf(signer.Public()); err != nil {
		return nil, err
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case c == nil || !c.IsCA:
		return nil, refuse("certificate", "is not that of a CA")
	case !ok || c.PublicKey == nil || !public.Equal(c.PublicKey):
		return nil, refuse("key", "does not belong to the certificate")
	}
	return &Authority{Certificate: c, key: signer}, nil
}

// A Subject names a CA. Name is needed; Organization may be empty, and so may
// Country, which is a code of two letters (ISO 3166-1).
type Subject struct{ Country, Organization, Name string }

func (s Subject) encode() ([]byte, error) {
	for _, text := range []string{s.Organization, s.Name} {
		if err := checkName(text); err != nil {
			return nil, err
		}
	}
	if s.Name == "" {
		return nil, refuse("name", "is missing")
	}
	if s.Country != "" && !isCountry(s.Country) {
		return nil, refuse("country", "is not a code of two capital letters")
	}
	return name(s.Country, s.Organization, s.Name)
}

func isCountry(code string) bool {
	return len(code) == 2 && code[0] >= 'A' && code[0] <= 'Z' && code[1] >= 'A' && code[1] <= 'Z'
}

// checkName refuses what cannot be part of a name.
func checkName(text string) error {
	if !utf8.ValidString(text) {
		return refuse("name", "is not UTF-8")
	}
	// RFC 5280, Appendix A.1: ub-common-name.
	if utf8.RuneCountInString(text) > maxName {
		return refuse("name", "has more than 64 characters")
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return refuse("name", "has characters that do not print")
		}
	}
	return nil
}

// NewRoot makes a root: a CA that vouches for itself, for 20 years from now on.
// The error is a [*RequestError] for a name or a key that cannot be one's.
func NewRoot(s Subject, key crypto.PrivateKey, now time.Time) (*Authority, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refuse("key", "cannot sign")
	}
	subject, err := s.encode()
	if err != nil {
		return nil, err
	}
	if err = checkKey(signer.Public()); err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	t := &template{
		subject: subject, key: signer.Public(), notBefore: now.Add(-skew), notAfter: now.AddDate(rootYears, 0, 0),
		extensions: []extension{basicConstraints(-1), keyUsage(usageCertSign | usageCRLSign)},
	}
	c, err := t.make(nil, signer)
	if err != nil {
		return nil, err
	}
	return New(c, key)
}

// NewIssuing makes a CA below a, valid for 10 years, that issues certificates for
// people and none for CAs. where is that of a's own CRL.
func (a *Authority) NewIssuing(s Subject, key crypto.PrivateKey, where URLs, now time.Time) (*Authority, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refuse("key", "cannot sign")
	}
	subject, err := s.encode()
	if err != nil {
		return nil, err
	}
	if err = checkKey(signer.Public()); err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	t := &template{
		subject: subject, key: signer.Public(), notBefore: now.Add(-skew), notAfter: now.AddDate(issuingYears, 0, 0),
		extensions: append([]extension{
			basicConstraints(0), keyUsage(usageCertSign | usageCRLSign),
			extKeyUsage(oid.EKUEmailProtection, ekuOCSPSigning), policy(policyAny),
		}, where.where()...),
	}
	if err = a.covers(t); err != nil {
		return nil, err
	}
	c, err := t.make(a.Certificate, a.key)
	if err != nil {
		return nil, err
	}
	return New(c, key)
}

// covers refuses certificates that are valid when their issuer is not.
func (a *Authority) covers(t *template) error {
	if t.notBefore.Before(a.Certificate.NotBefore) {
		t.notBefore = a.Certificate.NotBefore
	}
	if t.notAfter.After(a.Certificate.NotAfter) || !t.notBefore.Before(t.notAfter) {
		return refuse("validity", "would end after that of the CA, on "+a.Certificate.NotAfter.Format(time.DateOnly))
	}
	return nil
}
