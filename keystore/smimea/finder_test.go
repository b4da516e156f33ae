package smimea_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// TestEveryRecord checks all usages, selectors and matching types with a
// certificate that they are for and with one that they are not for.
func TestEveryRecord(t *testing.T) {
	good, other := newFamily(t, testpki.Profile{}), newFamily(t, testpki.Profile{Name: "Other"})
	count := 0
	for _, usage := range []dane.Usage{dane.PKIXTA, dane.PKIXEE, dane.DANETA, dane.DANEEE} {
		for _, selector := range []dane.Selector{dane.FullCert, dane.SPKI} {
			for _, matching := range []dane.MatchingType{dane.Full, dane.SHA256, dane.SHA512} {
				subjects := []*pki.Certificate{good.leaf}
				if usage == dane.PKIXTA || usage == dane.DANETA {
					subjects = good.chain()
				}
				for i, subject := range subjects {
					count++
					t.Run(fmt.Sprintf("%v-%v-%v-%d", usage, selector, matching, i), func(t *testing.T) {
						f := finder(t, publish(t, alice, rec(t, subject, usage, selector, matching)), nil)
						var want error
						if usage == dane.PKIXTA || usage == dane.PKIXEE {
							want = smimea.ErrNotVouched
						}
						if err := f.Check(t.Context(), alice, good.leaf, good.chain()); !errors.Is(err, want) {
							t.Errorf("the certificate: %v, want %v", err, want)
						}
						if err := f.Check(t.Context(), alice, other.leaf, append(other.chain(), good.chain()...)); !errors.Is(err, smimea.ErrDenied) {
							t.Errorf("another certificate: %v", err)
						}
						if err := f.Check(t.Context(), alice, nil, nil); !errors.Is(err, smimea.ErrDenied) {
							t.Errorf("no certificate: %v", err)
						}
						checkFind(t, f, good, usage, selector, matching)
					})
				}
			}
		}
	}
	if count != 36 {
		t.Errorf("%d records", count)
	}
}

// checkFind: only a certificate of a person that is in the records is found.
func checkFind(t *testing.T, f *smimea.Finder, good *family, usage dane.Usage, selector dane.Selector, matching dane.MatchingType) {
	t.Helper()
	found, err := f.Find(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	inside := selector == dane.FullCert && matching == dane.Full && (usage == dane.PKIXEE || usage == dane.DANEEE)
	if !inside {
		if len(found) != 0 {
			t.Errorf("found %d", len(found))
		}
		return
	}
	if len(found) != 1 || string(found[0].Certificate.Raw) != string(good.leaf.Raw) || found[0].Err != nil ||
		found[0].Vouched != (usage == dane.DANEEE) || found[0].Detail != usage.String() || found[0].Source != f.Source() {
		t.Errorf("found %+v", found)
	}
}

// TestAnchorWithoutCertificate: the trust anchor is in the record and not among
// the certificates.
func TestAnchorWithoutCertificate(t *testing.T) {
	p := newFamily(t, testpki.Profile{})
	for _, test := range []struct {
		record dane.Record
		others []*pki.Certificate
		want   error
	}{
		{rec(t, p.ca, dane.DANETA, dane.FullCert, dane.Full), nil, nil},
		{rec(t, p.ca, dane.DANETA, dane.SPKI, dane.Full), nil, nil},
		{rec(t, p.root, dane.DANETA, dane.SPKI, dane.Full), []*pki.Certificate{p.ca}, nil},
		{rec(t, p.root, dane.DANETA, dane.FullCert, dane.Full), nil, smimea.ErrDenied}, // the CA between is not known
		{rec(t, p.ca, dane.DANETA, dane.FullCert, dane.SHA256), nil, smimea.ErrDenied},
		{rec(t, p.ca, dane.DANETA, dane.SPKI, dane.SHA512), nil, smimea.ErrDenied},
	} {
		f := finder(t, publish(t, alice, test.record), nil)
		if err := f.Check(t.Context(), alice, p.leaf, test.others); !errors.Is(err, test.want) {
			t.Errorf("%.30v: %v, want %v", test.record, err, test.want)
		}
	}
}

// TestNames: DANE-EE takes any name in a certificate, DANE-TA does not.
func TestNames(t *testing.T) {
	p := newFamily(t, testpki.Profile{Email: "alice@alice.example"}) // not alice: another local part
	ee := finder(t, publish(t, alice, rec(t, p.leaf, dane.DANEEE, dane.FullCert, dane.Full)), nil)
	if err := ee.Check(t.Context(), alice, p.leaf, nil); err != nil {
		t.Error(err)
	}
	if found, err := ee.Find(t.Context(), alice); err != nil || len(found) != 1 || found[0].Err != nil || !found[0].Vouched {
		t.Errorf("%+v, %v", found, err)
	}
	ta := finder(t, publish(t, alice, rec(t, p.ca, dane.DANETA, dane.FullCert, dane.Full)), &smimea.Options{
		Candidates: &source{found: []keystore.Found{{Certificate: p.leaf, Source: "test"}}}})
	if err := ta.Check(t.Context(), alice, p.leaf, p.chain()); !errors.Is(err, smimea.ErrDenied) {
		t.Error(err)
	}
	found, err := ta.Find(t.Context(), alice)
	var unusable *keystore.UnusableError
	if err != nil || len(found) != 1 || found[0].Vouched || !errors.As(found[0].Err, &unusable) || unusable.Reason != keystore.UnusableAddress {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestTime(t *testing.T) {
	p := newFamily(t, testpki.Profile{})
	late := &smimea.Options{Now: func() time.Time { return time.Now().AddDate(3, 0, 0) }}
	f := finder(t, publish(t, alice, rec(t, p.leaf, dane.DANEEE, dane.FullCert, dane.Full)), late)
	found, err := f.Find(t.Context(), alice)
	var unusable *keystore.UnusableError
	if err != nil || len(found) != 1 || !errors.As(found[0].Err, &unusable) || unusable.Reason != keystore.UnusableExpired {
		t.Errorf("%+v, %v", found, err)
	}
	f = finder(t, publish(t, alice, rec(t, p.ca, dane.DANETA, dane.FullCert, dane.Full)), late)
	if err = f.Check(t.Context(), alice, p.leaf, nil); !errors.Is(err, smimea.ErrDenied) {
		t.Error(err)
	}
}

// TestSeveral: one record that matches is enough, certificates come in their
// order, and those of the records are a chain for each other.
func TestSeveral(t *testing.T) {
	a := newFamily(t, testpki.Profile{NotBefore: time.Now().Add(-40 * time.Hour)})
	b := newFamily(t, testpki.Profile{Name: "B"})
	c := newFamily(t, testpki.Profile{Name: "C"})
	f := finder(t, publish(t, alice,
		dane.Record{Usage: 7, Data: []byte{1}}, dane.Record{Usage: dane.DANEEE, Data: []byte("no certificate")},
		rec(t, a.leaf, dane.DANEEE, dane.FullCert, dane.Full), rec(t, b.leaf, dane.PKIXEE, dane.FullCert, dane.Full),
		rec(t, c.leaf, dane.PKIXEE, dane.FullCert, dane.Full), rec(t, c.ca, dane.DANETA, dane.FullCert, dane.Full)), nil)
	found, err := f.Find(t.Context(), alice)
	if err != nil || len(found) != 3 {
		t.Fatalf("%+v, %v", found, err)
	}
	for i, want := range []struct {
		family  *family
		vouched bool
		detail  string
	}{{c, true, "DANE-TA"}, {a, true, "DANE-EE"}, {b, false, "PKIX-EE"}} {
		got := found[i]
		if string(got.Certificate.Raw) != string(want.family.leaf.Raw) || got.Vouched != want.vouched || got.Detail != want.detail || got.Err != nil || len(got.Chain) != 3 {
			t.Errorf("%d: %+v", i, got)
		}
	}
	for _, p := range []*family{a, c} {
		if err = f.Check(t.Context(), alice, p.leaf, nil); err != nil {
			t.Error(err)
		}
	}
	if err = f.Check(t.Context(), alice, b.leaf, nil); !errors.Is(err, smimea.ErrNotVouched) {
		t.Error(err)
	}
}

func TestAgility(t *testing.T) {
	a, b := newFamily(t, testpki.Profile{}), newFamily(t, testpki.Profile{Name: "B"})
	f := finder(t, publish(t, alice, rec(t, a.leaf, dane.DANEEE, dane.SPKI, dane.SHA256), rec(t, b.leaf, dane.DANEEE, dane.SPKI, dane.SHA512)), nil)
	if err := f.Check(t.Context(), alice, a.leaf, nil); !errors.Is(err, smimea.ErrDenied) {
		t.Errorf("the weaker hash: %v", err)
	}
	if err := f.Check(t.Context(), alice, b.leaf, nil); err != nil {
		t.Errorf("the stronger hash: %v", err)
	}
}

func TestCandidates(t *testing.T) {
	p, other := newFamily(t, testpki.Profile{}), newFamily(t, testpki.Profile{Name: "Other"})
	rejected := &keystore.UnusableError{Reason: keystore.UnusableRejected}
	failure := errors.New("out of order")
	from := &source{err: failure, found: []keystore.Found{
		{Certificate: other.leaf, Source: "test", Vouched: true},
		{Certificate: p.leaf, Chain: p.chain(), Source: "test", Capabilities: nil, Preferred: true, Err: rejected},
	}}
	records := publish(t, alice, rec(t, p.root, dane.DANETA, dane.SPKI, dane.SHA256))
	f := finder(t, records, &smimea.Options{Candidates: from})
	check := func(wantErr error) []keystore.Found {
		t.Helper()
		found, err := f.Find(t.Context(), alice)
		isSourceError(t, err)
		if !errors.Is(err, failure) || len(found) != 2 {
			t.Fatalf("%+v, %v", found, err)
		}
		i := slices.IndexFunc(found, func(g keystore.Found) bool { return string(g.Certificate.Raw) == string(p.leaf.Raw) })
		if good := found[i]; !good.Vouched || !errors.Is(good.Err, wantErr) || good.Detail != "DANE-TA, found in test" || good.Source != f.Source() || !good.Preferred {
			t.Errorf("%+v", good)
		}
		if bad := found[1-i]; bad.Vouched || !errors.Is(bad.Err, smimea.ErrDenied) {
			t.Errorf("%+v", bad)
		}
		return found
	}
	check(rejected)
	from.found[1].Err = nil
	if found := check(nil); string(found[0].Certificate.Raw) != string(p.leaf.Raw) {
		t.Error("what is denied comes first")
	}
	// Where the records have all there is, nobody else is asked.
	f = finder(t, publish(t, alice, rec(t, p.leaf, dane.DANEEE, dane.FullCert, dane.Full)), &smimea.Options{Candidates: from})
	if found, err := f.Find(t.Context(), alice); err != nil || len(found) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestNotKnown(t *testing.T) {
	p := newFamily(t, testpki.Profile{})
	insecure := publish(t, alice, rec(t, p.leaf, dane.DANEEE, dane.FullCert, dane.Full))
	for _, a := range insecure.answers {
		a.Secure = false
	}
	name, _ := smimea.Name(alice)
	denial := &zone{answers: map[string]*dane.Answer[dane.Record]{name: {NXDomain: true}}}
	for _, z := range []*zone{insecure, denial} {
		f := finder(t, z, nil)
		found, err := f.Find(t.Context(), alice)
		var why *smimea.InsecureError
		if isSourceError(t, err); !errors.As(err, &why) || why.Name != name || found != nil {
			t.Errorf("%+v, %v", found, err)
		}
		err = f.Check(t.Context(), alice, p.leaf, nil)
		if isSourceError(t, err); !errors.As(err, &why) {
			t.Error(err)
		}
	}
	bogus := &dane.LookupError{Name: name, Type: "SMIMEA", Reason: dane.Bogus}
	f := finder(t, &zone{err: bogus}, nil)
	found, err := f.Find(t.Context(), alice)
	if isSourceError(t, err); !errors.Is(err, bogus) || found != nil {
		t.Errorf("%+v, %v", found, err)
	}
	for _, address := range []string{"", "alice", "alice@", "@alice.example", "a b@alice.example", "alice@alice..example", "alice@[192.0.2.1]", "alice@-ä.example"} {
		found, err = f.Find(t.Context(), address)
		if isSourceError(t, err); !errors.Is(err, smimea.ErrAddress) || found != nil {
			t.Errorf("%q: %+v, %v", address, found, err)
		}
	}
	if _, err = smimea.New(nil, nil); !errors.Is(err, smimea.ErrNoResolver) {
		t.Error(err)
	}
}

func TestNoRecords(t *testing.T) {
	p := newFamily(t, testpki.Profile{})
	for _, test := range []struct {
		zone *zone
		want error
	}{{&zone{}, smimea.ErrNoRecords}, {publish(t, alice), smimea.ErrNoRecords},
		{publish(t, alice, dane.Record{Usage: 9, Data: []byte{1}}, dane.Record{Usage: 3, MatchingType: 1, Data: []byte{1}}), smimea.ErrUnusable}} {
		f := finder(t, test.zone, nil)
		if err := f.Check(t.Context(), alice, p.leaf, nil); !errors.Is(err, test.want) {
			t.Errorf("%v, want %v", err, test.want)
		}
		if found, err := f.Find(t.Context(), alice); err != nil || found != nil {
			t.Errorf("%+v, %v", found, err)
		}
	}
}

// TestAddresses checks which address is asked for: records of one are not those
// of another.
func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		published, asked string
		same             bool
	}{
		{"alice@alice.example", "alice@ALICE.Example", true},
		{"alice@alice.example", "Alice@alice.example", false},
		{"alice@alice.example", `"alice"@alice.example`, true},
		{"alice@bücher.example", "alice@xn--bcher-kva.example", true},
		{"alice@bücher.example", "alice@BÜCHER.example", true},
		{"j\u00fcrgen@alice.example", "ju\u0308rgen@alice.example", true},
		{"jürgen@alice.example", "Jürgen@alice.example", false},
		{"a@b@alice.example", `"a@b"@alice.example`, true},
		{"alice+tag@alice.example", "alice@alice.example", false},
	} {
		a, errA := smimea.Name(test.published)
		b, errB := smimea.Name(test.asked)
		if errA != nil || errB != nil || (a == b) != test.same {
			t.Errorf("%+v: %s, %s, %v, %v", test, a, b, errA, errB)
		}
	}
}

// TestFormC: it is form C that is hashed.
func TestFormC(t *testing.T) {
	want, err := dane.SMIMEAName("j\u00fcrgen@alice.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, nameErr := smimea.Name("ju\u0308rgen@alice.example"); nameErr != nil || got != want {
		t.Errorf("%s, %v; want %s", got, nameErr, want)
	}
}

func TestPublish(t *testing.T) {
	p := newFamily(t, testpki.Profile{})
	signer := newFamily(t, testpki.Profile{Usage: testpki.Sign})
	server := newFamily(t, testpki.Profile{Edit: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }})
	var unusable *keystore.UnusableError
	var record *dane.UnusableError
	for _, test := range []struct {
		address string
		cert    *pki.Certificate
		usage   dane.Usage
		want    func(error) bool
	}{
		{alice, p.leaf, dane.DANEEE, func(err error) bool { return err == nil }},
		{alice, signer.leaf, dane.DANEEE, func(err error) bool { return err == nil }},
		{"Alice@ALICE.example", p.leaf, dane.PKIXEE, func(err error) bool { return err == nil }},
		{alice, p.ca, dane.DANETA, func(err error) bool { return err == nil }},
		{alice, p.leaf, dane.DANETA, func(err error) bool { return errors.As(err, &unusable) && unusable.Reason == keystore.UnusableKeyUsage }},
		{"bob@alice.example", p.leaf, dane.DANEEE, func(err error) bool { return errors.As(err, &unusable) && unusable.Reason == keystore.UnusableAddress }},
		{alice, server.leaf, dane.DANEEE, func(err error) bool { return errors.As(err, &unusable) && unusable.Reason == keystore.UnusablePurpose }},
		{alice, p.leaf, 4, func(err error) bool { return errors.As(err, &record) && record.Reason == dane.UnknownUsage }},
		{"alice", p.leaf, dane.DANEEE, func(err error) bool { return errors.Is(err, smimea.ErrAddress) }},
	} {
		got, err := smimea.Publish(test.address, test.cert, test.usage, dane.FullCert, dane.Full)
		if !test.want(err) || (err == nil) != (got != nil) {
			t.Errorf("%s, %v: %v", test.address, test.usage, err)
		}
	}
}
