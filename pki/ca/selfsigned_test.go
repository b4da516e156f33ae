package ca

import (
	"crypto"
	"crypto/ecdh"
	"errors"
	"testing"
	"time"

	"github.com/postseal/postseal/pki"
)

// TestSelfSign has people who vouch for themselves, and for nobody else.
func TestSelfSign(t *testing.T) {
	now := time.Now()
	for _, kind := range []KeyType{RSA3072, P256, P384} {
		key, err := GenerateKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		c, err := SelfSign(&Request{Emails: []string{"alice@example.org"}, Name: "Alice"}, key, now)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if c.IsCA || !c.CanSign() || !c.CanEncrypt() || !c.HasEmail("alice@example.org") || !pki.NamesEqual(c.RawIssuer, c.RawSubject) {
			t.Errorf("%s: %s, CA %v, signs %v, encrypts %v, addresses %v", kind, c.Subject(), c.IsCA, c.CanSign(), c.CanEncrypt(), c.Emails)
		}
		roots := pki.NewRoots([]*pki.Certificate{c})
		if _, err = roots.Verify(c, pki.ChainOptions{}); err != nil {
			t.Errorf("%s: trusted for itself: %v", kind, err)
		}
		// The holder of the key cannot make certificates for others with it.
		forger := &Authority{Certificate: c, key: key.(crypto.Signer)}
		victim, err := forger.Issue(&Request{Emails: []string{"bob@example.org"}, Key: forger.key.Public()}, now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = roots.Verify(victim, pki.ChainOptions{})
		if ce, ok := errors.AsType[*pki.ChainError](err); !ok || ce.Reason != pki.Constraint {
			t.Errorf("%s: a certificate that a person issued: %v", kind, err)
		}
	}
	x, err := GenerateKey(X25519)
	if err != nil {
		t.Fatal(err)
	}
	other, err := GenerateKey(P256)
	if err != nil {
		t.Fatal(err)
	}
	var re *RequestError
	if _, err = SelfSign(&Request{Emails: []string{"a@example.org"}, Usage: EncryptOnly}, x, now); !errors.As(err, &re) || re.Field != "key" {
		t.Errorf("a key that cannot sign: %v", err)
	}
	if _, err = SelfSign(&Request{Emails: []string{"a@example.org"}, Key: x.(*ecdh.PrivateKey).Public()}, other, now); !errors.As(err, &re) || re.Field != "key" {
		t.Errorf("another's key: %v", err)
	}
	if _, err = SelfSign(&Request{}, other, now); !errors.As(err, &re) || re.Field != "address" {
		t.Errorf("no address: %v", err)
	}
}
