package pki_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

func ExampleRoots_Verify() {
	root, err := testpki.NewCA("Example Root")
	if err != nil {
		log.Fatal(err)
	}
	ca, err := root.Intermediate("Example CA")
	if err != nil {
		log.Fatal(err)
	}
	alice, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: testpki.P256})
	if err != nil {
		log.Fatal(err)
	}

	roots := pki.NewRoots([]*pki.Certificate{pki.FromX509(root.Cert)})
	leaf := pki.FromX509(alice.Cert)
	opts := pki.ChainOptions{Intermediates: []*pki.Certificate{pki.FromX509(ca.Cert)}, Purpose: pki.Signing}
	chain, err := roots.Verify(leaf, opts)
	fmt.Println(len(chain), err)

	opts.Time = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err = roots.Verify(leaf, opts)
	if fault, ok := errors.AsType[*pki.ChainError](err); ok {
		fmt.Println(fault.Reason)
		fmt.Println(fault.Tried())
	}

	opts = pki.ChainOptions{}
	_, err = roots.Verify(leaf, opts)
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// expired
	// "Alice", issued by "Example CA", issued by "Example Root"
	// the certificate of "Alice" was issued by "CN=Example CA,O=Test", which is not known or not trusted
}
