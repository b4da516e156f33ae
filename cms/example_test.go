package cms_test

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"log"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
)

// newPerson makes a certificate, a key to it and the root it is issued under.
func newPerson(kind testpki.KeyType) (*testpki.Person, *testpki.CA) {
	ca, err := testpki.NewCA("Example CA")
	if err != nil {
		log.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.org", Key: kind})
	if err != nil {
		log.Fatal(err)
	}
	return p, ca
}

func ExampleSign() {
	alice, _ := newPerson(testpki.P256) // an *x509.Certificate and a crypto.Signer

	var message bytes.Buffer
	w, err := cms.Sign(&message, []cms.Signer{cms.NewSigner(alice.Cert, alice.Key.(crypto.Signer))}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err = io.WriteString(w, "an invoice"); err != nil {
		log.Fatal(err)
	}
	if err = w.Close(); err != nil { // signs and finishes the message
		log.Fatal(err)
	}
	fmt.Printf("%x\n", message.Bytes()[4:15])
	// Output: 06092a864886f70d010702
}

func ExampleReader_Verify() {
	alice, ca := newPerson(testpki.P256)
	message := signed(alice, "an invoice")

	r, err := cms.NewReader(message, nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := r.Verify(&cms.VerifyOptions{Trust: cms.TrustRoots(ca.Cert)})
	if err != nil {
		log.Fatal(err)
	}
	content, err := io.ReadAll(s)
	if err != nil { // content without a good verdict
		log.Fatal(err)
	}
	fmt.Printf("%s, says %s\n", content, s.Signers()[0].Certificate.Emails[0])
	// Output: an invoice, says alice@example.org
}

func signed(p *testpki.Person, content string) io.Reader {
	var message bytes.Buffer
	w, err := cms.Sign(&message, []cms.Signer{cms.NewSigner(p.Cert, p.Key.(crypto.Signer))}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.WriteString(w, content)
	if err = w.Close(); err != nil {
		log.Fatal(err)
	}
	return &message
}

func ExampleNewDetachedSigner() {
	alice, ca := newPerson(testpki.Ed25519)

	d, err := cms.NewDetachedSigner([]cms.Signer{cms.NewSigner(alice.Cert, alice.Key.(crypto.Signer))}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.WriteString(d, "a contract")
	var signature bytes.Buffer
	if err = d.Finish(&signature); err != nil {
		log.Fatal(err)
	}

	r, err := cms.NewReader(&signature, nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := r.Verify(&cms.VerifyOptions{Trust: cms.TrustRoots(ca.Cert), Content: bytes.NewBufferString("a contract, changed")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Close())
	// Output: the content is not what was signed
}

func ExampleEncrypt() {
	bob, _ := newPerson(testpki.X25519)

	var message bytes.Buffer
	w, err := cms.Encrypt(&message, []cms.Recipient{cms.NewRecipient(bob.Cert)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.WriteString(w, "a secret")
	if err = w.Close(); err != nil {
		log.Fatal(err)
	}

	r, err := cms.NewReader(&message, nil)
	if err != nil {
		log.Fatal(err)
	}
	d, err := r.Decrypt([]cms.Identity{cms.NewIdentity(bob.Cert, bob.Key)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	content, err := io.ReadAll(d)
	fmt.Printf("%s %t %v\n", content, d.Authenticated(), err)
	// Output: a secret true <nil>
}
