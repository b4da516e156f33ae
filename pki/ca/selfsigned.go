package ca

import (
	"crypto"
	"time"

	"github.com/postseal/postseal/pki"
)

// SelfSign makes a certificate for a person's mail that no authority vouches
// for: it is signed with its own key, which has to be able to sign, and issues
// no others. Those who trust it do so by hand. Request.Key may be nil; the error
// is a [*RequestError] when the request breaks a rule.
func SelfSign(r *Request, key crypto.PrivateKey, now time.Time) (*pki.Certificate, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refuse("key", "cannot sign, so that it needs a certificate of an authority")
	}
	own := *r
	if own.Key == nil {
		own.Key = signer.Public()
	}
	if same, comparable := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !comparable || !same.Equal(own.Key) {
		return nil, refuse("key", "is not the one to sign with")
	}
	t, err := own.template(now)
	if err != nil {
		return nil, err
	}
	if isEmpty(t.subject) {
		// Its issuer is itself, and RFC 5280, Section 4.1.2.4 has that named.
		return nil, refuse("name", "is needed where the address is too long to be one")
	}
	return t.make(nil, signer)
}
