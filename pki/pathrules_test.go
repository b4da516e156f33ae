package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// TestVerifyRootBinds holds chains to what the certificate of the root says
// (RFC 5937, Section 3).
func TestVerifyRootBinds(t *testing.T) {
	good := Reason(0)
	for _, c := range []struct {
		what   string
		cas    int
		change func(h *hierarchy)
		want   Reason
	}{
		{"length 0, no CA", 0, func(h *hierarchy) { h.specs[0].set(oid.ExtBasicConstraints, true, extBasic(t, true, 0)) }, good},
		{"length 0, a CA", 1, func(h *hierarchy) { h.specs[0].set(oid.ExtBasicConstraints, true, extBasic(t, true, 0)) }, Constraint},
		{"length 1, a CA", 1, func(h *hierarchy) { h.specs[0].set(oid.ExtBasicConstraints, true, extBasic(t, true, 1)) }, good},
		{"length 1, two CAs", 2, func(h *hierarchy) { h.specs[0].set(oid.ExtBasicConstraints, true, extBasic(t, true, 1)) }, Constraint},
		{"length 0 and 5 below", 2, func(h *hierarchy) {
			h.specs[1].set(oid.ExtBasicConstraints, true, extBasic(t, true, 0))
			h.specs[2].set(oid.ExtBasicConstraints, true, extBasic(t, true, 5))
		}, Constraint},
		{"length 5 and 0 below", 2, func(h *hierarchy) {
			h.specs[1].set(oid.ExtBasicConstraints, true, extBasic(t, true, 5))
			h.specs[2].set(oid.ExtBasicConstraints, true, extBasic(t, true, 0))
		}, good},
		{"other addresses", 1, func(h *hierarchy) {
			h.specs[0].set(extNameConstraints, true, extSubtrees(t, []gn{{1, "other.test"}}, nil))
		}, Constraint},
		{"these addresses", 1, func(h *hierarchy) {
			h.specs[0].set(extNameConstraints, true, extSubtrees(t, []gn{{1, "example.test"}}, nil))
		}, good},
		{"no keyCertSign", 1, func(h *hierarchy) {
			h.specs[0].set(oid.ExtKeyUsage, true, extUsage(t, x509.KeyUsageCRLSign))
		}, Constraint},
		{"an unknown critical extension", 1, func(h *hierarchy) { h.specs[0].set(extNobody, true, []byte{5, 0}) }, Unsupported},
		{"for servers", 1, func(h *hierarchy) { h.specs[0].set(oid.ExtExtKeyUsage, false, extOIDs(t, ekuServer)) }, WrongUsage},
		{"expired", 1, func(h *hierarchy) { h.specs[0].to = testTime.AddDate(0, 0, -1) }, Expired},
	} {
		h := straight(t, c.cas)
		c.change(h)
		h.build()
		chain, err := h.verify(ChainOptions{})
		if c.want == good {
			if err != nil || len(chain) != c.cas+2 {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		wantReason(t, c.what, err, c.want, nil)
	}
}

// TestVerifyMalformedConstraints has name constraints that cannot be read, or
// that say nothing: who issues under them is not known.
func TestVerifyMalformedConstraints(t *testing.T) {
	within := gn{1, "example.test"}
	fine := extSubtrees(t, []gn{within}, nil)
	context := func(n uint8, content []byte) []byte {
		return encSeq(t, func(b *der.Builder) {
			b.AddASN1(der.Context(n, true), func(b *der.Builder) { b.AddBytes(content) })
		})
	}
	tree := encSeq(t, within.add)
	for what, value := range map[string][]byte{
		"nothing":           nil,
		"an empty sequence": {0x30, 0},
		"no subtrees":       context(0, nil),
		"data after it":     append(append([]byte(nil), fine...), 5, 0),
		"NULL":              {5, 0},
		"a third field":     context(2, tree),
		"a broken base":     context(0, []byte{0x30, 2, 0x81, 5}),
		"an empty tree":     context(0, []byte{0x30, 0}),
		"an address of SmtpUTF8Mailbox": context(0, encSeq(t, gn{0, string(enc(t, func(b *der.Builder) {
			der.AddOID(b, oid.SmtpUTF8Mailbox)
			b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddBytes([]byte{12, 1, 'a'}) })
		}))}.add)),
		"a broken excluded": encSeq(t, func(b *der.Builder) {
			b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddBytes(tree) })
			b.AddASN1(der.Context(1, true), func(b *der.Builder) { b.AddBytes([]byte{0x30, 5}) })
		}),
		"excluded before permitted": encSeq(t, func(b *der.Builder) {
			for _, n := range []uint8{1, 0} {
				b.AddASN1(der.Context(n, true), func(b *der.Builder) { b.AddBytes(tree) })
			}
		}),
		"a minimum": context(0, encSeq(t, func(b *der.Builder) {
			within.add(b)
			b.AddASN1(der.Context(0, false), func(b *der.Builder) { b.AddUint8(1) })
		})),
		"a maximum": context(0, encSeq(t, func(b *der.Builder) {
			within.add(b)
			b.AddASN1(der.Context(1, false), func(b *der.Builder) { b.AddUint8(1) })
		})),
	} {
		for _, critical := range []bool{false, true} {
			h := straight(t, 1)
			h.specs[1].set(extNameConstraints, critical, fine)
			h.specs[1].exts[len(h.specs[1].exts)-1].Value = value
			h.build()
			_, err := h.verify(ChainOptions{})
			wantReason(t, what, err, Malformed, nil)
		}
	}
	h := straight(t, 1)
	h.specs[1].set(extNameConstraints, true, fine)
	h.build()
	if _, err := h.verify(ChainOptions{}); err != nil {
		t.Errorf("those that are fine: %v", err)
	}
}

// TestVerifyMalformedExtensions has extensions of a CA that cannot be read.
func TestVerifyMalformedExtensions(t *testing.T) {
	after := func(value []byte) []byte { return append(append([]byte(nil), value...), 5, 0) }
	policies, mappings := extPolicyList(t, policy1), extMappings(t, policy1, policy2)
	counts := 0
	for id, values := range map[oid.OID][][]byte{
		oid.ExtBasicConstraints: {
			after(extBasic(t, true, 1)), {0x30, 6, 1, 1, 0xff, 2, 1, 0xff}, {0x30, 5, 1, 1, 0xff, 2, 0}, {0x30, 5, 1, 1, 0xff, 5, 0},
			{0x30, 8, 1, 1, 0xff, 2, 1, 1, 5, 0},
		},
		extPolicies: {after(policies), {0x30, 0}, {0x31, 0}, {0x30, 2, 5, 0}, extPolicyList(t, policy1, policy1), extPolicyList(t, anyPolicy, anyPolicy)},
		extPolicyMappings: {
			after(mappings), {0x30, 0}, {0x30, 2, 0x30, 0}, {5, 0}, {0x30, 2, 5, 0},
			encSeq(t, func(b *der.Builder) { b.AddBytes(policies) }),
			encSeq(t, func(b *der.Builder) {
				b.AddBytes(encSeq(t, func(b *der.Builder) {
					for range 3 {
						der.AddOID(b, policy1)
					}
				}))
			}),
		},
		extPolicyConstraints: {
			after(extConstraintsOnPolicies(t, 1, 1)), {5, 0}, {0x30, 2, 5, 0}, {0x30, 3, 0x80, 1, 0x80}, {0x30, 2, 0x80, 0},
			{0x30, 6, 0x81, 1, 1, 0x80, 1, 1},
		},
		extInhibitAnyPolicy: {{2, 1, 0, 5, 0}, {2, 1, 0xff}, {2, 0}, {5, 0}, {}},
		oid.ExtKeyUsage:     {{5, 0}, {3, 0}, {3, 2, 8, 0xff}},
		oid.ExtExtKeyUsage:  {{5, 0}, {0x30, 2, 5, 0}},
	} {
		for _, value := range values {
			for _, critical := range []bool{false, true} {
				h := straight(t, 1)
				h.specs[1].drop(id)
				h.specs[1].exts = append(h.specs[1].exts, Extension{id, critical, value})
				h.build()
				_, err := h.verify(ChainOptions{Purpose: AnyPurpose})
				wantReason(t, string(id), err, Malformed, nil)
				counts++
			}
		}
	}
	if counts != 2*34 {
		t.Errorf("%d cases", counts)
	}
}

func TestHostWithin(t *testing.T) {
	for _, c := range []struct {
		name, base string
		want       place
	}{
		{"a@sub.other.test", ".example.test", outside}, {"a@very.long.sub.domain.other.test", ".example.test", outside},
		{"a@xexample.test", ".example.test", outside}, {"a@.example.test", ".example.test", outside},
		{"a@example.test", "@example.test", outside}, {"a@x.example.test", "@.example.test", outside},
		{"a@example.test", "a@other.test", outside}, {"aa@example.test", "a@example.test", outside},
		{"a@example.test", ".", outside}, {"a@test", "test", inside},
	} {
		if got := emailWithin(c.name, c.base); got != c.want {
			t.Errorf("%s in %s: %v", c.name, c.base, got)
		}
	}
}

// TestVerifyPinnedPolicies has a leaf that is trusted for itself: its own
// policies count.
func TestVerifyPinnedPolicies(t *testing.T) {
	for _, c := range []struct {
		policies []oid.OID
		opts     ChainOptions
		good     bool
	}{
		{nil, ChainOptions{}, true},
		{nil, ChainOptions{RequireExplicitPolicy: true}, false},
		{[]oid.OID{policy1}, ChainOptions{RequireExplicitPolicy: true}, true},
		{[]oid.OID{policy1}, ChainOptions{RequireExplicitPolicy: true, Policies: []string{string(policy1)}}, true},
		{[]oid.OID{policy1}, ChainOptions{RequireExplicitPolicy: true, Policies: []string{string(policy2)}}, false},
		{[]oid.OID{anyPolicy}, ChainOptions{RequireExplicitPolicy: true, Policies: []string{string(policy2)}}, true},
		{[]oid.OID{anyPolicy}, ChainOptions{RequireExplicitPolicy: true, InhibitAnyPolicy: true}, false},
		{[]oid.OID{anyPolicy, policy1}, ChainOptions{RequireExplicitPolicy: true, InhibitAnyPolicy: true}, true},
	} {
		h := straight(t, 0)
		if c.policies != nil {
			h.specs[1].set(extPolicies, false, extPolicyList(t, c.policies...))
		}
		h.build()
		h.roots = []*Certificate{h.leaf}
		_, err := h.verify(c.opts)
		if c.good {
			if err != nil {
				t.Errorf("%v, %+v: %v", c.policies, c.opts, err)
			}
			continue
		}
		wantReason(t, "policies", err, Policy, h.leaf)
	}
}

// TestVerifyTellsMost has several paths with different faults: that which is
// nearest to being accepted is told.
func TestVerifyTellsMost(t *testing.T) {
	h := straight(t, 2)
	ca := h.specs[2]
	expired, wrong := *ca, *ca
	expired.serial, expired.from, expired.to = 1000, testTime.AddDate(-3, 0, 0), testTime.AddDate(-2, 0, 0)
	wrong.serial = 1001
	wrong.exts = append([]Extension(nil), ca.exts...)
	wrong.set(oid.ExtBasicConstraints, true, extBasic(t, false, -1))
	h.specs[2].broken = true
	h.extra = append(h.extra, &expired, &wrong)
	for range 8 { // in any order
		h.roots, h.others = nil, nil
		h.build()
		_, err := h.verify(ChainOptions{})
		wantReason(t, "a path that has expired", err, Expired, nil)
	}
	h.extra = h.extra[1:]
	for range 8 {
		h.roots, h.others = nil, nil
		h.build()
		_, err := h.verify(ChainOptions{})
		wantReason(t, "a path that breaks a rule", err, Constraint, nil)
	}
	h.extra = nil
	h.roots, h.others = nil, nil
	h.build()
	_, err := h.verify(ChainOptions{})
	wantReason(t, "a broken signature", err, BadSignature, nil)
}

// TestSignatureParameters has identifiers of signatures with parameters that
// they do not have.
func TestSignatureParameters(t *testing.T) {
	h := straight(t, 0)
	h.build()
	root := h.roots[0]
	for what, c := range map[string]struct {
		a    der.Algorithm
		want error
	}{
		"none": {der.Algorithm{OID: oid.ECDSAWithSHA256}, nil},
		"NULL": {der.WithNull(oid.ECDSAWithSHA256), nil},
		"some": {der.Algorithm{OID: oid.ECDSAWithSHA256, Parameters: []byte{4, 0}}, alg.ErrParameters},
	} {
		if _, err := verifySignature(root, root.PublicKey, c.a, h.leaf.RawTBS, h.leaf.Signature); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSignatureWithoutDigest has signatures whose identifier names no digest:
// nothing is known to be signed by them.
func TestSignatureWithoutDigest(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	info, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	c := new(Certificate)
	if c.KeyAlgorithm, c.PublicKey, err = parsePublicKey(info); err != nil {
		t.Fatal(err)
	}
	nothing, err := rsa.SignPKCS1v15(nil, key, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []oid.OID{oid.RSA, oid.EC, oid.DSA} {
		if _, err = verifySignature(c, c.PublicKey, der.WithNull(id), []byte("message"), nothing); err == nil || errors.Is(err, alg.ErrSignature) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
