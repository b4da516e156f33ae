package pki

import (
	"crypto/x509"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

const (
	policy1   oid.OID = "1.3.6.1.4.1.99999.1"
	policy2   oid.OID = "1.3.6.1.4.1.99999.2"
	policy3   oid.OID = "1.3.6.1.4.1.99999.3"
	ekuServer oid.OID = "1.3.6.1.5.5.7.3.1"
	ekuClient oid.OID = "1.3.6.1.5.5.7.3.2"
	extNobody oid.OID = "1.3.6.1.4.1.99999.99"
)

// pick returns any certificate of the path, issuer one of a CA, and below one
// of a CA that is not the root, or nil.
func (h *hierarchy) pick() *spec { return h.specs[h.rng.IntN(len(h.specs))] }

func (h *hierarchy) issuer() *spec { return h.specs[h.rng.IntN(len(h.specs)-1)] }

func (h *hierarchy) below() *spec {
	if len(h.specs) < 3 {
		return nil
	}
	return h.specs[1+h.rng.IntN(len(h.specs)-2)]
}

func (h *hierarchy) person1() *spec { return h.specs[len(h.specs)-1] }

func (h *hierarchy) critical() bool { return h.rng.IntN(2) == 0 }

// givePolicies gives every certificate below the root policies.
func (h *hierarchy) givePolicies() {
	for _, s := range h.specs[1:] {
		lists := [][]oid.OID{{policy1}, {policy1}, {policy1, policy2}, {policy2}, {anyPolicy}, {policy1, anyPolicy}, {policy3}, nil}
		if list := lists[h.rng.IntN(len(lists))]; list != nil {
			s.set(extPolicies, h.critical(), extPolicyList(h.t, list...))
		}
	}
	h.mark("policies")
}

// constrain gives a CA name constraints.
func (h *hierarchy) constrain(permitted, excluded []gn) {
	h.issuer().set(extNameConstraints, h.critical(), extSubtrees(h.t, permitted, excluded))
}

// either is for permitted or excluded subtrees.
func (h *hierarchy) either(names ...gn) {
	name := names[h.rng.IntN(len(names))]
	if h.rng.IntN(2) == 0 {
		h.constrain([]gn{name}, nil)
		return
	}
	h.constrain(nil, []gn{name})
}

// mutations make something odd in a hierarchy, not always wrong.
var mutations = []func(h *hierarchy){
	// Time.
	func(h *hierarchy) { h.pick().to = testTime.AddDate(0, 0, -1); h.mark("expired") },
	func(h *hierarchy) { h.pick().from = testTime.AddDate(0, 0, 1); h.mark("not yet valid") },
	func(h *hierarchy) { s := h.pick(); s.from, s.to = testTime, testTime; h.mark("valid for a second") },
	// Usages.
	func(h *hierarchy) {
		h.pick().set(oid.ExtExtKeyUsage, false, extOIDs(h.t, ekuServer))
		h.mark("for servers")
	},
	func(h *hierarchy) {
		h.pick().set(oid.ExtExtKeyUsage, true, extOIDs(h.t, ekuClient))
		h.mark("for clients")
	},
	func(h *hierarchy) {
		h.pick().set(oid.ExtExtKeyUsage, h.critical(), extOIDs(h.t, ekuServer, oid.EKUEmailProtection))
		h.mark("for mail and servers")
	},
	func(h *hierarchy) {
		h.pick().set(oid.ExtExtKeyUsage, false, extOIDs(h.t, oid.EKUAny))
		h.mark("any usage")
	},
	func(h *hierarchy) {
		h.issuer().set(oid.ExtKeyUsage, h.critical(), extUsage(h.t, x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature))
		h.mark("no keyCertSign")
	},
	func(h *hierarchy) { h.issuer().drop(oid.ExtKeyUsage); h.mark("no key usage") },
	func(h *hierarchy) { h.person1().drop(oid.ExtKeyUsage) },
	// Basic constraints.
	func(h *hierarchy) {
		h.issuer().set(oid.ExtBasicConstraints, true, extBasic(h.t, false, -1))
		h.mark("cA false")
	},
	func(h *hierarchy) { h.issuer().drop(oid.ExtBasicConstraints); h.mark("no basicConstraints") },
	func(h *hierarchy) {
		h.issuer().set(oid.ExtBasicConstraints, h.critical(), extBasic(h.t, true, h.rng.IntN(4)))
		h.mark("path length")
	},
	func(h *hierarchy) {
		h.person1().set(oid.ExtBasicConstraints, true, extBasic(h.t, true, -1))
		h.mark("leaf is a CA")
	},
	func(h *hierarchy) { h.issuer().version = 1; h.mark("version 1") },
	// Signatures and names.
	func(h *hierarchy) { h.specs[1+h.rng.IntN(len(h.specs)-1)].broken = true; h.mark("broken signature") },
	func(h *hierarchy) {
		s := h.specs[1+h.rng.IntN(len(h.specs)-1)]
		s.issuer = dn(h.t, "Test", "Nobody "+h.id, "")
		h.mark("unknown issuer")
	},
	func(h *hierarchy) { h.mark("unknown root") },
	func(h *hierarchy) { h.pick().drop(oid.ExtAuthorityKeyID) },
	func(h *hierarchy) { h.pick().drop(oid.ExtSubjectKeyID) },
	func(h *hierarchy) {
		h.specs[1+h.rng.IntN(len(h.specs)-1)].set(oid.ExtAuthorityKeyID, false, extKeyID(h.t, []byte("other"), true))
		h.mark("other key identifier")
	},
	// Extensions.
	func(h *hierarchy) { h.pick().set(extNobody, true, []byte{5, 0}); h.mark("unknown critical extension") },
	func(h *hierarchy) { h.pick().set(extNobody, false, []byte{5, 0}); h.mark("unknown extension") },
	func(h *hierarchy) { h.pick().set(oid.ExtBasicConstraints, true, []byte{0x30, 5}); h.mark("malformed") },
	// Name constraints.
	mutateEmail, mutateEmail, mutateDirectory, mutateOtherForms, mutateAltNames, mutateAltNames,
	// Policies.
	mutatePolicyConstraints, mutatePolicyConstraints, mutateMapping, mutateInhibitAny,
	// Other paths.
	crossSign, crossSign, loop, selfIssue,
}

func mutateEmail(h *hierarchy) {
	h.either(gn{1, "example.test"}, gn{1, ".example.test"}, gn{1, "leaf@example.test"}, gn{1, "other.test"}, gn{1, "EXAMPLE.test"}, gn{1, ".test"})
	h.mark("email constraint")
}

func mutateDirectory(h *hierarchy) {
	root := func(org string) gn { return gn{4, string(dn(h.t, org, "", ""))} }
	h.either(root("Test"), root("Other"), gn{4, string(h.person1().subject)}, root("TEST"))
	h.mark("directory constraint")
}

func mutateOtherForms(h *hierarchy) {
	h.either(
		gn{2, "example.test"}, gn{2, "other.test"}, gn{6, "example.test"}, gn{6, ".example.test"},
		gn{7, "\x0a\x00\x00\x00\xff\x00\x00\x00"}, gn{7, "\xc0\xa8\x00\x00\xff\xff\x00\x00"},
	)
	h.mark("other constraint")
}

// mutateAltNames gives the leaf other names.
func mutateAltNames(h *hierarchy) {
	s := h.person1()
	switch h.rng.IntN(6) {
	case 0:
		s.set(oid.ExtSubjectAltName, false, extNames(h.t, gn{1, "leaf@sub.example.test"}))
	case 1:
		s.set(oid.ExtSubjectAltName, h.critical(), extNames(h.t, gn{1, "leaf@example.test"}, gn{1, "other@other.test"}))
	case 2:
		s.set(oid.ExtSubjectAltName, false, extNames(h.t,
			gn{2, "www.example.test"}, gn{6, "https://www.example.test/x"}, gn{7, "\x0a\x01\x02\x03"}))
	case 3:
		s.drop(oid.ExtSubjectAltName)
		s.subject = dn(h.t, "Test", "Leaf "+h.id, "leaf@example.test")
	case 4:
		s.subject = dn(h.t, "Test", "Leaf "+h.id, "leaf@other.test")
	case 5:
		s.drop(oid.ExtSubjectAltName)
	}
	h.mark("other names")
}

func mutatePolicyConstraints(h *hierarchy) {
	s := h.specs[1+h.rng.IntN(len(h.specs)-1)]
	explicit, mapping := h.rng.IntN(5)-1, h.rng.IntN(4)-1
	if explicit < 0 && mapping < 0 {
		explicit = 0
	}
	s.set(extPolicyConstraints, h.critical(), extConstraintsOnPolicies(h.t, explicit, mapping))
	h.mark("policy constraints")
}

func mutateMapping(h *hierarchy) {
	s := h.below()
	if s == nil {
		return
	}
	from := []oid.OID{policy1, policy2, policy3, policy1, policy1, anyPolicy}[h.rng.IntN(6)]
	to := []oid.OID{policy2, policy3, policy1, policy2}[h.rng.IntN(4)]
	pairs := []oid.OID{from, to}
	if h.rng.IntN(3) == 0 {
		pairs = append(pairs, policy2, policy3)
	}
	s.set(extPolicyMappings, h.critical(), extMappings(h.t, pairs...))
	h.mark("policy mapping")
}

func mutateInhibitAny(h *hierarchy) {
	s := h.below()
	if s == nil {
		return
	}
	n := h.rng.IntN(3)
	s.set(extInhibitAnyPolicy, h.critical(), enc(h.t, func(b *der.Builder) { b.AddASN1Int64(int64(n)) }))
	h.mark("inhibitAnyPolicy")
}

// crossSign adds a certificate for the name and key of a CA, by a root of its
// own that is not trusted, or by another CA of the path.
func crossSign(h *hierarchy) {
	s := h.below()
	if s == nil {
		return
	}
	other := h.ca(nil, "Cross root")
	cross := *s
	h.serial++
	cross.serial, cross.issuer, cross.signer = h.serial, other.subject, h.keyOf(other)
	cross.exts = append([]Extension(nil), s.exts...)
	cross.set(oid.ExtAuthorityKeyID, false, extKeyID(h.t, other.spki, true))
	h.extra = append(h.extra, &cross, other)
	h.mark("other path")
}

// loop adds two certificates that lead from a CA back to itself.
func loop(h *hierarchy) {
	s := h.below()
	if s == nil {
		return
	}
	a := h.ca(s, "Loop")
	b := h.ca(a, "Loop back")
	b.subject, b.spki = s.subject, s.spki
	b.set(oid.ExtSubjectKeyID, false, extKeyID(h.t, s.spki, false))
	h.extra = append(h.extra, a, b)
	h.mark("other path")
}

// selfIssue puts a new key of a CA between it and what it issued.
func selfIssue(h *hierarchy) {
	i := h.rng.IntN(len(h.specs) - 1)
	s := h.specs[i]
	if s.version != 3 {
		return
	}
	fresh := h.ca(s, "Self")
	fresh.subject = s.subject
	if next := h.specs[i+1]; string(next.issuer) == string(s.subject) {
		next.signer = h.keyOf(fresh)
		next.set(oid.ExtAuthorityKeyID, false, extKeyID(h.t, fresh.spki, true))
	}
	list := append([]*spec(nil), h.specs[:i+1]...)
	h.specs = append(append(list, fresh), h.specs[i+1:]...)
	if h.marks["policies"] && h.rng.IntN(3) > 0 {
		fresh.set(extPolicies, false, extPolicyList(h.t, anyPolicy))
	}
	h.mark("self-issued")
}
