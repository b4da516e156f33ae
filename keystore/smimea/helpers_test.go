package smimea_test

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

const alice = "Alice@alice.example"

// zone is a resolver with answers of its own.
type zone struct {
	dane.Resolver // nil: no other lookup is made
	answers       map[string]*dane.Answer[dane.Record]
	err           error
}

func (z *zone) LookupSMIMEA(_ context.Context, name string) (*dane.Answer[dane.Record], error) {
	if z.err != nil {
		return nil, z.err
	}
	if a := z.answers[name]; a != nil {
		return a, nil
	}
	return &dane.Answer[dane.Record]{Name: name, Secure: true, NXDomain: true}, nil
}

// publish returns a resolver that has records for an address.
func publish(t *testing.T, address string, records ...dane.Record) *zone {
	t.Helper()
	name, err := smimea.Name(address)
	if err != nil {
		t.Fatal(err)
	}
	return &zone{answers: map[string]*dane.Answer[dane.Record]{name: {Name: name, Secure: true, Records: records}}}
}

// source is a Finder with the same for every address.
type source struct {
	found []keystore.Found
	err   error
}

func (s *source) Source() string { return "test" }
func (s *source) Find(context.Context, string) ([]keystore.Found, error) {
	return append([]keystore.Found(nil), s.found...), s.err
}

func finder(t *testing.T, r dane.Resolver, opts *smimea.Options) *smimea.Finder {
	t.Helper()
	f, err := smimea.New(r, opts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parse(t *testing.T, c *x509.Certificate) *pki.Certificate {
	t.Helper()
	out, err := pki.ParseCertificate(c.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// family is a root, a CA under it, and a person under that.
type family struct{ root, ca, leaf *pki.Certificate }

func (f *family) chain() []*pki.Certificate { return []*pki.Certificate{f.ca, f.root} }

func newFamily(t *testing.T, p testpki.Profile) *family {
	t.Helper()
	root, err := testpki.NewCA("Root")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := root.Intermediate("CA")
	if err != nil {
		t.Fatal(err)
	}
	if p.Email == "" {
		p.Email = alice
	}
	p.Key = testpki.P256
	person, err := ca.Issue(p)
	if err != nil {
		t.Fatal(err)
	}
	return &family{root: parse(t, root.Cert), ca: parse(t, ca.Cert), leaf: parse(t, person.Cert)}
}

func rec(t *testing.T, c *pki.Certificate, usage dane.Usage, selector dane.Selector, matching dane.MatchingType) dane.Record {
	t.Helper()
	r, err := dane.New(c, usage, selector, matching)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// isSourceError checks that an error says that nothing is known.
func isSourceError(t *testing.T, err error) {
	t.Helper()
	var s *keystore.SourceError
	if !errors.As(err, &s) || s.Source == "" {
		t.Errorf("not a SourceError: %v", err)
	}
}
