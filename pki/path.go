package pki

import (
	"crypto/x509"
	"errors"

	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"

	"github.com/postseal/postseal/internal/alg"
)

// A walk is the state of RFC 5280, Section 6.1.2 on the way from the trust
// anchor down to the leaf.
type walk struct {
	b    *builder
	path []*node // leaf first
	late *fault  // the last certificate that is not valid at the time

	constraints []*nameConstraints // permitted_subtrees and excluded_subtrees, CA by CA
	policies    *policyGraph       // valid_policy_graph
	explicit    int                // explicit_policy
	mapping     int                // policy_mapping
	inhibitAny  int                // inhibit_anyPolicy
	maxPath     int                // max_path_length
	dsa         dsa.Parameters     // working_public_key_parameters
}

// validate judges a path, leaf first and trust anchor last, by RFC 5280,
// Section 6.1. It returns the first fault, but one of time only when there is
// no other: that one may pass.
func (b *builder) validate(path []*node) *fault {
	n := len(path) - 1
	w := &walk{b: b, path: path, policies: newPolicyGraph(), maxPath: n}
	// One more than RFC 5280 has, for paths of a single certificate; no larger path reaches it.
	w.explicit, w.mapping, w.inhibitAny = n+2, n+2, n+2
	if b.opts.RequireExplicitPolicy {
		w.explicit = 0
	}
	if b.opts.InhibitPolicyMapping {
		w.mapping = 0
	}
	if b.opts.InhibitAnyPolicy {
		w.inhibitAny = 0
	}
	f := w.anchor(path[n])
	for i := n - 1; i >= 0 && f == nil; i-- {
		f = w.step(i)
	}
	if f == nil {
		f = w.wrapUp(path[0])
	}
	if f == nil {
		f = w.late
	}
	return f
}

// fault returns a fault of a whole path.
func (w *walk) fault(n *node, reason Reason, err error) *fault {
	if reason == Expired || reason == NotYetValid {
		return &fault{reason: reason, at: n.c, err: err, path: certificates(w.path), rank: rankTime}
	}
	return &fault{reason: reason, at: n.c, err: err, path: certificates(w.path), rank: rankRule}
}

// anchor takes what a trust anchor says of itself (RFC 5937, Section 3).
func (w *walk) anchor(n *node) *fault {
	if n.c.isBare() {
		w.inherit(n)
		return nil
	}
	if f := w.basics(n); f != nil {
		return f
	}
	if len(w.path) == 1 {
		// A leaf that is trusted for itself: of the policies, its own count.
		w.policies.add(n.info, w.inhibitAny > 0)
		return nil
	}
	if f := w.ca(n); f != nil {
		return f
	}
	if n.info.maxPath >= 0 {
		w.maxPath = min(w.maxPath, n.info.maxPath)
	}
	w.inherit(n)
	return nil
}

// basics holds for every certificate of a path: the parts that can be read,
// the time, and critical extensions.
func (w *walk) basics(n *node) *fault {
	if n.info.malformed != nil {
		return w.fault(n, Malformed, n.info.malformed)
	}
	if f := w.b.checkTime(n); f != nil { // (a) (2)
		w.late = w.fault(n, f.reason, nil)
	}
	if len(n.c.UnhandledCritical) > 0 { // 6.1.4 (o) and 6.1.5 (f)
		return w.fault(n, Unsupported, errors.New("critical extension "+n.c.UnhandledCritical[0].String()+" is not understood"))
	}
	return nil
}

// checkTime judges the time of a certificate. The fault has no path.
func (b *builder) checkTime(n *node) *fault {
	switch {
	case n.c.isBare():
		return nil
	case b.now.Before(n.c.NotBefore):
		return &fault{reason: NotYetValid}
	case b.now.After(n.c.NotAfter):
		return &fault{reason: Expired}
	}
	return nil
}

// checkCA judges whether a certificate is that of a CA at all. The fault has no
// path.
func (b *builder) checkCA(n *node) *fault {
	switch {
	case n.c.isBare():
		return nil
	case n.c.Version < 3 && !n.root:
		// RFC 5280, Section 6.1.4 (k): it must be known otherwise that these are CAs.
		return &fault{reason: Constraint, err: errors.New("a certificate of version 1 or 2 is no certificate of a CA, unless it is a root")}
	case n.c.Version >= 3 && !n.c.IsCA: // 6.1.4 (k)
		return &fault{reason: Constraint, err: errors.New("it is not the certificate of a CA and may not issue others")}
	case n.c.HasKeyUsage && n.c.KeyUsage&x509.KeyUsageCertSign == 0: // 6.1.4 (n)
		return &fault{reason: Constraint, err: errors.New("its key may not be used to sign certificates")}
	}
	return nil
}

// step processes certificate i of the path, which is not the anchor.
//
// RFC 5280, Section 6.1.3.
func (w *walk) step(i int) *fault {
	n := w.path[i]
	if f := w.signature(n, w.path[i+1]); f != nil { // (a) (1)
		return f
	}
	if f := w.basics(n); f != nil {
		return f
	}
	final := i == 0
	if final || !n.info.selfIssued { // (b), (c)
		if f := w.names(n); f != nil {
			return f
		}
	}
	w.policies.add(n.info, w.inhibitAny > 0 || !final && n.info.selfIssued) // (d), (e)
	if w.explicit == 0 && w.policies.isNull() {                             // (f)
		return w.fault(n, Policy, errNoPolicy)
	}
	if final {
		return nil
	}
	return w.prepare(n)
}

var errNoPolicy = errors.New("a certificate policy is asked for, and the chain has none in common")

// signature checks that issuer signed n, with an algorithm that is accepted.
func (w *walk) signature(n, issuer *node) *fault {
	s := w.b.signed(n, issuer)
	if errors.Is(s.err, errInherited) && w.dsa.P != nil {
		key, _ := issuer.c.PublicKey.(*dsa.PublicKey)
		inherited := &dsa.PublicKey{Parameters: w.dsa, Y: key.Y}
		if w.b.signatures -= signatureCost(inherited); w.b.signatures < 0 {
			return w.fault(n, TooComplex, errSpent)
		}
		s.needs, s.err = verifySignature(issuer.c, inherited, n.c.SignatureAlgorithm, n.c.RawTBS, n.c.Signature)
	}
	switch {
	case errors.Is(s.err, alg.ErrSignature):
		return w.fault(n, BadSignature, s.err)
	case s.err != nil:
		return w.fault(n, Unsupported, s.err)
	}
	if err := weak(s.needs, w.b.opts.Allow); err != nil {
		return w.fault(n, Weak, err)
	}
	return nil
}

// names applies the constraints of all CAs above n.
func (w *walk) names(n *node) *fault {
	for _, constraints := range w.constraints {
		if n.info.names == nil {
			n.info.names = namesOf(n.c)
		}
		err := constraints.check(n.info.names, &w.b.comparisons)
		switch {
		case errors.Is(err, errComparisons):
			return w.fault(n, TooComplex, err)
		case err != nil:
			return w.fault(n, Constraint, err)
		}
	}
	return nil
}

// prepare makes ready for the certificates that n issued.
//
// RFC 5280, Section 6.1.4.
func (w *walk) prepare(n *node) *fault {
	for _, m := range n.info.mappings { // (a)
		if m.issuer == anyPolicy || m.subject == anyPolicy {
			return w.fault(n, Policy, errors.New("it maps the special policy anyPolicy, which is not allowed"))
		}
	}
	w.policies.mapPolicies(n.info.mappings, w.mapping > 0) // (b)
	if f := w.ca(n); f != nil {
		return f
	}
	w.counters(n)
	if !n.info.selfIssued { // (l)
		if w.maxPath <= 0 {
			return w.fault(n, Constraint, errors.New("a CA above it may not have as many CAs below"))
		}
		w.maxPath--
	}
	if n.info.maxPath >= 0 { // (m)
		w.maxPath = min(w.maxPath, n.info.maxPath)
	}
	w.inherit(n)
	return nil
}

// counters applies the extensions on policies.
func (w *walk) counters(n *node) {
	counters := []*int{&w.explicit, &w.mapping, &w.inhibitAny}
	if !n.info.selfIssued { // (h)
		for _, counter := range counters {
			*counter = max(0, *counter-1)
		}
	}
	for i, skip := range []int{n.info.requireExplicit, n.info.inhibitMapping, n.info.inhibitAny} { // (i), (j)
		if skip >= 0 {
			*counters[i] = min(*counters[i], skip)
		}
	}
}

// ca judges a certificate that issued another, and takes its name constraints.
func (w *walk) ca(n *node) *fault {
	if f := w.b.checkCA(n); f != nil { // (k), (n)
		return w.fault(n, f.reason, f.err)
	}
	if w.b.opts.Purpose != AnyPurpose && !w.b.opts.LeafUsageOnly && !n.c.MayProtectEmail() {
		return w.fault(n, WrongUsage, nil)
	}
	if n.info.constraints != nil { // (g)
		w.constraints = append(w.constraints, n.info.constraints)
	}
	return nil
}

// inherit keeps the parameters of DSA keys.
//
// RFC 5280, Section 6.1.4 (d) to (f).
func (w *walk) inherit(n *node) {
	key, ok := n.c.PublicKey.(*dsa.PublicKey)
	switch {
	case !ok:
		w.dsa = dsa.Parameters{}
	case key.P != nil:
		w.dsa = key.Parameters
	}
}

// wrapUp ends with the leaf.
//
// RFC 5280, Section 6.1.5.
func (w *walk) wrapUp(leaf *node) *fault {
	explicit := max(0, w.explicit-1)    // (a)
	if leaf.info.requireExplicit == 0 { // (b)
		explicit = 0
	}
	if explicit == 0 && !w.policies.fits(w.b.opts.Policies) { // (g)
		return w.fault(leaf, Policy, errNoPolicy)
	}
	return w.purpose(leaf)
}

// purpose judges the usages of the leaf (RFC 8550, Section 4.4).
func (w *walk) purpose(leaf *node) *fault {
	c, purpose := leaf.c, w.b.opts.Purpose
	if purpose != AnyPurpose && !c.MayProtectEmail() {
		return w.fault(leaf, WrongUsage, nil)
	}
	switch {
	case purpose == Signing && !c.CanSign():
		return w.fault(leaf, WrongUsage, errors.New("its key may not be used to sign messages"))
	case purpose == Encrypting && !c.CanEncrypt():
		return w.fault(leaf, WrongUsage, errors.New("its key may not be used to encrypt messages"))
	case purpose == Agreeing && !c.canAgree():
		return w.fault(leaf, WrongUsage, errors.New("its key may not be used for key agreement"))
	}
	return nil
}
