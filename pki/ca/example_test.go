package ca_test

import (
	"fmt"
	"log"
	"time"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// A CA with post-quantum keys issues one certificate for signatures and one for
// encryption.
func Example() {
	today := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rootKey, err := ca.GenerateKey(ca.MLDSA65)
	if err != nil {
		log.Fatal(err)
	}
	root, err := ca.NewRoot(ca.Subject{Country: "CH", Organization: "Example", Name: "Example Root CA"}, rootKey, today)
	if err != nil {
		log.Fatal(err)
	}
	roots := pki.NewRoots([]*pki.Certificate{root.Certificate})
	for _, kind := range []ca.KeyType{ca.MLDSA65, ca.MLDSA65.Encryption()} {
		key, err := ca.GenerateKey(kind)
		if err != nil {
			log.Fatal(err)
		}
		public, err := ca.Public(key)
		if err != nil {
			log.Fatal(err)
		}
		req := &ca.Request{Emails: []string{"ann@example.test"}, Name: "Ann", Key: public, Usage: ca.SignOnly}
		purpose := pki.Signing
		if !kind.Signs() {
			req.Usage, purpose = ca.EncryptOnly, pki.Encrypting
		}
		cert, err := root.Issue(req, today)
		if err != nil {
			log.Fatal(err)
		}
		_, err = roots.Verify(cert, pki.ChainOptions{Time: today, Purpose: purpose})
		fmt.Println(kind, cert.Emails, cert.CanSign(), cert.CanEncrypt(), err)
	}
	// Output:
	// ml-dsa-65 [ann@example.test] true false <nil>
	// ml-kem-768 [ann@example.test] false true <nil>
}
