package pki

import (
	"errors"
	"time"
)

// Roots is a set of trust anchors: certificates that are trusted as they are,
// and names with keys.
type Roots struct {
	certs     []*Certificate
	byID      map[string]*Certificate
	bySubject map[string][]*Certificate // by folded name
}

// NewRoots returns a set of certs, of which nil ones are left out. A root is
// usually the certificate of a CA; one of an end entity is trusted for itself
// alone. A root from [NewAnchor] is a name with a key.
func NewRoots(certs []*Certificate) *Roots {
	r := &Roots{byID: make(map[string]*Certificate), bySubject: make(map[string][]*Certificate)}
	for _, c := range certs {
		if c == nil || r.byID[identity(c)] != nil {
			continue
		}
		r.certs = append(r.certs, c)
		r.byID[identity(c)] = c
		name := c.foldedSubject()
		r.bySubject[name] = append(r.bySubject[name], c)
	}
	return r
}

// NewAnchor returns a trust anchor that is a name and a key and nothing more
// (RFC 5280, Section 6.1.1 (d)), for [NewRoots]: name is a Name and spki a
// SubjectPublicKeyInfo, whole elements in DER. The result is not a certificate:
// it has no octets and no time of validity. The error is a [*ParseError], or a
// [*KeyError] for a key that is not supported.
func NewAnchor(name, spki []byte) (*Certificate, error) {
	if _, ok := readName(name); !ok {
		return nil, &ParseError{Field: "subject"}
	}
	c := &Certificate{RawSubject: name, RawSPKI: spki, IsCA: true}
	if c.KeyAlgorithm, c.PublicKey, c.KeyErr = parsePublicKey(spki); c.KeyErr != nil {
		return nil, c.KeyErr
	}
	return c, nil
}

// isBare reports whether c is a name with a key.
func (c *Certificate) isBare() bool { return len(c.Raw) == 0 }

// root returns the root that is the same as c, or nil.
func (r *Roots) root(c *Certificate) *Certificate {
	if c.isBare() {
		return r.byID[identity(c)]
	}
	return r.byID[string(c.Raw)] // which is not copied for that
}

// identity is the same for the same certificates.
func identity(c *Certificate) string {
	if c.isBare() {
		return "anchor " + string(c.RawSubject) + string(c.RawSPKI)
	}
	return string(c.Raw)
}

// A Purpose is what the leaf of a chain is to be used for.
type Purpose int

// The purposes. All but AnyPurpose ask that the extended key usage of the leaf
// and of the CAs, where there is one, has emailProtection or
// anyExtendedKeyUsage (RFC 8550, Section 4.4.4). Those with a use of the key ask
// for the leaf's key usage, too (RFC 8550, Section 4.4.2).
const (
	ProtectEmail Purpose = iota // any use of the key
	Signing                     // signing messages: [Certificate.CanSign]
	Encrypting                  // encrypting messages to the leaf's key: [Certificate.CanEncrypt]
	Agreeing                    // Encrypting, by key agreement alone
	AnyPurpose                  // whatever; the extended key usage is not looked at
)

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

	// Purpose is what the leaf is for; zero means the protection of mail.
	Purpose Purpose
	// LeafUsageOnly looks at the extended key usage of the leaf and not at those
	// of the CAs, in which RFC 5280 sees no constraint.
	LeafUsageOnly bool

	// Allow names the weak algorithms that are accepted in the signatures of
	// the chain: "sha1", "md5", "md4", "dsa", and "rsa1024" for RSA keys of 1,024
	// to 2,046 bits. None is accepted by default.
	Allow []string

	// Policies is the user-initial-policy-set, in dotted decimal (RFC 5280,
	// Section 6.1.1 (c)); none means any-policy. It counts when the chain, or
	// RequireExplicitPolicy, asks for a policy.
	Policies []string
	// RequireExplicitPolicy, InhibitPolicyMapping and InhibitAnyPolicy are the
	// initial values of RFC 5280, Section 6.1.1 (e) to (g).
	RequireExplicitPolicy, InhibitPolicyMapping, InhibitAnyPolicy bool
}

// Verify builds a chain from leaf to a root and validates it by RFC 5280,
// Section 6.1, with the policies of RFC 9618 and the rules for mail of RFC
// 8550, Section 4 and RFC 9598. It returns the chain, leaf first and root last.
//
// A root that is a certificate has to be valid in its time, and what it says as
// a CA binds the chain (RFC 5937, Section 3), except for policies. Extended key
// usages bind downward. Certificates of versions 1 and 2 are CAs only as roots.
// The size of leaf's own key is left to those who use it.
//
// A leaf that is itself a root is accepted, if its time and usages fit and it
// has no critical extension that is not understood.
//
// Verify does not check revocation, nor whose mail address leaf has. Its work is
// bounded, whatever the certificates are: some 1,000 signatures, chains of up
// to 20 certificates.
//
// The error is a [*ChainError]. Roots that are nil trust nothing.
func (r *Roots) Verify(leaf *Certificate, opts ChainOptions) ([]*Certificate, error) {
	if leaf == nil {
		return nil, &ChainError{Reason: Unsupported, Err: errors.New("no certificate was given")}
	}
	if r == nil {
		r = NewRoots(nil)
	}
	now := opts.Time
	if now.IsZero() {
		now = time.Now()
	}
	b := newBuilder(r, leaf, &opts)
	chain, fault := b.at(now)
	if fault == nil {
		return chain, nil
	}
	if opts.AllowExpired && (fault.Reason == Expired || fault.Reason == NotYetValid) {
		for _, t := range []time.Time{leaf.NotAfter, leaf.NotBefore} {
			if chain, late := b.at(t); late == nil {
				return chain, nil
			}
		}
	}
	return nil, fault
}
