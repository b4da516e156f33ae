package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"
	"unicode"

	"github.com/postseal/postseal/internal/testpki"
)

// world is a root, a CA under it, and another root of the same name.
type world struct {
	root, ca, other *testpki.CA
	roots           *Roots
	inter           []*Certificate
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := new(world)
	var err error
	if w.root, err = testpki.NewCA("Root"); err != nil {
		t.Fatal(err)
	}
	if w.other, err = testpki.NewCA("Root"); err != nil {
		t.Fatal(err)
	}
	if w.ca, err = w.root.Intermediate("Intermediate"); err != nil {
		t.Fatal(err)
	}
	w.roots = NewRoots([]*Certificate{nil, FromX509(w.root.Cert), FromX509(w.root.Cert)})
	w.inter = []*Certificate{nil, FromX509(w.ca.Cert)}
	return w
}

func issue(t *testing.T, ca *testpki.CA, p testpki.Profile) *Certificate {
	t.Helper()
	c, _ := issueWithKey(t, ca, p)
	return c
}

// issueWithKey also returns the subject as if it were a CA.
func issueWithKey(t *testing.T, ca *testpki.CA, p testpki.Profile) (*Certificate, *testpki.CA) {
	t.Helper()
	if p.Key == testpki.RSA2048 {
		p.Key = testpki.P256
	}
	person, err := ca.Issue(p)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := person.Key.(crypto.Signer)
	return parseOrFail(t, "issued", person.Cert.Raw), &testpki.CA{Cert: person.Cert, Key: key}
}

func wantReason(t *testing.T, what string, err error, reason Reason, at *Certificate) {
	t.Helper()
	var chainErr *ChainError
	if !errors.As(err, &chainErr) || chainErr.Reason != reason {
		t.Errorf("%s: %v, want reason %q", what, err, reason)
		return
	}
	if at != nil && string(chainErr.Certificate.Raw) != string(at.Raw) {
		t.Errorf("%s: %v: the certificate of %s, want %s", what, err, chainErr.Certificate.Subject(), at.Subject())
	}
	for _, r := range err.Error() {
		if !unicode.IsPrint(r) {
			t.Errorf("%s: %q does not print", what, err.Error())
		}
	}
}

func TestVerifyGood(t *testing.T) {
	w := newWorld(t)
	for what, p := range map[string]testpki.Profile{
		"plain":           {},
		"SmtpUTF8Mailbox": {Email: "bøb@example.test"},
		"critical SmtpUTF8Mailbox": {Email: "bøb@example.test", Edit: func(c *x509.Certificate) {
			c.ExtraExtensions[0].Critical = true
		}},
		"in the subject": {SubjectEmail: true},
		"no usage":       {Edit: func(c *x509.Certificate) { c.ExtKeyUsage = nil }},
		"any usage":      {Edit: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }},
		"X25519":         {Key: testpki.X25519},
		"RSASSA-PSS":     {Key: testpki.RSAPSS2048},
	} {
		leaf := issue(t, w.ca, p)
		chain, err := w.roots.Verify(leaf, ChainOptions{Intermediates: w.inter})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if len(chain) != 3 || chain[0] != leaf || chain[1] != w.inter[1] || chain[2] != w.roots.certs[0] {
			t.Errorf("%s: a chain of %d, or with others than those given", what, len(chain))
		}
	}
}

func TestVerifyPSSIssuer(t *testing.T) {
	root, err := testpki.NewCAWithKey("PSS Root", testpki.RSAPSS2048)
	if err != nil {
		t.Fatal(err)
	}
	roots := NewRoots([]*Certificate{FromX509(root.Cert)})
	leaf := issue(t, root, testpki.Profile{Edit: func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS }})
	if _, err = roots.Verify(leaf, ChainOptions{}); err != nil {
		t.Error(err)
	}
	// RFC 4055, Section 1.2: such a key makes no other signatures.
	leaf = issue(t, root, testpki.Profile{})
	_, err = roots.Verify(leaf, ChainOptions{})
	wantReason(t, "a v1.5 signature by a key for PSS", err, BadSignature, leaf)
}

func TestVerifyReasons(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	good, notCA := issueWithKey(t, w.ca, testpki.Profile{})
	otherLeaf := issue(t, w.other, testpki.Profile{})
	old := testpki.Profile{Name: "Old", NotBefore: now.Add(-36 * time.Hour), NotAfter: now.Add(-time.Hour)}
	expired := issue(t, w.ca, old)
	expiredOther := issue(t, w.other, old)
	future := issue(t, w.ca, testpki.Profile{NotBefore: now.Add(time.Hour)})
	server := issue(t, w.ca, testpki.Profile{Edit: func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	old.Edit = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	expiredServer := issue(t, w.ca, old)
	byLeaf := issue(t, notCA, testpki.Profile{Name: "By leaf"})
	critical := issue(t, w.ca, testpki.Profile{Edit: func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	}})
	tampered := *good
	raw := append([]byte(nil), good.Raw...)
	raw[len(raw)-1] ^= 1
	if c := parseOrFail(t, "tampered", raw); c != nil {
		tampered = *c
	}
	root := FromX509(w.root.Cert)
	for _, c := range []struct {
		what  string
		leaf  *Certificate
		inter []*Certificate
		want  Reason
		at    *Certificate
	}{
		{"no intermediate", good, nil, UnknownIssuer, good},
		{"another root of the same name", otherLeaf, w.inter, UnknownIssuer, otherLeaf},
		{"itself", FromX509(w.other.Cert), w.inter, UnknownIssuer, nil},
		{"expired", expired, w.inter, Expired, expired},
		{"expired, of another root", expiredOther, w.inter, UnknownIssuer, expiredOther},
		{"not yet valid", future, w.inter, NotYetValid, future},
		{"for servers", server, w.inter, WrongUsage, server},
		{"for servers and expired", expiredServer, w.inter, WrongUsage, expiredServer},
		{"by an end entity", byLeaf, append([]*Certificate{good}, w.inter...), Constraint, good},
		{"critical extension", critical, w.inter, Unsupported, critical},
		{"tampered", &tampered, w.inter, BadSignature, &tampered},
	} {
		chain, err := NewRoots([]*Certificate{root}).Verify(c.leaf, ChainOptions{Intermediates: c.inter})
		wantReason(t, c.what, err, c.want, c.at)
		if chain != nil {
			t.Errorf("%s: a chain beside the error", c.what)
		}
	}
	var none *Roots
	_, err := none.Verify(good, ChainOptions{Intermediates: w.inter})
	wantReason(t, "nil roots", err, UnknownIssuer, nil)
	_, err = w.roots.Verify(nil, ChainOptions{})
	wantReason(t, "no certificate", err, Unsupported, nil)
}

func TestVerifyExpiredCA(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	oldCA, err := w.root.IntermediateWith("Old CA", testpki.P256, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now.Add(-30*time.Hour), now.Add(-time.Hour)
	})
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, oldCA, testpki.Profile{})
	opts := ChainOptions{Intermediates: []*Certificate{FromX509(oldCA.Cert)}}
	_, err = w.roots.Verify(leaf, opts)
	wantReason(t, "the CA has expired", err, Expired, opts.Intermediates[0])
	opts.AllowExpired = true
	if _, err = w.roots.Verify(leaf, opts); err != nil {
		t.Errorf("AllowExpired, at the beginning of the leaf's validity: %v", err)
	}
	opts.AllowExpired, opts.Time = false, now.Add(-2*time.Hour)
	if _, err = w.roots.Verify(leaf, opts); err != nil {
		t.Errorf("in its time: %v", err)
	}
}

func TestVerifyAllowExpired(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	p := testpki.Profile{NotBefore: now.Add(-36 * time.Hour), NotAfter: now.Add(-time.Hour)}
	opts := ChainOptions{Intermediates: w.inter, AllowExpired: true}
	if _, err := w.roots.Verify(issue(t, w.ca, p), opts); err != nil {
		t.Error(err)
	}
	foreign := issue(t, w.other, p)
	_, err := w.roots.Verify(foreign, opts)
	wantReason(t, "AllowExpired, unknown issuer", err, UnknownIssuer, foreign)
}

func TestVerifyPinned(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	leaf, leafCA := issueWithKey(t, w.other, testpki.Profile{Name: "Pinned"})
	server := issue(t, w.other, testpki.Profile{Edit: func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	critical := issue(t, w.other, testpki.Profile{Edit: func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	}})
	expired := issue(t, w.other, testpki.Profile{NotBefore: now.Add(-36 * time.Hour), NotAfter: now.Add(-time.Hour)})
	negative := readCerts(t, "pkits/certs/InvalidNegativeSerialNumberTest15EE.crt")["InvalidNegativeSerialNumberTest15EE.crt"]
	pins := NewRoots([]*Certificate{leaf, server, critical, expired, negative})
	for _, c := range []*Certificate{leaf, negative, parseOrFail(t, "again", leaf.Raw)} {
		if chain, err := pins.Verify(c, ChainOptions{Time: c.NotAfter}); err != nil || len(chain) != 1 || chain[0] != c {
			t.Errorf("%s: %v", c.Subject(), err)
		}
	}
	_, err := pins.Verify(server, ChainOptions{})
	wantReason(t, "for servers", err, WrongUsage, server)
	_, err = pins.Verify(critical, ChainOptions{})
	wantReason(t, "critical extension", err, Unsupported, critical)
	_, err = pins.Verify(expired, ChainOptions{})
	wantReason(t, "expired", err, Expired, expired)
	if _, err = pins.Verify(expired, ChainOptions{AllowExpired: true}); err != nil {
		t.Errorf("expired, allowed: %v", err)
	}
	_, err = pins.Verify(leaf, ChainOptions{Time: leaf.NotBefore.Add(-time.Hour)})
	wantReason(t, "before its time", err, NotYetValid, leaf)
	// A pinned certificate of an end entity is trusted for itself alone.
	child := issue(t, leafCA, testpki.Profile{Name: "Child"})
	_, err = pins.Verify(child, ChainOptions{})
	wantReason(t, "under a pinned one", err, Constraint, leaf)
}

func TestVerifyEmailConstraints(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		permitted, excluded []string
		email               string
		good                bool
	}{
		{[]string{"example.test"}, nil, "a@EXAMPLE.test", true},
		{[]string{"example.test"}, nil, "ä@example.test", true},
		{[]string{"example.test"}, nil, "ä@other.test", false},
		{[]string{"example.test"}, nil, "ä@sub.example.test", false},
		{[]string{".example.test"}, nil, "ä@sub.example.test", true},
		{[]string{".example.test"}, nil, "ä@example.test", false},
		{nil, []string{"example.test"}, "ä@example.test", false},
		{nil, []string{"example.test"}, "ä@other.test", true},
		{[]string{"b@example.test"}, nil, "ä@example.test", false},
		{nil, []string{"b@example.test"}, "ä@example.test", true},
	} {
		ca, err := w.root.IntermediateWith("Bound", testpki.P256, func(x *x509.Certificate) {
			x.PermittedEmailAddresses, x.ExcludedEmailAddresses = c.permitted, c.excluded
			x.PermittedDNSDomainsCritical = true
		})
		if err != nil {
			t.Fatal(err)
		}
		opts := ChainOptions{Intermediates: []*Certificate{FromX509(ca.Cert)}}
		for _, inSubject := range []bool{false, true} {
			leaf := issue(t, ca, testpki.Profile{Email: c.email, SubjectEmail: inSubject})
			_, err := w.roots.Verify(leaf, opts)
			if c.good {
				if err != nil {
					t.Errorf("%+v: %v", c, err)
				}
				continue
			}
			wantReason(t, c.email, err, Constraint, leaf)
		}
	}
}

func TestVerifyLAMPS(t *testing.T) {
	certs := readCerts(t, "rfc9216/*.crt")
	roots := NewRoots([]*Certificate{certs["ca.rsa.crt"]})
	inter := []*Certificate{certs["ca.25519.cross.crt"]}
	at := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	n := 0
	for _, name := range []string{"alice", "bob", "carlos", "dana"} {
		for _, use := range []string{".sign.crt", ".encrypt.crt"} {
			c := certs[name+use]
			if _, err := roots.Verify(c, ChainOptions{Time: at, Intermediates: inter}); err != nil {
				t.Errorf("%s%s: %v", name, use, err)
			}
			if c.CanSign() == (use == ".encrypt.crt") || c.CanEncrypt() == (use == ".sign.crt") {
				t.Errorf("%s%s: CanSign %v, CanEncrypt %v", name, use, c.CanSign(), c.CanEncrypt())
			}
			if !c.HasEmail(name + "@smime.example") {
				t.Errorf("%s%s: %q", name, use, c.Emails)
			}
			n++
		}
	}
	if n != 8 {
		t.Errorf("%d certificates were checked", n)
	}
}

// Names that are equal by RFC 5280, Section 7.1 make a chain, too.
func TestVerifyNameForms(t *testing.T) {
	w := newWorld(t)
	parent := *w.ca.Cert
	parent.RawSubject = name(t, []av{{org, 22, " test "}}, []av{{cn, 12, "INTERMEDIATE"}})
	leaf := issue(t, &testpki.CA{Cert: &parent, Key: w.ca.Key}, testpki.Profile{})
	if string(leaf.RawIssuer) == string(w.ca.Cert.RawSubject) {
		t.Fatal("the names are written alike")
	}
	if _, err := w.roots.Verify(leaf, ChainOptions{Intermediates: w.inter}); err != nil {
		t.Error(err)
	}
}
