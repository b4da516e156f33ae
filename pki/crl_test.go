package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
)

// A revocationWorld is a CA with one person.
type revocationWorld struct {
	ca    *testpki.CA
	chain []*Certificate
}

func newRevocationWorld(t testing.TB, edit func(*x509.Certificate)) *revocationWorld {
	t.Helper()
	ca, err := testpki.NewCA("Revoking CA")
	if err != nil {
		t.Fatal(err)
	}
	return &revocationWorld{ca: ca, chain: personOf(t, ca, "Alice", edit)}
}

// personOf issues a certificate and returns its chain.
func personOf(t testing.TB, ca *testpki.CA, name string, edit func(*x509.Certificate)) []*Certificate {
	t.Helper()
	p, err := ca.Issue(testpki.Profile{Name: name, Edit: edit})
	if err != nil {
		t.Fatal(err)
	}
	chain := []*Certificate{FromX509(p.Cert)}
	for _, c := range p.Chain {
		chain = append(chain, FromX509(c))
	}
	return chain
}

// extension makes an extension with a value in the form of encoding/asn1.
func testExtension(t testing.TB, id asn1.ObjectIdentifier, critical bool, value any) pkix.Extension {
	t.Helper()
	der, ok := value.([]byte)
	if !ok {
		var err error
		if der, err = asn1.Marshal(value); err != nil {
			t.Fatal(err)
		}
	}
	return pkix.Extension{Id: id, Critical: critical, Value: der}
}

// makeCRL signs a CRL that is an hour old and has another hour.
func makeCRL(t testing.TB, ca *testpki.CA, edit func(*x509.RevocationList)) *CRL {
	t.Helper()
	list := &x509.RevocationList{
		Number: big.NewInt(7), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
	}
	if edit != nil {
		edit(list)
	}
	raw, err := x509.CreateRevocationList(nil, list, ca.Cert, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := ParseCRL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return crl
}

func entryFor(c *Certificate, reason int, extensions ...pkix.Extension) x509.RevocationListEntry {
	return x509.RevocationListEntry{
		SerialNumber: c.X509.SerialNumber, RevocationTime: time.Now().Add(-2 * time.Hour), ReasonCode: reason, ExtraExtensions: extensions,
	}
}

// hasSourceFault reports whether err says that a status is unknown, with a
// source that has a fault.
func hasSourceFault(err error, want SourceFault) bool {
	var unknown *RevocationUnknownError
	return errors.As(err, &unknown) && slices.ContainsFunc(unknown.Errs, func(err error) bool {
		var source *SourceError
		return errors.As(err, &source) && source.Fault == want
	})
}

var (
	unknownID  = asn1.ObjectIdentifier{1, 2, 3, 4}
	idpID      = asn1.ObjectIdentifier{2, 5, 29, 28}
	deltaID    = asn1.ObjectIdentifier{2, 5, 29, 27}
	freshestID = asn1.ObjectIdentifier{2, 5, 29, 46}
	issuerID   = asn1.ObjectIdentifier{2, 5, 29, 29}
)

func TestCRLCritical(t *testing.T) {
	w := newRevocationWorld(t, nil)
	other := personOf(t, w.ca, "Bob", nil)
	for name, edit := range map[string]func(*x509.RevocationList){
		"of the list": func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{testExtension(t, unknownID, true, 1)}
		},
		"of another's entry": func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(other[0], 1, testExtension(t, unknownID, true, 1))}
		},
	} {
		crl := makeCRL(t, w.ca, edit)
		if len(crl.UnhandledCritical) != 1 || crl.UnhandledCritical[0] != "1.2.3.4" {
			t.Errorf("%s: %v", name, crl.UnhandledCritical)
		}
		check := &Revocation{CRLs: []*CRL{crl}}
		if _, err := check.Check(context.Background(), w.chain); !hasSourceFault(err, SourceCritical) {
			t.Errorf("%s: %v", name, err)
		}
	}
	harmless := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{testExtension(t, unknownID, false, 1)}
	})
	if _, err := (&Revocation{CRLs: []*CRL{harmless}}).Check(context.Background(), w.chain); err != nil {
		t.Errorf("not critical: %v", err)
	}
}

// TestCRLIndirect has entries of three issuers, of which the second and third
// name theirs, and the one after the third does not.
func TestCRLIndirect(t *testing.T) {
	w := newRevocationWorld(t, nil)
	name := func(common string) []byte {
		raw, err := asn1.Marshal(pkix.Name{CommonName: common}.ToRDNSequence())
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	issuer := func(common string) pkix.Extension {
		raw := name(common)
		raw = append([]byte{0x30, byte(len(raw) + 2), 0xa4, byte(len(raw))}, raw...)
		return testExtension(t, issuerID, true, raw)
	}
	entry := func(serial int64, extensions ...pkix.Extension) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Now(), ExtraExtensions: extensions}
	}
	crl := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{testExtension(t, idpID, true, []byte{0x30, 3, 0x84, 1, 0xff})}
		l.RevokedCertificateEntries = []x509.RevocationListEntry{
			entry(1), entry(2, issuer("B")), entry(3, issuer("C")), entry(4), entry(1, issuer("B")),
		}
	})
	if crl.Scope == nil || !crl.Scope.Indirect || crl.Entries != 5 {
		t.Fatalf("%+v", crl)
	}
	ours := w.ca.Cert.RawSubject
	for _, c := range []struct {
		serial byte
		issuer []byte
		found  bool
	}{
		{1, ours, true}, {2, ours, false}, {2, name("B"), true}, {2, name("b"), true}, {3, name("B"), false},
		{3, name("C"), true}, {4, name("C"), true}, {4, ours, false}, {1, name("B"), true}, {1, name("C"), false}, {5, ours, false},
	} {
		e, found := crl.Lookup([]byte{c.serial}, c.issuer)
		if found != c.found || found && !bytes.Equal(e.Serial, []byte{c.serial}) {
			t.Errorf("serial %d of %s: %v", c.serial, NameText(c.issuer), found)
		}
	}
	n := 0
	for e := range crl.All() {
		if n++; n == 4 && !NamesEqual(e.Issuers[0], name("C")) {
			t.Errorf("the fourth entry is of %s", NameText(e.Issuers[0]))
		}
	}
	if n != 5 {
		t.Errorf("%d entries", n)
	}
}

// TestCRLLarge looks up entries of a large list, which must not need memory for
// every entry.
func TestCRLLarge(t *testing.T) {
	const size = 20_000
	w := newRevocationWorld(t, nil)
	crl := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		for n := range int64(size) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: big.NewInt(n * 2), RevocationTime: time.Now(), ReasonCode: int(n % 2),
			})
		}
	})
	if crl.Entries != size {
		t.Fatalf("%d entries", crl.Entries)
	}
	allocs := testing.AllocsPerRun(3, func() {
		for _, c := range []struct {
			serial []byte
			found  bool
			reason RevocationReason
		}{{[]byte{0, 0x9c, 0x3e}, true, 1}, {[]byte{0, 0x9c, 0x3d}, false, 0}, {[]byte{0, 0, 4}, true, 0}} {
			e, found := crl.Lookup(c.serial, crl.RawIssuer)
			if found != c.found || e.Reason != c.reason {
				t.Errorf("%x: %v, %v", c.serial, found, e.Reason)
			}
		}
	})
	if allocs > 200 {
		t.Errorf("%v allocations for three look-ups", allocs)
	}
	allocs = testing.AllocsPerRun(1, func() {
		if _, err := ParseCRL(crl.Raw); err != nil {
			t.Error(err)
		}
	})
	if allocs > 200 {
		t.Errorf("%v allocations to parse", allocs)
	}
}

func TestParseCRLMalformed(t *testing.T) {
	w := newRevocationWorld(t, nil)
	crl := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(w.chain[0], 1)}
	})
	for n := range crl.Raw {
		var malformed *RevocationParseError
		if _, err := ParseCRL(crl.Raw[:n]); !errors.As(err, &malformed) || malformed.What != "CRL" {
			t.Fatalf("cut after %d octets: %v", n, err)
		}
	}
	var malformed *RevocationParseError
	if _, err := ParseCRL(append(bytes.Clone(crl.Raw), 0)); !errors.As(err, &malformed) {
		t.Errorf("with an octet more: %v", err)
	}
	// Whatever octet is changed, the verdict is not "good".
	good, changed := 0, 0
	for n := range crl.Raw {
		raw := bytes.Clone(crl.Raw)
		raw[n] ^= 1
		other, err := ParseCRL(raw)
		if err != nil {
			continue
		}
		changed++
		if _, err = (&Revocation{CRLs: []*CRL{other}}).Check(context.Background(), w.chain); err == nil {
			good++
		}
	}
	if good != 0 || changed < 100 {
		t.Errorf("%d of %d changed lists make the certificate good", good, changed)
	}
}

// TestCRLScopes has lists whose scope leaves the certificate out.
func TestCRLScopes(t *testing.T) {
	w := newRevocationWorld(t, nil)
	scope := func(content ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{testExtension(t, idpID, true, append([]byte{0x30, byte(len(content))}, content...))}
		}
	}
	for name, edit := range map[string]func(*x509.RevocationList){
		"CAs only":          scope(0x82, 1, 0xff),
		"attribute only":    scope(0x85, 1, 0xff),
		"some reasons":      scope(0x83, 2, 1, 0x7e),
		"another place":     scope(0xa0, 8, 0xa0, 6, 0x86, 4, 'u', 'r', 'l', ':'),
		"a relative place":  scope(0xa0, 15, 0xa1, 13, 0x30, 11, 6, 3, 0x55, 4, 3, 0x0c, 4, 'n', 'a', 'm', 'e'),
		"some other reason": scope(0x83, 2, 0, 0),
	} {
		check := &Revocation{CRLs: []*CRL{makeCRL(t, w.ca, edit)}}
		_, err := check.Check(context.Background(), w.chain)
		if want := SourceOutOfScope; name != "some other reason" && !hasSourceFault(err, want) || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	both := &Revocation{CRLs: []*CRL{makeCRL(t, w.ca, scope(0x83, 2, 1, 0x7e)), makeCRL(t, w.ca, scope(0x83, 3, 7, 1, 0x80))}}
	if _, err := both.Check(context.Background(), w.chain); err != nil {
		t.Errorf("two lists that cover all reasons: %v", err)
	}
	user := &Revocation{CRLs: []*CRL{makeCRL(t, w.ca, scope(0x81, 1, 0xff))}}
	if _, err := user.Check(context.Background(), w.chain); err != nil {
		t.Errorf("users only: %v", err)
	}
}

// TestDeltaCRLFits has delta CRLs that do not go with the complete one.
func TestDeltaCRLFits(t *testing.T) {
	w := newRevocationWorld(t, nil)
	stranger, err := testpki.NewCA("Revoking CA")
	if err != nil {
		t.Fatal(err)
	}
	base := makeCRL(t, w.ca, nil) // number 7
	delta := func(ca *testpki.CA, number, baseNumber int64, edit func(*x509.RevocationList)) *CRL {
		return makeCRL(t, ca, func(l *x509.RevocationList) {
			l.Number, l.ThisUpdate = big.NewInt(number), time.Now().Add(-time.Minute)
			l.ExtraExtensions = []pkix.Extension{testExtension(t, deltaID, true, baseNumber)}
			l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(w.chain[0], 4)}
			if edit != nil {
				edit(l)
			}
		})
	}
	for _, c := range []struct {
		name    string
		delta   *CRL
		revoked bool
	}{
		{"fits", delta(w.ca, 9, 7, nil), true},
		{"an older base", delta(w.ca, 9, 3, nil), true},
		{"a newer base", delta(w.ca, 9, 8, nil), false},
		{"an old one", delta(w.ca, 7, 3, nil), false},
		{"of a stranger", delta(stranger, 9, 7, nil), false},
		{"ended", delta(w.ca, 9, 7, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-30 * time.Second) }), true},
		{"long ended", delta(w.ca, 9, 7, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(-time.Hour), time.Now().Add(-10*time.Minute)
		}), false},
		{"another scope", delta(w.ca, 9, 7, func(l *x509.RevocationList) {
			l.ExtraExtensions = append(l.ExtraExtensions, testExtension(t, idpID, true, []byte{0x30, 3, 0x81, 1, 0xff}))
		}), false},
	} {
		var revoked *RevokedError
		_, err := (&Revocation{CRLs: []*CRL{base, c.delta}}).Check(context.Background(), w.chain)
		if errors.As(err, &revoked) != c.revoked || !c.revoked && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// BenchmarkCRL parses a list of 100,000 entries, and looks one up.
func BenchmarkCRL(b *testing.B) {
	w := newRevocationWorld(b, nil)
	crl := makeCRL(b, w.ca, func(l *x509.RevocationList) {
		for n := range int64(100_000) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: big.NewInt(n), RevocationTime: time.Now(), ReasonCode: 4,
			})
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(crl.Raw)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseCRL(crl.Raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.SetBytes(int64(len(crl.Raw)))
		b.ReportAllocs()
		for b.Loop() {
			if _, found := crl.Lookup([]byte{77}, crl.RawIssuer); !found {
				b.Fatal("not found")
			}
		}
	})
}

func FuzzParseCRL(f *testing.F) {
	w := newRevocationWorld(f, nil)
	f.Add(makeCRL(f, w.ca, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(w.chain[0], 1)}
		l.ExtraExtensions = []pkix.Extension{testExtension(f, idpID, true, []byte{0x30, 3, 0x84, 1, 0xff})}
	}).Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		crl, err := ParseCRL(raw)
		var malformed *RevocationParseError
		if err != nil {
			if !errors.As(err, &malformed) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		entries := 0
		for e := range crl.All() {
			entries++
			if _, found := crl.Lookup(e.Serial, e.Issuers[0]); !found {
				t.Fatalf("entry %d is not found", entries)
			}
			if entries > 20 {
				return
			}
		}
		if entries != crl.Entries {
			t.Fatalf("%d entries, not %d", entries, crl.Entries)
		}
		_, err = (&Revocation{CRLs: []*CRL{crl}}).Check(t.Context(), w.chain)
		var revoked *RevokedError
		if err == nil && !bytes.Contains(raw, w.ca.Cert.RawSubject) || err != nil && !errors.As(err, &revoked) && !errors.As(err, new(*RevocationUnknownError)) {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
