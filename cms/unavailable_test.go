package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"errors"
	"io"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// errAway is as the error of a token that was taken out.
type errAway struct{}

func (errAway) Error() string        { return "away" }
func (errAway) KeyUnavailable() bool { return true }

type awayRSA struct {
	crypto.Decrypter
	err error
}

func (a awayRSA) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) { return nil, a.err }

type awayEC struct {
	ecdh.KeyExchanger
	err error
}

func (a awayEC) ECDH(*ecdh.PublicKey) ([]byte, error) { return nil, a.err }

// A key that cannot be used is no failure of decryption; other errors of keys
// are, and do not show.
func TestKeyUnavailable(t *testing.T) {
	rsaPerson, ecPerson, other := person(t, testpki.RSA2048), person(t, testpki.P256), person(t, testpki.P384)
	ec, err := ecPerson.Key.(*ecdsa.PrivateKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	oaep := NewRecipient(rsaPerson.Cert)
	oaep.OAEP = &OAEPOptions{Hash: crypto.SHA256}
	for what, c := range map[string]struct {
		to  *CertificateRecipient
		key func(err error) crypto.PrivateKey
	}{
		"v1.5": {NewRecipient(rsaPerson.Cert), func(err error) crypto.PrivateKey { return awayRSA{rsaPerson.Key.(crypto.Decrypter), err} }},
		"OAEP": {oaep, func(err error) crypto.PrivateKey { return awayRSA{rsaPerson.Key.(crypto.Decrypter), err} }},
		"ECDH": {NewRecipient(ecPerson.Cert), func(err error) crypto.PrivateKey { return awayEC{ec, err} }},
	} {
		var out bytes.Buffer
		w, err := Encrypt(&out, []Recipient{c.to, NewRecipient(other.Cert)}, nil)
		write(t, w, err, []byte("secret"))
		for keyErr, want := range map[error]error{errAway{}: errAway{}, io.ErrNoProgress: ErrDecrypt} {
			id := &CertificateIdentity{Certificate: c.to.Certificate, Key: c.key(keyErr)}
			if err = decryptErr(out.Bytes(), id); !errors.Is(err, want) {
				t.Errorf("%s with %v: %v", what, keyErr, err)
			}
		}
		// Another identity opens it all the same.
		id := &CertificateIdentity{Certificate: c.to.Certificate, Key: c.key(errAway{})}
		if err = decryptErr(out.Bytes(), id, NewIdentity(other.Cert, other.Key)); err != nil {
			t.Errorf("%s and another key: %v", what, err)
		}
	}
}

func decryptErr(message []byte, ids ...Identity) error {
	r, err := NewReader(bytes.NewReader(message), nil)
	if err != nil {
		return err
	}
	d, err := r.Decrypt(ids, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, d)
	return errors.Join(err, d.Close())
}
