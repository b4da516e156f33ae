package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

const bob = "bob@example.test"

// reasons returns the subjects of what was found with the reasons against it.
func reasons(found []keystore.Found) []string {
	var out []string
	for _, f := range found {
		text := f.Certificate.CommonName()
		var unusable *keystore.UnusableError
		if errors.As(f.Err, &unusable) {
			text += fmt.Sprintf(" %d", unusable.Reason)
		} else if f.Err != nil {
			text += " " + f.Err.Error()
		}
		out = append(out, text)
	}
	return out
}

func TestFind(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{Key: quick("x")})
	if found, err := s.Find(t.Context(), bob); len(found) != 0 || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	add := func(p testpki.Profile, opts AddOptions) Fingerprint {
		if p.Email == "" {
			p.Email = bob
		}
		return must(s.AddCertificate(t.Context(), bob, w.cert(p), opts))(t)
	}
	add(testpki.Profile{Name: "old", NotBefore: days(-300)}, AddOptions{Source: "ldap"})
	add(testpki.Profile{Name: "new", NotBefore: days(-3)}, AddOptions{Capabilities: []cms.Cipher{cms.AES128GCM, cms.AES256CBC}})
	add(testpki.Profile{Name: "expired", NotBefore: days(-300), NotAfter: days(-200)}, AddOptions{})
	add(testpki.Profile{Name: "future", NotBefore: days(2), NotAfter: days(3)}, AddOptions{})
	add(testpki.Profile{Name: "signing", Usage: testpki.Sign, NotBefore: days(-2)}, AddOptions{})
	add(testpki.Profile{Name: "other", Email: "carol@example.test", NotBefore: days(-20)}, AddOptions{})
	rejected := add(testpki.Profile{Name: "rejected", NotBefore: days(-1)}, AddOptions{})
	if err := s.Decide(t.Context(), bob, rejected, Rejected); err != nil {
		t.Fatal(err)
	}
	want := func(words ...string) []keystore.Found {
		t.Helper()
		found := must(s.Find(t.Context(), "bob@EXAMPLE.test"))(t)
		if got := reasons(found); !slices.Equal(got, words) {
			t.Errorf("found %q, not %q", got, words)
		}
		return found
	}
	because := func(name string, u keystore.Unusable) string { return fmt.Sprintf("%s %d", name, u) }
	bad := []string{because("future", keystore.UnusableNotYet), because("rejected", keystore.UnusableRejected), because("signing", keystore.UnusableKeyUsage),
		because("other", keystore.UnusableAddress), because("expired", keystore.UnusableExpired)}
	found := want(append([]string{"new", "old"}, bad...)...)
	if f := found[0]; f.Source != "store" || f.Detail != Imported || f.Vouched || f.Preferred || !slices.Equal(f.Capabilities, []cms.Cipher{cms.AES128GCM, cms.AES256CBC}) ||
		time.Since(f.LastSeen) > time.Hour || f.FirstSeen.After(f.LastSeen) {
		t.Errorf("%+v", f)
	}
	if found[1].Detail != "ldap" {
		t.Errorf("detail %q", found[1].Detail)
	}
	// What was trusted by hand comes first, also for another address.
	for _, e := range must(s.Correspondent(t.Context(), bob))(t).Entries {
		if e.Certificate.CommonName() == "other" {
			if err := s.Decide(t.Context(), bob, e.Fingerprint, Trusted); err != nil {
				t.Fatal(err)
			}
		}
	}
	bad = slices.Delete(bad, 3, 4)
	if found = want(append([]string{"other", "new", "old"}, bad...)...); !found[0].Vouched || found[1].Vouched {
		t.Error("not vouched for")
	}
	// One's own certificate is found too, once.
	own := w.identity(testpki.Profile{Name: "own", NotBefore: days(-40)})
	must(s.AddIdentity(t.Context(), own, bob))(t)
	want(append([]string{"other", "own", "new", "old"}, bad...)...)
	must(s.AddCertificate(t.Context(), bob, own.Certificate, AddOptions{}))(t)
	if found = want(append([]string{"other", "own", "new", "old"}, bad...)...); found[1].Detail != Own {
		t.Errorf("detail %q", found[1].Detail)
	}
	_, err := s.Find(t.Context(), "nobody")
	if !errors.As(err, new(*keystore.SyntaxError)) {
		t.Errorf("%v", err)
	}
	integrity(t, s)
}

func TestCorrespondents(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{})
	cert := w.cert(testpki.Profile{})
	prints := map[string]Fingerprint{}
	for _, a := range []string{"a_b@example.test", "aXb@example.test", "carol@example.test", "dave@other.test"} {
		prints[a] = must(s.AddCertificate(t.Context(), a, cert, AddOptions{Chain: []*pki.Certificate{pki.FromX509(w.ca.Cert), cert, nil}}))(t)
	}
	must(s.AddCertificate(t.Context(), "dave@other.test", w.cert(testpki.Profile{KeyIndex: 1}), AddOptions{Source: Harvested}))(t)
	for _, tc := range []struct {
		filter Filter
		want   []string
	}{
		{Filter{}, []string{"aXb@example.test", "a_b@example.test", "carol@example.test", "dave@other.test"}},
		{Filter{Contains: "a_b"}, []string{"a_b@example.test"}},
		{Filter{Contains: "%"}, nil},
		{Filter{Contains: "EXAMPLE", Limit: 2}, []string{"aXb@example.test", "a_b@example.test"}},
		{Filter{Contains: "example", After: "a_b@example.test"}, []string{"carol@example.test"}},
		{Filter{Source: Harvested}, []string{"dave@other.test"}},
		{Filter{Source: "ldap"}, nil},
	} {
		var got []string
		for _, c := range must(s.Correspondents(t.Context(), tc.filter))(t) {
			got = append(got, c.Address)
			if len(c.Entries) == 0 || c.Capabilities != nil || c.Encryption != nil {
				t.Errorf("%+v", c)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %q", tc.filter, got)
		}
	}
	if n := count(t, s, "SELECT count(*) FROM certificates"); n != 2 {
		t.Errorf("%d certificates", n)
	}
	c := must(s.Correspondent(t.Context(), "dave@other.test"))(t)
	if len(c.Entries) != 2 || len(c.Entries[0].Chain)+len(c.Entries[1].Chain) != 1 {
		t.Errorf("%+v", c.Entries)
	}

	wantErr(t, s.RemoveCertificate(t.Context(), "nobody@example.test", prints["aXb@example.test"]), ErrNotFound)
	wantErr(t, s.Decide(t.Context(), "carol@example.test", Fingerprint{}, Trusted), ErrNotFound)
	if err := s.Decide(t.Context(), "carol@example.test", prints["carol@example.test"], Decision(7)); err == nil {
		t.Error("a decision that there is not was stored")
	}
	for address, print := range prints {
		if address == "dave@other.test" {
			wantErr(t, s.RemoveCorrespondent(t.Context(), address), nil)
			wantErr(t, s.RemoveCorrespondent(t.Context(), address), ErrNotFound)
			continue
		}
		wantErr(t, s.RemoveCertificate(t.Context(), address, print), nil)
		_, err := s.Correspondent(t.Context(), address)
		wantErr(t, err, ErrNotFound)
	}
	for _, table := range []string{"certificates", "chains", "entries", "correspondents"} {
		if n := count(t, s, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	integrity(t, s)
}

func TestAddCertificateMerges(t *testing.T) {
	w := newWorld(t, "CA")
	now := days(0).UTC()
	s := newStore(t, Options{Now: func() time.Time { return now }})
	cert := w.cert(testpki.Profile{Email: bob})
	first := now
	entry := func(source string, decision Decision, seen time.Time) {
		t.Helper()
		e := must(s.Correspondent(t.Context(), bob))(t).Entries[0]
		if e.Source != source || e.Decision != decision || !e.FirstSeen.Equal(first) || !e.LastSeen.Equal(seen) || !bytes.Equal(e.Certificate.Raw, cert.Raw) {
			t.Errorf("%+v", e)
		}
	}
	for _, step := range []struct {
		opts     AddOptions
		source   string
		decision Decision
	}{
		{AddOptions{Source: Harvested}, Harvested, Undecided},
		{AddOptions{Source: "ldap"}, "ldap", Undecided},
		{AddOptions{Source: Harvested}, "ldap", Undecided},
		{AddOptions{Decision: Trusted}, Imported, Trusted},
		{AddOptions{Source: Harvested}, Imported, Trusted},
	} {
		must(s.AddCertificate(t.Context(), bob, cert, step.opts))(t)
		entry(step.source, step.decision, now)
		now = now.Add(time.Hour)
	}
	_, err := s.AddCertificate(t.Context(), bob, nil, AddOptions{})
	wantErr(t, err, keystore.ErrNoCertificate)
	_, err = s.AddCertificate(t.Context(), bob, &pki.Certificate{Raw: make([]byte, maxCertificate+1)}, AddOptions{})
	if !errors.As(err, new(*keystore.LimitError)) {
		t.Errorf("%v", err)
	}
}
