package smime_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/smime"
)

// People of the examples; programs have their certificates and keys from files
// or from a store.
var (
	root          *x509.Certificate
	alice, bob    *x509.Certificate
	aliceKey      crypto.Signer
	bobKey        crypto.PrivateKey
	signedMail    bytes.Buffer // from alice
	encryptedMail bytes.Buffer // from alice to bob, signed
)

func init() {
	if err := makePeople(); err != nil {
		log.Fatal(err)
	}
	if err := makeMail(); err != nil {
		log.Fatal(err)
	}
}

func makePeople() error {
	ca, err := testpki.NewCA("Example CA")
	if err != nil {
		return err
	}
	a, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.org", Key: testpki.P256})
	if err != nil {
		return err
	}
	b, err := ca.Issue(testpki.Profile{Name: "Bob", Email: "bob@example.org", Key: testpki.RSA2048})
	if err != nil {
		return err
	}
	root, alice, bob, aliceKey, bobKey = ca.Root(), a.Cert, b.Cert, a.Key.(crypto.Signer), b.Key
	return nil
}

func makeMail() error {
	w, err := smime.Sign(&signedMail, []cms.Signer{cms.NewSigner(alice, aliceKey)}, nil)
	if err == nil {
		err = compose(w)
	}
	if err != nil {
		return err
	}
	w, err = smime.Encrypt(&encryptedMail, []cms.Recipient{cms.NewRecipient(bob)},
		&smime.EncryptOptions{Signers: []cms.Signer{cms.NewSigner(alice, aliceKey)}})
	if err == nil {
		err = compose(w)
	}
	return err
}

// compose writes a message, and closes w.
func compose(w io.WriteCloser) error {
	var h mail.Header
	h.SetAddressList("From", []*mail.Address{{Name: "Alice", Address: "alice@example.org"}})
	h.SetAddressList("To", []*mail.Address{{Name: "Bob", Address: "bob@example.org"}})
	h.SetSubject("Lunch")
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	body, err := mail.CreateSingleInlineWriter(w, h)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(body, "At noon?\r\n"); err != nil {
		return err
	}
	return errors.Join(body.Close(), w.Close())
}

func ExampleSign() {
	var out bytes.Buffer
	w, err := smime.Sign(&out, []cms.Signer{cms.NewSigner(alice, aliceKey)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	var h mail.Header
	h.SetAddressList("From", []*mail.Address{{Name: "Alice", Address: "alice@example.org"}})
	h.SetSubject("Lunch")
	h.SetContentType("text/plain", nil)
	body, err := mail.CreateSingleInlineWriter(w, h)
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.WriteString(body, "At noon?\r\n") // the error comes again from Close
	if err = errors.Join(body.Close(), w.Close()); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "Subject: ") || strings.HasPrefix(line, "Content-Type: ") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// Subject: Lunch
	// Content-Type: multipart/signed; protocol="application/pkcs7-signature";
	// Content-Type: text/plain
	// Content-Type: application/pkcs7-signature;
}

// A message is signed, encrypted and sent while it is being composed. There is
// no copy of it.
func ExampleSign_smtp() {
	c, err := smtp.DialStartTLS("mail.example.org:587", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err = errors.Join(c.Mail("alice@example.org", nil), c.Rcpt("bob@example.org", nil)); err != nil {
		log.Fatal(err)
	}
	data, err := c.Data()
	if err != nil {
		log.Fatal(err)
	}
	w, err := smime.Sign(data, []cms.Signer{cms.NewSigner(alice, aliceKey)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err = compose(w); err != nil { // closes w, which does not close data
		log.Fatal(err)
	}
	if err = errors.Join(data.Close(), c.Quit()); err != nil {
		log.Fatal(err)
	}
}

func ExampleEncrypt() {
	var out bytes.Buffer
	w, err := smime.Encrypt(&out, []cms.Recipient{cms.NewRecipient(bob), cms.NewRecipient(alice)}, &smime.EncryptOptions{
		Signers: []cms.Signer{cms.NewSigner(alice, aliceKey)}, // signed before it is encrypted
	})
	if err != nil {
		log.Fatal(err)
	}
	if err = compose(w); err != nil { // as in the example of Sign
		log.Fatal(err)
	}
	header, _, _ := strings.Cut(out.String(), "\r\n\r\n")
	_, contentType, _ := strings.Cut(header, "Content-Type: ")
	fmt.Println(strings.ReplaceAll(contentType, "\r\n", "\n"))
	// Output:
	// application/pkcs7-mime; smime-type=authEnveloped-data;
	//  name="smime.p7m"
	// Content-Transfer-Encoding: base64
	// Content-Disposition: attachment; filename="smime.p7m"
}

// Read verifies a signed message.
func ExampleRead() {
	m, err := smime.Read(bytes.NewReader(signedMail.Bytes()), &smime.ReadOptions{Trust: cms.TrustRoots(root)})
	if m == nil {
		log.Fatal(err) // the message could not be read at all
	}
	defer m.Close()
	if err != nil {
		log.Fatal("do not believe this message: ", err)
	}
	fmt.Println(m.Status)
	for _, s := range m.Layers[0].Signers {
		fmt.Println("signed by", s.Certificate.Emails[0])
	}
	if _, err = m.WriteTo(io.Discard); err != nil { // for the mail reader
		log.Fatal(err)
	}
	// Output:
	// signed/verified
	// signed by alice@example.org
}

// Read decrypts a message with the reader's key, and verifies the signature
// inside.
func ExampleRead_decrypt() {
	m, err := smime.Read(bytes.NewReader(encryptedMail.Bytes()), &smime.ReadOptions{
		Trust:      cms.TrustRoots(root),
		Identities: []cms.Identity{cms.NewIdentity(bob, bobKey)},
	})
	if err != nil {
		_ = m.Close()
		log.Fatal(err)
	}
	defer m.Close()
	for _, layer := range m.Layers {
		fmt.Println(layer.Type)
	}
	h := m.Header()
	fmt.Println(m.Status, h.Get("Subject"))
	body, err := io.ReadAll(m.Body())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", body)
	// Output:
	// authEnveloped-data
	// multipart/signed
	// encrypted+signed/verified Lunch
	// At noon?
}
