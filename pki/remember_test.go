package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// TestRemembered checks a signature that is remembered against everything that
// makes it another one.
func TestRemembered(t *testing.T) {
	ca, err := testpki.NewCA("Remembered")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	leaf, issuer := FromX509(p.Cert), FromX509(p.Chain[len(p.Chain)-1])
	check := func(c *Certificate, message, signature []byte) error {
		_, verr := verifyRemembered(c, leaf.SignatureAlgorithm, message, signature)
		return verr
	}
	for range 2 {
		if err = check(issuer, leaf.RawTBS, leaf.Signature); err != nil {
			t.Fatal(err)
		}
	}
	id := signatureID(issuer.RawSPKI, []byte(leaf.SignatureAlgorithm.OID), leaf.SignatureAlgorithm.Parameters, leaf.RawTBS, leaf.Signature)
	if _, known := signatures.Get(id); !known {
		t.Error("a valid signature is not remembered")
	}
	flip := func(p []byte, at int) []byte {
		p = bytes.Clone(p)
		p[at] ^= 1
		return p
	}
	for range 2 { // a wrong one is never remembered as right
		for i := range leaf.RawTBS {
			if check(issuer, flip(leaf.RawTBS, i), leaf.Signature) == nil {
				t.Errorf("octet %d of the certificate can be changed", i)
			}
		}
		if check(issuer, leaf.RawTBS, flip(leaf.Signature, len(leaf.Signature)-1)) == nil {
			t.Error("the signature can be changed")
		}
		// The octets of the key are those that are known, and the key is another.
		key, keyErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if keyErr != nil {
			t.Fatal(keyErr)
		}
		forged := *issuer
		forged.PublicKey = &key.PublicKey
		if check(&forged, leaf.RawTBS, leaf.Signature) == nil {
			t.Error("another key is taken for the issuer's")
		}
	}
}

// TestParseShared checks that a shared certificate is the same as one that is not,
// keeps nothing of the caller's memory, and that what cannot be read stays so.
func TestParseShared(t *testing.T) {
	ca, err := testpki.NewCA("Shared")
	if err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(ca.Cert.Raw)
	first, err := ParseShared(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	second, err := ParseShared(ca.Cert.Raw)
	if err != nil || second != first || !bytes.Equal(first.Raw, ca.Cert.Raw) || first.Subject() != FromX509(ca.Cert).Subject() {
		t.Errorf("%v, %v", second, err)
	}
	for range 2 {
		if _, err = ParseShared(ca.Cert.Raw[:len(ca.Cert.Raw)-1]); err == nil {
			t.Error("half a certificate is read")
		}
	}
}

// Names that are set by hand count, and not those that were read.
func TestFoldedNames(t *testing.T) {
	ca, err := testpki.NewCA("Folded")
	if err != nil {
		t.Fatal(err)
	}
	c := FromX509(ca.Cert)
	if c.foldedSubject() != foldName(c.RawSubject) || c.foldedIssuer() != foldName(c.RawIssuer) {
		t.Error("the names differ")
	}
	other := *c
	other.RawSubject, other.RawIssuer = []byte{0x30, 0}, []byte{0x30, 0}
	if other.foldedSubject() != foldName(other.RawSubject) || other.foldedIssuer() != foldName(other.RawIssuer) {
		t.Error("names that were set are not looked at")
	}
}
