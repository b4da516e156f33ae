package store_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// The store keeps an identity under a passphrase and a colleague's
// certificate, and finds both again.
func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ca, err := testpki.NewCA("Example CA")
	if err != nil {
		log.Fatal(err)
	}
	alice, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.org", Key: testpki.P256})
	if err != nil {
		log.Fatal(err)
	}
	bob, err := ca.Issue(testpki.Profile{Name: "Bob", Email: "bob@example.org", Key: testpki.P256})
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	passphrase := &store.Passphrase{Ask: func(string) ([]byte, error) { return []byte("correct horse"), nil }}
	s, err := store.Open(ctx, filepath.Join(dir, "store.db"), store.Options{Key: passphrase})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if _, err = s.AddIdentity(ctx, keystore.Identity{Certificate: pki.FromX509(alice.Cert), Key: alice.Key}); err != nil {
		log.Fatal(err)
	}
	if _, err = s.AddCertificate(ctx, "bob@example.org", pki.FromX509(bob.Cert), store.AddOptions{Decision: store.Trusted}); err != nil {
		log.Fatal(err)
	}

	me, err := s.SigningIdentity(ctx, "alice@example.org")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sign as", me.Certificate.CommonName())
	sources := &keystore.Chain{Finders: []keystore.Finder{s}} // and LDAP, and DNS
	found, err := sources.Find(ctx, "bob@example.org")
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range found {
		fmt.Println("encrypt to", f.Certificate.CommonName(), "from the", f.Source, "vouched for:", f.Vouched)
	}
	// Output:
	// sign as Alice
	// encrypt to Bob from the store vouched for: true
}
