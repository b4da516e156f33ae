package account

import (
	"errors"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// TestChangesCount has everything remembered when somebody changes the store, as
// smimetool does it while the proxy runs: the next message is by what is there now.
func TestChangesCount(t *testing.T) {
	none := func(err error) bool { return errors.As(err, new(*recipients.NoneError)) }
	untrusted := func(err error) bool { return errors.As(err, new(*recipients.UntrustedError)) }
	sign := func(t *testing.T, k smtpproxy.Keys) error {
		_, err := k.Signer(t.Context(), "alice@example.org")
		return err
	}
	bob := func(t *testing.T, k smtpproxy.Keys) error {
		_, err := k.Recipient(t.Context(), "bob@example.org")
		return err
	}
	for name, test := range map[string]struct {
		ask    func(*testing.T, smtpproxy.Keys) error
		change func(*testing.T, *store.Store) error
		is     func(error) bool
	}{
		"identity removed": {sign, func(t *testing.T, s *store.Store) error {
			ids, err := s.Identities(t.Context(), "")
			if err == nil {
				err = s.RemoveIdentity(t.Context(), ids[0].Fingerprint)
			}
			return err
		}, func(err error) bool { return errors.Is(err, smtpproxy.ErrNoIdentity) }},
		"recipient removed": {bob, func(t *testing.T, s *store.Store) error {
			return s.RemoveCorrespondent(t.Context(), "bob@example.org")
		}, none},
		"recipient rejected": {bob, func(t *testing.T, s *store.Store) error {
			c, err := s.Correspondent(t.Context(), "bob@example.org")
			if err == nil {
				err = s.Decide(t.Context(), "bob@example.org", c.Entries[0].Fingerprint, store.Rejected)
			}
			return err
		}, none},
		"authority removed": {bob, func(t *testing.T, s *store.Store) error {
			list, err := s.Authorities(t.Context())
			if err == nil {
				err = s.RemoveAuthority(t.Context(), list[0].Fingerprint)
			}
			return err
		}, untrusted},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			other, err := store.Open(t.Context(), c.Accounts[0].Store, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close() }() // what it wrote is written
			// The authority of bob is that of the store alone.
			shared := openSet(t, c).shared.authorities
			c.Trust.Authorities = nil
			if _, err = other.AddAuthority(t.Context(), shared[0]); err != nil {
				t.Fatal(err)
			}
			keys := openSet(t, c).Keys("alice")
			for range 2 {
				if err = test.ask(t, keys); err != nil {
					t.Fatal(err)
				}
			}
			if err = test.change(t, other); err != nil {
				t.Fatal(err)
			}
			if err = test.ask(t, keys); !test.is(err) {
				t.Errorf("the change was not seen: %v", err)
			}
		})
	}
}

// TestJudge asks about a path again and again, and counts how often it is judged.
func TestJudge(t *testing.T) {
	trusted, other := authority(t), authority(t)
	bob := person(t, trusted, "bob@example.org").Certificate
	judged := 0
	memo := newVerdicts()
	under := func(roots ...store.Authority) *judge {
		return &judge{memo: memo, roots: roots, paths: func() cms.PathTrust {
			judged++
			var certs []*pki.Certificate
			for _, r := range roots {
				certs = append(certs, r.Certificate)
			}
			return cms.PathTrust{Roots: pki.NewRoots(certs)}
		}}
	}
	root := func(c *pki.Certificate) store.Authority {
		return store.Authority{Certificate: c, Fingerprint: store.FingerprintOf(c)}
	}
	both, one := under(root(other.Certificate), root(trusted.Certificate)), under(root(other.Certificate))
	now := time.Now()
	for i, test := range []struct {
		judge  *judge
		at     time.Time
		judged bool
		good   bool
	}{
		{both, now, true, true},
		{both, now, false, true},
		{both, now.Add(remember - 1), false, true},
		{both, now.Add(-1), true, true}, // nothing is known of before
		{one, now, true, false},         // it is another question, with another answer
		{one, now, true, false},         // which is not remembered
		{both, now.Add(remember), true, true},
		{both, bob.NotAfter.Add(-time.Second), true, true},
		{both, bob.NotAfter.Add(-1), false, true},
		{both, bob.NotAfter.Add(time.Second), true, false}, // the minute ends with the certificate
	} {
		judged = 0
		err := test.judge.TrustSigner(&cms.TrustRequest{Certificate: bob, Time: test.at})
		if (err == nil) != test.good || (judged > 0) != test.judged {
			t.Errorf("%d: %v, judged %d times", i, err, judged)
		}
	}
	if err := both.TrustSigner(&cms.TrustRequest{Certificate: bob, Time: now.Add(remember), Intermediates: []*pki.Certificate{other.Certificate}}); err != nil || judged == 0 {
		t.Errorf("with other certificates: %v, judged %d times", err, judged)
	}
}

// TestSpan ends verdicts with what they rest on.
func TestSpan(t *testing.T) {
	now := time.Now()
	chain := []*pki.Certificate{{NotAfter: now.Add(time.Hour)}, {NotAfter: now.Add(30 * time.Second)}}
	crl := func(next time.Time) pki.CertificateStatus {
		return pki.CertificateStatus{Status: pki.RevocationGood, NextUpdate: next}
	}
	for i, test := range []struct {
		chain    []*pki.Certificate
		found    []pki.CertificateStatus
		fetching bool
		certain  bool
		until    time.Duration
	}{
		{chain[:1], nil, false, true, remember},
		{chain, nil, false, true, 30 * time.Second},
		{chain, []pki.CertificateStatus{crl(now.Add(time.Hour)), crl(now.Add(5 * time.Second))}, true, true, 5 * time.Second},
		{chain, []pki.CertificateStatus{crl(time.Time{})}, true, true, 30 * time.Second},
		{chain, []pki.CertificateStatus{{}}, false, true, 30 * time.Second}, // nobody will know
		{chain, []pki.CertificateStatus{crl(now), {}}, true, false, 0},      // somebody may know soon
	} {
		s := span{now, now.Add(remember)}
		certain := s.limit(test.chain, test.found, test.fetching)
		if certain != test.certain || certain && !s.until.Equal(now.Add(test.until)) {
			t.Errorf("%d: certain: %t, until %v", i, certain, s.until.Sub(now))
		}
	}
}

// TestVerdictsLimit remembers so many, and not all.
func TestVerdictsLimit(t *testing.T) {
	v, now := newVerdicts(), time.Now()
	about := func(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
	const n = 5 * maxVerdicts
	for i := range n {
		v.Put(about(i), span{now, now.Add(time.Minute)})
	}
	held := 0
	for i := range n {
		// The youngest first: what is found stays.
		if there := v.holds(about(n-1-i), now); there {
			held++
		} else if i < maxVerdicts {
			t.Errorf("verdict %d is not there", i)
		}
	}
	if held > 2*maxVerdicts {
		t.Errorf("%d verdicts", held)
	}
}
