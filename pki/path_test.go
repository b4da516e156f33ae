package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/testpki"
)

// straight makes a hierarchy of a root, n CAs and a leaf with nothing odd.
func straight(t testing.TB, n int) *hierarchy {
	t.Helper()
	h := newHierarchy(t, 1, 1)
	h.specs, h.extra, h.roots, h.others = nil, nil, nil, nil
	clear(h.marks)
	h.specs = append(h.specs, h.ca(nil, "Root"))
	for i := range n {
		h.specs = append(h.specs, h.ca(h.specs[i], fmt.Sprintf("CA %d", i)))
	}
	leaf := h.person(h.specs[n])
	leaf.drop(oid.ExtKeyUsage)
	leaf.set(oid.ExtExtKeyUsage, false, extOIDs(t, oid.EKUEmailProtection))
	h.specs = append(h.specs, leaf)
	return h
}

func (h *hierarchy) verify(opts ChainOptions) ([]*Certificate, error) {
	opts.Time = testTime
	if opts.Intermediates == nil {
		opts.Intermediates = h.others
	}
	return NewRoots(h.roots).Verify(h.leaf, opts)
}

func TestVerifyDepth(t *testing.T) {
	for _, n := range []int{0, 18, 19, 30} {
		h := straight(t, n)
		h.build()
		chain, err := h.verify(ChainOptions{})
		if n+2 <= maxPathLength {
			if err != nil || len(chain) != n+2 {
				t.Errorf("%d CAs: a chain of %d, %v", n, len(chain), err)
			}
			continue
		}
		wantReason(t, fmt.Sprintf("%d CAs", n), err, TooComplex, nil)
	}
}

// mesh adds n CAs that all certify each other and the issuer of the leaf. One
// of them claims to be certified by the root, if fake says so.
func mesh(t testing.TB, h *hierarchy, n int, fake bool) {
	t.Helper()
	var all []*spec
	for i := range n {
		all = append(all, h.ca(nil, fmt.Sprintf("Mesh %d", i)))
	}
	victim := h.specs[len(h.specs)-2]
	for i, issuer := range all {
		for _, subject := range append(slices.Clone(all[:i]), append(all[i+1:], victim)...) {
			s := h.ca(issuer, "Mesh")
			s.subject, s.spki = subject.subject, subject.spki
			s.set(oid.ExtSubjectKeyID, false, extKeyID(t, s.spki, false))
			h.extra = append(h.extra, s)
		}
	}
	if fake {
		s := h.ca(h.specs[0], "Mesh 0")
		s.subject, s.spki, s.broken = all[0].subject, all[0].spki, true
		h.extra = append(h.extra, s)
	}
}

// Certificates that all certify each other have more paths than there is time.
func TestVerifyMesh(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		fake bool
		want Reason
	}{{false, UnknownIssuer}, {true, TooComplex}} {
		h := straight(t, 2)
		mesh(t, h, 14, c.fake)
		h.build()
		if chain, err := h.verify(ChainOptions{}); err != nil || len(chain) != 4 {
			t.Errorf("among paths that lead nowhere: a chain of %d, %v", len(chain), err)
		}
		lost := h.others[:0:0]
		for _, other := range h.others { // without the one way out
			if other.CommonName() != "CA 0 1-1" {
				lost = append(lost, other)
			}
		}
		_, err := h.verify(ChainOptions{Intermediates: lost})
		wantReason(t, fmt.Sprintf("no way to the root, fake %v", c.fake), err, c.want, nil)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// One name and many keys: no more than maxPathSignatures are tried.
func TestVerifyManyIssuers(t *testing.T) {
	h := straight(t, 1)
	h.build()
	ca := h.specs[1]
	var many []*Certificate
	for i := range 1500 {
		s := h.ca(h.specs[0], "Many")
		s.subject, s.serial = ca.subject, int64(i)+100
		s.drop(oid.ExtSubjectKeyID)
		if string(s.spki) == string(ca.spki) {
			continue
		}
		many = append(many, s.make(t))
	}
	h.leaf.AuthorityKeyID = nil
	_, err := h.verify(ChainOptions{Intermediates: many})
	wantReason(t, "none of the keys", err, TooComplex, h.leaf)
	b := newBuilder(NewRoots(h.roots), h.leaf, &ChainOptions{Intermediates: many})
	if _, fault := b.at(testTime); fault == nil || len(b.edges) > maxPathSignatures {
		t.Errorf("%d signatures were checked, %v", len(b.edges), fault)
	}
}

// Mappings from every policy to every other double a tree of policies at each
// step (CVE-2023-0464); the graph does not grow.
func TestVerifyManyPolicies(t *testing.T) {
	h := straight(t, 17)
	var list, pairs []oid.OID
	for i := range 60 {
		list = append(list, oid.OID(fmt.Sprintf("1.3.6.1.4.1.99999.1000.%d", i)))
	}
	for _, from := range list {
		for _, to := range list {
			pairs = append(pairs, from, to)
		}
	}
	for i, s := range h.specs[1:] {
		s.set(extPolicies, true, extPolicyList(t, list...))
		if i < len(h.specs)-2 {
			s.set(extPolicyMappings, true, extMappings(t, pairs...))
		}
	}
	h.build()
	start := time.Now()
	opts := ChainOptions{RequireExplicitPolicy: true, Policies: []string{string(list[3])}}
	if _, err := h.verify(opts); err != nil {
		t.Error(err)
	}
	opts.Policies = []string{string(policy1)}
	_, err := h.verify(opts)
	wantReason(t, "another policy", err, Policy, nil)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Names and constraints are compared a bounded number of times.
func TestVerifyManyConstraints(t *testing.T) {
	h := straight(t, 1)
	var trees, names []gn
	for i := range 2000 {
		trees = append(trees, gn{1, fmt.Sprintf("host%d.test", i)})
		names = append(names, gn{1, fmt.Sprintf("a@other%d.test", i)})
	}
	h.specs[1].set(extNameConstraints, true, extSubtrees(t, nil, trees))
	h.specs[2].set(oid.ExtSubjectAltName, false, extNames(t, names...))
	h.build()
	_, err := h.verify(ChainOptions{})
	wantReason(t, "4,000,000 comparisons", err, TooComplex, h.leaf)
}

func TestVerifyPurposes(t *testing.T) {
	const sign, encipher, agree = x509.KeyUsageDigitalSignature, x509.KeyUsageKeyEncipherment, x509.KeyUsageKeyAgreement
	accepted := 0
	for _, c := range []struct {
		rsa                        bool
		usage                      x509.KeyUsage
		signing, encrypting, agree bool
	}{
		{false, 0, true, true, true},
		{true, 0, true, true, false},
		{false, sign, true, false, false},
		{true, sign, true, false, false},
		{false, agree, false, true, true},
		{false, encipher, false, false, false},
		{true, encipher, false, true, false},
		{true, agree, false, false, false},
		{true, x509.KeyUsageContentCommitment, true, false, false},
	} {
		h := straight(t, 1)
		leaf := h.specs[2]
		_, leaf.spki = h.newKey()
		if c.rsa {
			leaf.spki = h.keys.rsa
		}
		if c.usage != 0 {
			leaf.set(oid.ExtKeyUsage, true, extUsage(t, c.usage))
		}
		h.build()
		for purpose, want := range map[Purpose]bool{
			ProtectEmail: true, AnyPurpose: true, Signing: c.signing, Encrypting: c.encrypting, Agreeing: c.agree,
		} {
			_, err := h.verify(ChainOptions{Purpose: purpose})
			if err == nil {
				accepted++
			}
			if want != (err == nil) {
				t.Errorf("%+v, purpose %d: %v", c, purpose, err)
			} else if err != nil {
				wantReason(t, "usage", err, WrongUsage, h.leaf)
			}
		}
	}
	if accepted != 18+5+4+2 {
		t.Errorf("%d were accepted", accepted)
	}
}

func TestVerifyIssuerUsage(t *testing.T) {
	h := straight(t, 2)
	h.specs[1].set(oid.ExtExtKeyUsage, false, extOIDs(t, ekuServer))
	h.build()
	_, err := h.verify(ChainOptions{})
	wantReason(t, "a CA for servers", err, WrongUsage, nil)
	for _, opts := range []ChainOptions{{LeafUsageOnly: true}, {Purpose: AnyPurpose}} {
		if _, err = h.verify(opts); err != nil {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

func TestVerifyWeak(t *testing.T) {
	h := straight(t, 1)
	h.specs[1].hash = crypto.SHA1
	h.build()
	checkWeak(t, h.roots, h.leaf, ChainOptions{Time: testTime, Intermediates: h.others}, "sha1")
	small, err := testpki.NewCAWithKey("Small", testpki.RSA1024)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, small, testpki.Profile{})
	checkWeak(t, []*Certificate{FromX509(small.Cert)}, leaf, ChainOptions{}, "rsa1024")
}

// checkWeak asks that a chain needs one allowance.
func checkWeak(t *testing.T, roots []*Certificate, leaf *Certificate, opts ChainOptions, allowance string) {
	t.Helper()
	opts.Allow = []string{"md5", "dsa"}
	_, err := NewRoots(roots).Verify(leaf, opts)
	wantReason(t, allowance, err, Weak, nil)
	var weakness *WeakError
	if !errors.As(err, &weakness) || weakness.Allow != allowance {
		t.Errorf("%v, want %s", err, allowance)
	}
	opts.Allow = []string{allowance}
	if _, err = NewRoots(roots).Verify(leaf, opts); err != nil {
		t.Errorf("%s is allowed: %v", allowance, err)
	}
}

// Certificates of version 1 are CAs as roots only.
func TestVerifyVersion1(t *testing.T) {
	for i, want := range []Reason{0, Constraint} {
		h := straight(t, 2)
		h.specs[i].version = 1
		h.build()
		_, err := h.verify(ChainOptions{})
		if want == 0 {
			if err != nil {
				t.Errorf("a root: %v", err)
			}
			continue
		}
		wantReason(t, "a CA", err, want, nil)
	}
}

func TestVerifyAnchor(t *testing.T) {
	h := straight(t, 2)
	h.specs[0].to = testTime.AddDate(0, 0, -1)
	h.build()
	_, err := h.verify(ChainOptions{})
	wantReason(t, "the root has expired", err, Expired, h.roots[0])
	anchor, err := NewAnchor(h.roots[0].RawSubject, h.roots[0].RawSPKI)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := NewRoots([]*Certificate{anchor, anchor}).Verify(h.leaf, ChainOptions{Time: testTime, Intermediates: h.others})
	if err != nil || len(chain) != 4 || chain[3] != anchor {
		t.Errorf("a name and a key have no time: %v", err)
	}
	if _, err = NewAnchor([]byte{1, 2}, h.roots[0].RawSPKI); !errors.As(err, new(*ParseError)) {
		t.Errorf("no name: %v", err)
	}
	if _, err = NewAnchor(h.roots[0].RawSubject, []byte{0x30, 0}); !errors.As(err, new(*KeyError)) {
		t.Errorf("no key: %v", err)
	}
}

// The error has the path that was tried and who is at fault.
func TestVerifyExplains(t *testing.T) {
	h := straight(t, 3)
	h.specs[2].set(oid.ExtBasicConstraints, true, extBasic(t, false, -1))
	h.specs[1].to = testTime.AddDate(0, 0, -1) // also wrong, and would pass
	h.build()
	_, err := h.verify(ChainOptions{})
	wantReason(t, "not a CA", err, Constraint, nil)
	var fault *ChainError
	if !errors.As(err, &fault) || len(fault.Path) != 5 || fault.Certificate != fault.Path[2] || fault.Path[0] != h.leaf || fault.Path[4] != h.roots[0] {
		t.Fatalf("%+v", fault)
	}
	want := `"Leaf 1-1", issued by "CA 2 1-1", issued by "CA 1 1-1", issued by "CA 0 1-1", issued by "Root 1-1"`
	if fault.Tried() != want {
		t.Errorf("%s, want %s", fault.Tried(), want)
	}
	for r := UnknownIssuer; r <= TooComplex; r++ {
		fault.Reason = r
		if fault.Error() == "" || strings.HasPrefix(r.String(), "reason ") {
			t.Errorf("%d has no name", r)
		}
	}
	if (&ChainError{}).Tried() != "" || Reason(TooComplex+1).String() != "reason 12" {
		t.Error("what there is not has a name")
	}
}

// Another path is tried where the first breaks a rule.
func TestVerifyOtherPath(t *testing.T) {
	h := straight(t, 2)
	ca := h.specs[2]
	bad := *ca
	bad.serial, bad.exts = 1000, slices.Clone(ca.exts)
	bad.set(extNameConstraints, true, extSubtrees(t, []gn{{1, "other.test"}}, nil))
	h.extra = append(h.extra, &bad)
	for range 8 { // in any order
		h.roots, h.others = nil, nil
		h.build()
		if _, err := h.verify(ChainOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func TestPunycode(t *testing.T) {
	for _, c := range [][2]string{
		{"bücher.example", "xn--bcher-kva.example"}, {"EXAMPLE.test", "example.test"}, {"Äpfel.test", "xn--pfel-koa.test"},
		{"例え.テスト", "xn--r8jz45g.xn--zckzah"}, {"münchen-ost.de", "xn--mnchen-ost-9db.de"}, {".bücher.example", ".xn--bcher-kva.example"},
		{"", ""}, {strings.Repeat("ü", 64), strings.Repeat("ü", 64)},
	} {
		if got := asciiDomain(c[0]); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

func TestNameWithin(t *testing.T) {
	mask := func(ip, bits uint32) string {
		return string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, ip), bits))
	}
	for _, c := range []struct {
		form       nameForm
		name, base string
		want       place
	}{
		{formEmail, "a@example.test", "example.test", inside},
		{formEmail, "a@sub.example.test", "example.test", outside},
		{formEmail, "a@sub.example.test", ".example.test", inside},
		{formEmail, "a@example.test", ".example.test", outside},
		{formEmail, "a@EXAMPLE.test", "a@example.TEST", inside},
		{formEmail, "A@example.test", "a@example.test", outside},
		{formEmail, "ä@bücher.example", "xn--bcher-kva.example", inside},
		{formEmail, "ä@xn--bcher-kva.example", "bücher.example", inside},
		{formEmail, "a@b@example.test", "example.test", inside},
		{formEmail, "anybody", "example.test", unclear},
		{formEmail, "a@", "", unclear},
		{formEmail, "a@example.test", "", inside},
		{formDNS, "www.example.test", "example.test", inside},
		{formDNS, "wwwexample.test", "example.test", outside},
		{formDNS, "example.test.", "example.test", inside},
		{formDNS, "example.test", ".example.test", outside},
		{formDNS, "", "example.test", unclear},
		{formURI, "https://u@example.test:80/x", "example.test", inside},
		{formURI, "https://www.example.test/x", "example.test", outside},
		{formURI, "https://www.example.test/x", ".example.test", inside},
		{formURI, "urn:x:y", "example.test", unclear},
		{formURI, "https://192.0.2.1/", "example.test", unclear},
		{formURI, "https://[2001:db8::1]/", "example.test", unclear},
		{formURI, "%", "example.test", unclear},
		{formIP, "\x0a\x01\x02\x03", mask(0x0a000000, 0xff000000), inside},
		{formIP, "\x0b\x01\x02\x03", mask(0x0a000000, 0xff000000), outside},
		{formIP, strings.Repeat("\x01", 16), mask(0x0a000000, 0xff000000), outside},
		{formIP, "\x0a", mask(0x0a000000, 0xff000000), unclear},
		{formOther, "", "", unclear},
	} {
		name, base := subjectName{form: c.form, text: c.name, ip: []byte(c.name)}, subjectName{form: c.form, text: c.base, ip: []byte(c.base)}
		if got := name.within(&base); got != c.want {
			t.Errorf("%s %q in %q: %v, want %v", c.form, c.name, c.base, got, c.want)
		}
	}
}

// RFC 4134 has a CA with a DSA key, whose parameters one leaf inherits, and one
// with an RSA key, all with SHA-1 and of 1024 bits.
func TestVerifyRFC4134(t *testing.T) {
	certs := readCerts(t, "rfc4134/*.cer")
	at := time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC)
	n := 0
	for file, allow := range map[string][]string{
		"AliceDSSSignByCarlNoInherit.cer": {"sha1", "dsa"}, "DianeDSSSignByCarlInherit.cer": {"sha1", "dsa"},
		"AliceRSASignByCarl.cer": {"sha1", "rsa1024"}, "BobRSASignByCarl.cer": {"sha1", "rsa1024"}, "DianeRSASignByCarl.cer": {"sha1", "rsa1024"},
	} {
		root := certs["CarlRSASelf.cer"]
		if allow[1] == "dsa" {
			root = certs["CarlDSSSelf.cer"]
		}
		roots := NewRoots([]*Certificate{root})
		if chain, err := roots.Verify(certs[file], ChainOptions{Time: at, Allow: allow}); err != nil || len(chain) != 2 {
			t.Errorf("%s: %v", file, err)
		}
		for _, missing := range []string{allow[0], allow[1]} {
			_, err := roots.Verify(certs[file], ChainOptions{Time: at, Allow: []string{missing}})
			wantReason(t, file, err, Weak, certs[file])
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d certificates", n)
	}
}

// A root that was renewed with the same name and key is under the old one.
func TestVerifyRenewedRoot(t *testing.T) {
	h := straight(t, 0)
	h.build()
	renewed := *h.specs[0]
	renewed.serial, renewed.to = 77, testTime.AddDate(5, 0, 0)
	leaf := renewed.make(t)
	chain, err := NewRoots(h.roots).Verify(leaf, ChainOptions{Time: testTime})
	if err != nil || len(chain) != 2 {
		t.Errorf("a chain of %d, %v", len(chain), err)
	}
}
