package store

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// A letter is what a test signs.
type letter struct {
	signer keystore.Identity
	with   []*pki.Certificate // further certificates in the message
	signed cms.Attributes
	time   time.Time
	trust  *pki.Roots
}

// send signs and verifies a message and returns it for Harvest. The verdict
// may be bad.
func (l letter) send(t *testing.T) *Signed {
	t.Helper()
	var message bytes.Buffer
	signer := cms.Signer{Certificate: l.signer.Certificate, Key: l.signer.Key.(crypto.Signer), Signed: l.signed, Chain: l.signer.Chain}
	w := must(cms.Sign(&message, []cms.Signer{signer}, &cms.SignOptions{Time: l.time, Certificates: l.with}))(t)
	_, err := io.WriteString(w, "hello")
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	trust := cms.TrustPool(l.trust)
	r := must(must(cms.NewReader(&message, nil))(t).Verify(&cms.VerifyOptions{Trust: trust}))(t)
	if _, err = io.Copy(io.Discard, r); err != nil && !errors.As(err, new(*cms.VerifyError)) {
		t.Fatal(err)
	}
	return &Signed{Address: bob, Result: r.Signers()[0], Certificates: r.Certificates(), Trust: trust}
}

func attribute(t *testing.T, o cms.OID, f func(b *der.Builder)) cms.Attribute {
	t.Helper()
	return cms.Attribute{Type: o, Values: [][]byte{must(der.Marshal(f))(t)}}
}

func capabilitiesOf(t *testing.T, ids ...oid.OID) cms.Attribute {
	return attribute(t, oid.AttrSMIMECapabilities, func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			for _, id := range ids {
				der.AddAlgorithm(b, der.Algorithm{OID: id})
			}
		})
	})
}

func addIssuerAndSerial(b *der.Builder, c *pki.Certificate) {
	b.AddBytes(c.RawIssuer)
	b.AddASN1(asn1.INTEGER, func(b *der.Builder) { b.AddBytes(c.Serial) })
}

// prefer returns the attribute in each of its forms.
func prefer(t *testing.T, c *pki.Certificate) map[string]cms.Attribute {
	return map[string]cms.Attribute{
		"issuer and serial number": attribute(t, oid.AttrEncrypKeyPref, func(b *der.Builder) {
			b.AddASN1(der.Context(0, true), func(b *der.Builder) { addIssuerAndSerial(b, c) })
		}),
		"recipient key": attribute(t, oid.AttrEncrypKeyPref, func(b *der.Builder) {
			b.AddASN1(der.Context(1, true), func(b *der.Builder) {
				b.AddASN1OctetString(c.SubjectKeyID)
				b.AddASN1GeneralizedTime(time.Unix(0, 0))
			})
		}),
		"key identifier": attribute(t, oid.AttrEncrypKeyPref, func(b *der.Builder) {
			b.AddASN1(der.Context(2, false), func(b *der.Builder) { b.AddBytes(c.SubjectKeyID) })
		}),
		"Outlook": attribute(t, oid.AttrMSEncrypKeyPref, func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { addIssuerAndSerial(b, c) })
		}),
	}
}

func kinds(changes []Change) []string {
	var out []string
	for _, c := range changes {
		text := fmt.Sprintf("%d %d", c.Kind, c.Role)
		if c.Known {
			text += " known"
		}
		out = append(out, text)
	}
	return out
}

func change(kind ChangeKind, role Role) string { return fmt.Sprintf("%d %d", kind, role) }

func TestHarvest(t *testing.T) {
	w := newWorld(t, "CA")
	now := days(0)
	s := newStore(t, Options{Now: func() time.Time { return now }})
	harvest := func(l letter, want ...string) {
		t.Helper()
		if l.trust == nil {
			l.trust = w.roots()
		}
		changes := must(Harvest(t.Context(), s, l.send(t)))(t)
		if got := kinds(changes); !slices.Equal(got, want) {
			t.Errorf("changes %q, not %q", got, want)
		}
		for _, c := range changes {
			if c.Address != bob || c.New == nil || (c.Old == nil) != (c.Kind == NewCorrespondent) || c.String() == "" {
				t.Errorf("%+v", c)
			}
		}
		integrity(t, s)
	}
	first := func(name string, preferred bool, ciphers []cms.Cipher) {
		t.Helper()
		found := must(s.Find(t.Context(), bob))(t)
		if len(found) == 0 || found[0].Certificate.CommonName() != name || found[0].Preferred != preferred || !slices.Equal(found[0].Capabilities, ciphers) || (found[0].Capabilities == nil) != (ciphers == nil) {
			t.Errorf("found %q with %v, not %q", reasons(found), found[0].Capabilities, name)
		}
	}
	both := Signing | Encryption
	old := w.identity(testpki.Profile{Name: "old", Email: bob, NotBefore: days(-100)})
	harvest(letter{signer: old, time: days(-10)}, change(NewCorrespondent, both))
	first("old", true, nil)
	harvest(letter{signer: old, time: days(-9), signed: cms.Attributes{capabilitiesOf(t, oid.DESEDE3CBC, oid.AES128CBC, "1.2.3", oid.AES256GCM)}})
	first("old", true, []cms.Cipher{cms.AES128CBC, cms.AES256GCM})
	// What is older does not replace what is newer.
	harvest(letter{signer: old, time: days(-20), signed: cms.Attributes{capabilitiesOf(t)}})
	first("old", true, []cms.Cipher{cms.AES128CBC, cms.AES256GCM})
	harvest(letter{signer: old, time: days(-8), signed: cms.Attributes{capabilitiesOf(t)}})
	first("old", true, []cms.Cipher{})

	// The same key, a new certificate; then a new key; then a new issuer.
	renewed := w.identity(testpki.Profile{Name: "old", Email: bob, NotBefore: days(-50)})
	harvest(letter{signer: renewed, time: days(-7)}, change(RenewedCertificate, both))
	rekeyed := w.identity(testpki.Profile{Name: "rekeyed", Email: bob, NotBefore: days(-40), KeyIndex: 1})
	harvest(letter{signer: rekeyed, time: days(-6)}, change(ChangedKey, both))
	first("rekeyed", true, []cms.Cipher{})
	// An older message with an older certificate changes nothing; a newer one does.
	harvest(letter{signer: old, time: days(-30)})
	first("rekeyed", true, []cms.Cipher{})
	harvest(letter{signer: old, time: days(-5)}, change(ChangedKey, both)+" known")
	first("old", true, []cms.Cipher{})

	other := newWorld(t, "Other CA")
	moved := other.identity(testpki.Profile{Name: "moved", Email: bob, NotBefore: days(-1)})
	harvest(letter{signer: moved, time: days(-4), trust: other.roots()}, change(ChangedIssuer, both), change(ChangedKey, both))
	first("moved", true, []cms.Cipher{})
	c := must(s.Correspondent(t.Context(), bob))(t)
	if len(c.Entries) != 4 || *c.Signer != FingerprintOf(moved.Certificate) || *c.Encryption != *c.Signer || len(c.Entries[0].Chain) != 1 || c.Entries[0].Source != Harvested {
		t.Errorf("%+v", c)
	}
	for _, e := range c.Entries {
		if e.Fingerprint == FingerprintOf(old.Certificate) && (!e.FirstSeen.Equal(days(-30)) || !e.LastSeen.Equal(days(-5))) {
			t.Errorf("seen from %v to %v", e.FirstSeen, e.LastSeen)
		}
	}
	// Who says that the message is of tomorrow does not block what comes later.
	harvest(letter{signer: rekeyed, time: days(1000)}, change(ChangedIssuer, both)+" known", change(ChangedKey, both)+" known")
	now = now.Add(time.Hour)
	harvest(letter{signer: renewed, time: now}, change(ChangedKey, both)+" known")
}

func TestHarvestTrustedByHand(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{})
	hand := w.identity(testpki.Profile{Name: "hand", Email: bob, NotBefore: days(-100)})
	id := must(s.AddCertificate(t.Context(), bob, hand.Certificate, AddOptions{Decision: Trusted, Source: "paper"}))(t)
	newer := w.identity(testpki.Profile{Name: "newer", Email: bob, NotBefore: days(-1), KeyIndex: 1})
	changes := must(Harvest(t.Context(), s, letter{signer: newer, trust: w.roots()}.send(t)))(t)
	if got, want := kinds(changes), []string{change(ChangedKey, 3), change(NotTheTrusted, 3)}; !slices.Equal(got, want) {
		t.Errorf("changes %q, not %q", got, want)
	}
	found := must(s.Find(t.Context(), bob))(t)
	if len(found) != 2 || found[0].Certificate.CommonName() != "hand" || !found[0].Vouched || found[0].Detail != "paper" || !found[1].Preferred {
		t.Errorf("found %q", reasons(found))
	}
	// The user says no: nothing is learned any more from that certificate.
	if err := errors.Join(s.Decide(t.Context(), bob, FingerprintOf(newer.Certificate), Rejected), s.Decide(t.Context(), bob, id, Undecided)); err != nil {
		t.Fatal(err)
	}
	_, err := Harvest(t.Context(), s, letter{signer: newer, trust: w.roots()}.send(t))
	wantErr(t, err, ErrNotTrusted)
	if found = must(s.Find(t.Context(), bob))(t); found[0].Certificate.CommonName() != "hand" || found[0].Vouched {
		t.Errorf("found %q", reasons(found))
	}
}

func TestHarvestSeparateKeys(t *testing.T) {
	w := newWorld(t, "CA")
	mallory := newWorld(t, "Mallory")
	signer := w.identity(testpki.Profile{Name: "Bob", Email: bob, Usage: testpki.Sign})
	profile := testpki.Profile{Name: "Bob", Email: bob, Usage: testpki.Encrypt, KeyIndex: 1}
	first := w.cert(profile)
	profile.NotBefore, profile.KeyIndex = time.Now().Add(-time.Hour), 2
	newest := w.cert(profile)
	profile.KeyIndex = 3
	forged := mallory.cert(profile)
	profile.Email = "carol@example.test"
	others := w.cert(profile)
	expired := w.cert(testpki.Profile{Name: "Bob", Email: bob, Usage: testpki.Encrypt, KeyIndex: 4, NotBefore: days(-9), NotAfter: days(-8)})
	stranger := w.cert(testpki.Profile{Name: "Another Bob", Email: bob, Usage: testpki.Encrypt, KeyIndex: 5})

	check := func(name string, l letter, want *pki.Certificate) *Store {
		t.Helper()
		s := newStore(t, Options{})
		l.signer, l.trust = signer, w.roots()
		must(Harvest(t.Context(), s, l.send(t)))(t)
		c := must(s.Correspondent(t.Context(), bob))(t)
		switch {
		case want == nil && c.Encryption != nil:
			t.Errorf("%s: a certificate for encryption was taken", name)
		case want != nil && (c.Encryption == nil || *c.Encryption != FingerprintOf(want)):
			t.Errorf("%s: another certificate for encryption, or none, was taken", name)
		}
		if *c.Signer != FingerprintOf(signer.Certificate) || len(c.Entries) > 2 {
			t.Errorf("%s: %d certificates", name, len(c.Entries))
		}
		return s
	}
	all := []*pki.Certificate{first, newest, forged, others, expired, stranger}
	check("the newest with the subject", letter{with: all}, newest)
	check("none", letter{}, nil)
	check("others' and untrusted ones", letter{with: []*pki.Certificate{forged, others, expired, stranger}}, nil)
	for form, attr := range prefer(t, first) {
		check(form, letter{with: all, signed: cms.Attributes{attr}}, first)
		check(form+", not there", letter{with: all[1:], signed: cms.Attributes{attr}}, nil)
	}
	for name, c := range map[string]*pki.Certificate{"forged": forged, "others": others, "expired": expired, "signer": signer.Certificate} {
		check(name, letter{with: all, signed: cms.Attributes{prefer(t, c)["issuer and serial number"]}}, nil)
	}
	check("another subject", letter{with: all, signed: cms.Attributes{prefer(t, stranger)["key identifier"]}}, stranger)
	for _, bad := range [][]byte{{0xa0, 0}, {0xa1, 0}, {0x82, 0}, {0x83, 1, 1}, {0x30, 0}, {0xa0, 2, 5, 0}} {
		attr := cms.Attribute{Type: oid.AttrEncrypKeyPref, Values: [][]byte{bad}}
		check(fmt.Sprintf("%x", bad), letter{with: all, signed: cms.Attributes{attr}}, nil)
	}
	// The certificate came earlier, and is only named now.
	s := check("before", letter{with: []*pki.Certificate{first}}, first)
	must(Harvest(t.Context(), s, letter{signer: signer, trust: w.roots(), with: []*pki.Certificate{newest}}.send(t)))(t)
	must(Harvest(t.Context(), s, letter{signer: signer, trust: w.roots(), signed: cms.Attributes{prefer(t, first)["key identifier"]}}.send(t)))(t)
	found := must(s.Find(t.Context(), bob))(t)
	if len(found) != 3 || !found[0].Preferred || !bytes.Equal(found[0].Certificate.Raw, first.Raw) || !bytes.Equal(found[1].Certificate.Raw, newest.Raw) || found[2].Err == nil {
		t.Errorf("found %q", reasons(found))
	}
}

func TestHarvestRefuses(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{})
	id := w.identity(testpki.Profile{Name: "Bob", Email: bob})
	l := letter{signer: id, trust: w.roots()}
	edit := func(f func(m *Signed)) *Signed {
		m := l.send(t)
		f(m)
		return m
	}
	for name, tc := range map[string]struct {
		msg  *Signed
		want error
	}{
		"untrusted":       {letter{signer: id, trust: newWorld(t, "Other").roots()}.send(t), ErrNotTrusted},
		"invalid":         {edit(func(m *Signed) { m.Result.Valid = false }), ErrNotTrusted},
		"with an error":   {edit(func(m *Signed) { m.Result.Err = &cms.VerifyError{Reason: cms.ReasonContent} }), ErrNotTrusted},
		"no result":       {edit(func(m *Signed) { m.Result = nil }), ErrNotTrusted},
		"no certificate":  {edit(func(m *Signed) { m.Result.Certificate = nil }), ErrNotTrusted},
		"another sender":  {edit(func(m *Signed) { m.Address = "carol@example.test" }), ErrNotSender},
		"by case":         {edit(func(m *Signed) { m.Address = "BOB@example.test" }), ErrNotSender},
		"expired, judged": {letter{signer: w.identity(testpki.Profile{Email: bob, NotBefore: days(-9), NotAfter: days(-8)}), trust: w.roots()}.send(t), ErrNotTrusted},
	} {
		_, err := Harvest(t.Context(), s, tc.msg)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var usage *cms.UsageError
	for _, trust := range []cms.Trust{nil, cms.InsecureTrustAnySigner} {
		_, err := Harvest(t.Context(), s, edit(func(m *Signed) { m.Trust = trust }))
		if !errors.As(err, &usage) {
			t.Errorf("%v", err)
		}
	}
	_, err := Harvest(t.Context(), s, edit(func(m *Signed) { m.Address = "nobody" }))
	if !errors.As(err, new(*keystore.SyntaxError)) {
		t.Errorf("%v", err)
	}
	for _, table := range []string{"certificates", "entries", "correspondents"} {
		if n := count(t, s, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
}

// TestHarvestBound has one address send more certificates than are kept.
func TestHarvestBound(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{})
	kept := must(s.AddCertificate(t.Context(), bob, w.cert(testpki.Profile{Email: bob, KeyIndex: 1}), AddOptions{}))(t)
	const more = 20
	var last Fingerprint
	for i := range maxHarvested + more {
		// The key is the same and the certificate is not.
		id := w.identity(testpki.Profile{Name: "Bob", Email: bob, NotBefore: days(-1).Add(time.Duration(i) * time.Second)})
		result := &cms.SignerResult{Certificate: id.Certificate, Valid: true, Trusted: true, SigningTime: days(-1).Add(time.Duration(i) * time.Minute)}
		must(Harvest(t.Context(), s, &Signed{Address: bob, Result: result, Trust: cms.TrustPool(w.roots())}))(t)
		last = FingerprintOf(id.Certificate)
	}
	c := must(s.Correspondent(t.Context(), bob))(t)
	if n := len(c.Entries); n != maxHarvested+2 { // the imported one and the last one are not counted
		t.Errorf("%d certificates", n)
	}
	if *c.Encryption != last || c.Entries[0].Fingerprint != last {
		t.Error("the last certificate is not the first")
	}
	if !slices.ContainsFunc(c.Entries, func(e Entry) bool { return e.Fingerprint == kept }) {
		t.Error("the imported certificate is gone")
	}
	if n := count(t, s, "SELECT count(*) FROM certificates"); n != len(c.Entries) {
		t.Errorf("%d certificates", n)
	}
}
