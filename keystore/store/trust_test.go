package store

import (
	"crypto"
	"errors"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

func TestAuthorities(t *testing.T) {
	s := newStore(t, Options{})
	a, b := pki.FromX509(newWorld(t, "A").ca.Root()), pki.FromX509(newWorld(t, "B").ca.Root())
	for range 2 { // adding twice is adding once
		for _, c := range []*pki.Certificate{a, b} {
			if id, err := s.AddAuthority(t.Context(), c); err != nil || id != FingerprintOf(c) {
				t.Fatalf("%s: %v", id, err)
			}
		}
	}
	list := must(s.Authorities(t.Context()))(t)
	if len(list) != 2 || list[0].Added.IsZero() {
		t.Fatalf("%d authorities", len(list))
	}
	if err := s.RemoveAuthority(t.Context(), FingerprintOf(a)); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveAuthority(t.Context(), FingerprintOf(a)); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if list = must(s.Authorities(t.Context()))(t); len(list) != 1 || list[0].Fingerprint != FingerprintOf(b) {
		t.Errorf("%v is left", list)
	}
	if _, err := s.AddAuthority(t.Context(), nil); !errors.Is(err, keystore.ErrNoCertificate) {
		t.Errorf("nothing: %v", err)
	}
}

// TestTrust judges signers by what was said of them by hand.
func TestTrust(t *testing.T) {
	s := newStore(t, Options{Key: quick("pw")})
	w, stranger := newWorld(t, "Known"), newWorld(t, "Stranger")
	must(s.AddAuthority(t.Context(), pki.FromX509(w.ca.Root())))(t)

	cert := func(p *testpki.Person) *pki.Certificate { return pki.FromX509(p.Cert) }
	issued := w.issue(testpki.Profile{Name: "Issued", Email: "issued@example.org", Key: testpki.P256})
	spoiled := w.issue(testpki.Profile{Name: "Spoiled", Email: "spoiled@example.org", Key: testpki.P256})
	friend := stranger.issue(testpki.Profile{Name: "Friend", Email: "friend@example.org", Key: testpki.P256})
	old := stranger.issue(testpki.Profile{Name: "Old", Email: "old@example.org", Key: testpki.P256,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	borrowed := stranger.issue(testpki.Profile{Name: "Borrowed", Email: "other@example.org", Key: testpki.P256})
	unknown := stranger.issue(testpki.Profile{Name: "Unknown", Email: "unknown@example.org", Key: testpki.P256})
	seen := stranger.issue(testpki.Profile{Name: "Seen", Email: "seen@example.org", Key: testpki.P256})
	me := stranger.issue(testpki.Profile{Name: "Me", Email: "me@example.org", Key: testpki.P256})
	for _, e := range []struct {
		p        *testpki.Person
		address  string
		decision Decision
	}{
		{spoiled, "spoiled@example.org", Rejected}, {friend, "friend@EXAMPLE.org", Trusted}, {old, "old@example.org", Trusted},
		// Trusted for an address that it does not have: to encrypt to, not to sign.
		{borrowed, "friend@example.org", Trusted}, {seen, "seen@example.org", Undecided},
	} {
		must(s.AddCertificate(t.Context(), e.address, cert(e.p), AddOptions{Decision: e.decision}))(t)
	}
	must(s.AddIdentity(t.Context(), keystore.Identity{Certificate: cert(me), Key: me.Key.(crypto.Signer)}))(t)

	trust := must(s.Trust(t.Context(), cms.TrustPool))(t)
	var ce *pki.ChainError
	var ue *keystore.UnusableError
	for _, test := range []struct {
		p    *testpki.Person
		good bool
		is   error
		as   any
	}{
		{p: issued, good: true}, {p: friend, good: true}, {p: me, good: true},
		{p: spoiled, is: ErrRejected}, {p: old, as: &ue}, {p: borrowed, as: &ce}, {p: unknown, as: &ce}, {p: seen, as: &ce},
	} {
		err := trust.TrustSigner(&cms.TrustRequest{Certificate: cert(test.p)})
		switch {
		case test.good && err != nil, !test.good && err == nil:
			t.Errorf("%s: %v", cert(test.p).CommonName(), err)
		case test.is != nil && !errors.Is(err, test.is), test.as != nil && !errors.As(err, test.as):
			t.Errorf("%s: %v", cert(test.p).CommonName(), err)
		}
	}
	// A decision counts at once.
	if err := s.Decide(t.Context(), "friend@example.org", FingerprintOf(cert(friend)), Rejected); err != nil {
		t.Fatal(err)
	}
	if err := trust.TrustSigner(&cms.TrustRequest{Certificate: cert(friend)}); !errors.Is(err, ErrRejected) {
		t.Errorf("rejected meanwhile: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := trust.TrustSigner(&cms.TrustRequest{Certificate: cert(issued)}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestKeptBy(t *testing.T) {
	s := newStore(t, Options{Key: quick("pw")})
	if name := must(s.KeptBy(t.Context()))(t); name != "" {
		t.Errorf("a new store is kept by %q", name)
	}
	if err := s.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if name := must(s.KeptBy(t.Context()))(t); name != "passphrase" {
		t.Errorf("kept by %q", name)
	}
}
