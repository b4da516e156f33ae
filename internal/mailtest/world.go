package mailtest

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// A World is everybody's keys: it implements outgoing.Keys, as the account of
// alice@example.org.
type World struct {
	CA     *testpki.CA
	People map[string]*testpki.Person // by address, at example.org
	Down   bool                       // the source of certificates
}

// NewWorld makes people.
func NewWorld(t testing.TB, names ...string) *World {
	t.Helper()
	ca, err := testpki.NewCA("Test")
	if err != nil {
		t.Fatal(err)
	}
	w := &World{CA: ca, People: make(map[string]*testpki.Person)}
	for _, name := range names {
		p, issueErr := ca.Issue(testpki.Profile{Name: name, Email: name + "@example.org", Key: testpki.P256})
		if issueErr != nil {
			t.Fatal(issueErr)
		}
		w.People[name+"@example.org"] = p
	}
	return w
}

// Signer implements Keys: alice has an identity, and a key of carol's is locked.
func (w *World) Signer(_ context.Context, address string) (*cms.Signer, error) {
	switch address {
	case "carol@example.org":
		return nil, keystore.ErrPassphraseNeeded
	case "alice@example.org":
		p := w.People[address]
		s := cms.NewSigner(p.Cert, p.Key.(crypto.Signer))
		return &s, nil
	}
	return nil, outgoing.ErrNoIdentity
}

// Recipient implements Keys.
func (w *World) Recipient(_ context.Context, address string) (*recipients.Candidate, error) {
	if w.Down {
		return nil, &keystore.SourceError{Source: "test", Err: errors.New("down")}
	}
	p, ok := w.People[address]
	if !ok {
		return nil, &recipients.NoneError{Address: address}
	}
	return &recipients.Candidate{Found: keystore.Found{Certificate: pki.FromX509(p.Cert), Source: "test"}}, nil
}

// Open opens a message as somebody, who trusts the CA.
func (w *World) Open(t testing.TB, data, who string) (*smime.Message, error) {
	t.Helper()
	opts := &smime.ReadOptions{Trust: cms.TrustRoots(w.CA.Cert)}
	if p := w.People[who]; p != nil {
		opts.Identities = []cms.Identity{cms.NewIdentity(p.Cert, p.Key)}
	}
	m, err := smime.Read(strings.NewReader(data), opts)
	if m != nil {
		t.Cleanup(func() { _ = m.Close() })
	}
	return m, err
}

// Rules returns a policy.
func Rules(t testing.TB, list ...policy.Rule) *policy.Rules {
	t.Helper()
	r, err := policy.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Level returns a pointer to a value, as rules have it.
func Level[T any](v T) *T { return &v }

// Everything signs and encrypts where that is possible.
func Everything(t testing.TB, more ...policy.Rule) *policy.Rules {
	return Rules(t, append(more, policy.Rule{Sign: Level(policy.SignIfPossible), Encrypt: Level(policy.EncryptIfPossible)})...)
}
