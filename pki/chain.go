package pki

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/oid"
)

// Roots is a set of certificates that are trusted as they are.
type Roots struct {
	certs []*Certificate
	byRaw map[string]*Certificate
	pool  *x509.CertPool
}

// NewRoots returns a set of certs, of which nil ones are left out. A root is
// usually the certificate of a CA; one of an end entity is trusted for itself
// alone.
func NewRoots(certs []*Certificate) *Roots {
	r := &Roots{byRaw: make(map[string]*Certificate), pool: x509.NewCertPool()}
	for _, c := range certs {
		if c == nil || r.byRaw[string(c.Raw)] != nil {
			continue
		}
		r.certs = append(r.certs, c)
		r.byRaw[string(c.Raw)] = c
		if c.X509 != nil && c.KeyErr == nil {
			r.pool.AddCert(prepared(c))
		}
	}
	return r
}

// ChainOptions says how a chain is judged. The zero value judges it at the
// present time, by the certificate and the roots alone.
type ChainOptions struct {
	// Time is when the chain has to be valid; zero means now.
	Time time.Time
	// Intermediates are certificates, trusted or not, from which the chain may
	// be built. Others than those of CAs do no harm.
	Intermediates []*Certificate
	// AllowExpired accepts a chain that is not valid at Time, where it was at
	// the end or at the beginning of the leaf's validity.
	AllowExpired bool
}

// Verify builds a chain from leaf to a root, for the protection of mail, and
// returns it, leaf first. It checks signatures, times, basic and name
// constraints, key usages of CAs and the extended key usage, by crypto/x509
// (RFC 5280, Section 6; RFC 8550, Section 4), and name constraints on every
// address in leaf.Emails (RFC 5280, Section 4.2.1.10; RFC 9598, Section 6). It
// does not check revocation, nor the key usage of leaf, nor whose mail address
// leaf has.
//
// A leaf that is itself a root is accepted, if its time and its extended key
// usage fit and it has no critical extension that is not understood.
//
// The error is a [*ChainError]. Roots that are nil trust nothing.
func (r *Roots) Verify(leaf *Certificate, opts ChainOptions) ([]*Certificate, error) {
	if leaf == nil {
		return nil, &ChainError{Reason: Unsupported, Err: errors.New("no certificate was given")}
	}
	if r == nil {
		r = NewRoots(nil)
	}
	v := newVerifier(r, leaf, opts.Intermediates)
	now := opts.Time
	if now.IsZero() {
		now = time.Now()
	}
	chain, err := v.at(now)
	if err == nil {
		return chain, nil
	}
	if opts.AllowExpired {
		for _, t := range []time.Time{leaf.NotAfter, leaf.NotBefore} {
			if chain, late := v.at(t); late == nil {
				return chain, nil
			}
		}
	}
	return nil, v.diagnose(now, err)
}

// A verifier looks for chains from one leaf.
type verifier struct {
	roots  *Roots
	leaf   *Certificate
	others []*Certificate // intermediates
	known  map[string]*Certificate
	pool   *x509.CertPool
}

func newVerifier(r *Roots, leaf *Certificate, others []*Certificate) *verifier {
	v := &verifier{roots: r, leaf: leaf, known: make(map[string]*Certificate), pool: x509.NewCertPool()}
	for _, c := range others {
		if c == nil || c == leaf || v.known[string(c.Raw)] != nil {
			continue
		}
		v.known[string(c.Raw)] = c
		v.others = append(v.others, c)
		if c.X509 != nil && c.KeyErr == nil {
			v.pool.AddCert(prepared(c))
		}
	}
	return v
}

// at verifies at a time.
func (v *verifier) at(t time.Time) ([]*Certificate, error) {
	return v.atFor(t, x509.ExtKeyUsageEmailProtection)
}

func (v *verifier) atFor(t time.Time, usage x509.ExtKeyUsage) ([]*Certificate, error) {
	if root := v.roots.byRaw[string(v.leaf.Raw)]; root != nil {
		if err := v.pinned(t, usage); err != nil {
			return nil, err
		}
		return []*Certificate{v.leaf}, nil
	}
	if v.leaf.X509 == nil {
		return nil, &ChainError{Reason: Unsupported, Certificate: v.leaf, Err: v.leaf.X509Err}
	}
	chains, err := prepared(v.leaf).Verify(x509.VerifyOptions{
		Roots: v.roots.pool, Intermediates: v.pool, CurrentTime: t,
		// RFC 8550, Section 4.4.4: emailProtection, or anyExtendedKeyUsage.
		KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return nil, err
	}
	var first error
	for _, found := range chains {
		chain := v.view(found)
		err := checkEmailConstraints(chain)
		if err == nil {
			return chain, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// pinned judges a leaf that is trusted for itself.
func (v *verifier) pinned(t time.Time, usage x509.ExtKeyUsage) error {
	c := v.leaf
	switch {
	case t.Before(c.NotBefore):
		return &ChainError{Reason: NotYetValid, Certificate: c}
	case t.After(c.NotAfter):
		return &ChainError{Reason: Expired, Certificate: c}
	case usage != x509.ExtKeyUsageAny && !c.MayProtectEmail():
		return &ChainError{Reason: WrongUsage, Certificate: c}
	case len(c.UnhandledCritical) > 0:
		return &ChainError{
			Reason: Unsupported, Certificate: c,
			Err: errors.New("critical extension " + c.UnhandledCritical[0].String() + " is not understood"),
		}
	}
	return nil
}

// view returns our view of the certificates of a chain.
func (v *verifier) view(found []*x509.Certificate) []*Certificate {
	chain := make([]*Certificate, len(found))
	for i, x := range found {
		switch {
		case i == 0:
			chain[i] = v.leaf
		case v.roots.byRaw[string(x.Raw)] != nil:
			chain[i] = v.roots.byRaw[string(x.Raw)]
		case v.known[string(x.Raw)] != nil:
			chain[i] = v.known[string(x.Raw)]
		default:
			chain[i] = FromX509(x)
		}
	}
	return chain
}

// prepared returns the certificate for crypto/x509, with what that lacks and we
// know: RSA keys under the identifier id-RSASSA-PSS, a critical subjectAltName
// that has mail addresses (RFC 9598) and nothing that x509 reads, and names in a
// form in which equal octets mean equal names (RFC 5280, Section 7.1).
func prepared(c *Certificate) *x509.Certificate {
	x := *c.X509
	if _, ok := c.PublicKey.(*rsa.PublicKey); ok && c.KeyAlgorithm.OID == oid.RSAPSS {
		x.PublicKeyAlgorithm, x.PublicKey = x509.RSA, c.PublicKey
	}
	x.RawSubject, x.RawIssuer = []byte(foldName(c.RawSubject)), []byte(foldName(c.RawIssuer))
	if c.sanRead {
		unhandled := x.UnhandledCriticalExtensions
		x.UnhandledCriticalExtensions = nil
		for _, id := range unhandled {
			if id.String() != oid.ExtSubjectAltName.String() {
				x.UnhandledCriticalExtensions = append(x.UnhandledCriticalExtensions, id)
			}
		}
	}
	return &x
}

// checkEmailConstraints applies the name constraints of the CAs in a chain to
// all addresses of its leaf; crypto/x509 does so for rfc822Name only.
//
// RFC 5280, Section 4.2.1.10: also for emailAddress in the subject.
// RFC 9598, Section 6: also for SmtpUTF8Mailbox.
func checkEmailConstraints(chain []*Certificate) error {
	for _, ca := range chain[1:] {
		if ca.X509 == nil {
			continue
		}
		permitted, excluded := ca.X509.PermittedEmailAddresses, ca.X509.ExcludedEmailAddresses
		for _, e := range chain[0].Emails {
			within := func(constraint string) bool { return emailWithin(e, constraint) }
			if len(permitted) > 0 && !slices.ContainsFunc(permitted, within) || slices.ContainsFunc(excluded, within) {
				return &ChainError{
					Reason: Constraint, Certificate: chain[0],
					Err: errors.New("an issuer may not issue certificates for the address " + e),
				}
			}
		}
	}
	return nil
}

// emailWithin matches an address with an rfc822Name constraint: a mailbox, a
// host, or a domain with a leading period (RFC 5280, Section 4.2.1.10). The
// empty one matches every address.
func emailWithin(address, constraint string) bool {
	if strings.Contains(constraint, "@") {
		return sameAddress(address, constraint)
	}
	host := lowerASCII(address[strings.LastIndexByte(address, '@')+1:])
	constraint = lowerASCII(constraint)
	if constraint == "" {
		return true
	}
	if constraint[0] == '.' {
		return strings.HasSuffix(host, constraint)
	}
	return host == constraint
}
