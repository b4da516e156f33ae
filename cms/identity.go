package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"sync/atomic"

	"github.com/postseal/postseal/pki"
)

// A CertificateIdentity is the holder of a certificate and its private key. It
// implements [Identity].
type CertificateIdentity struct {
	// Certificate is how the messages name the recipient.
	Certificate *pki.Certificate

	// Key is a crypto.Decrypter for RSA; an *ecdsa.PrivateKey, *ecdh.PrivateKey
	// or other ecdh.KeyExchanger for EC and X25519; a crypto.Decapsulator, such
	// as *mlkem.DecapsulationKey768, for ML-KEM; or what package keystore reads
	// of X448 and of EC on curves that crypto/ecdh does not have. A key elsewhere,
	// for such a curve, has a method AgreeWith(public []byte) ([]byte, error) that
	// takes the sender's point and returns the x coordinate of the shared one.
	//
	// Its errors are [ErrDecrypt] for the reader of a message, unless they have
	// a method KeyUnavailable() bool that returns true: such an error has to be
	// independent of the message, as that of a token that was taken out is.
	Key crypto.PrivateKey

	agreement atomic.Pointer[agreement] // of Key
}

// An agreement is the Diffie-Hellman side of an ECDSA key, which takes a
// multiplication on the curve to make.
type agreement struct {
	of    *ecdsa.PrivateKey
	agree exchange
}

// exchanger is that of Key. It makes an agreement once.
func (c *CertificateIdentity) exchanger() (exchange, error) {
	k, ok := c.Key.(*ecdsa.PrivateKey)
	if !ok {
		return exchanger(c.Key)
	}
	if known := c.agreement.Load(); known != nil && known.of == k {
		return known.agree, nil
	}
	inner, err := k.ECDH()
	if err != nil { // of a curve that crypto/ecdh does not have
		return exchanger(c.Key)
	}
	made := &agreement{k, exchangeWith(inner)}
	c.agreement.Store(made)
	return made.agree, nil
}

// unavailable reports whether an error of a private key is about the key, and
// says nothing of what was to be opened with it.
func unavailable(err error) bool {
	if err == nil {
		return false
	}
	var e interface{ KeyUnavailable() bool }
	return errors.As(err, &e) && e.KeyUnavailable()
}

// NewIdentity returns the holder of a certificate and its private key.
func NewIdentity(cert *x509.Certificate, key crypto.PrivateKey) *CertificateIdentity {
	return &CertificateIdentity{Certificate: pki.FromX509(cert), Key: key}
}

// Unwrap implements Identity. The RecipientInfo is chosen by its identifier
// (RFC 5652, Section 6.2), not by trying.
func (c *CertificateIdentity) Unwrap(infos []RecipientInfo, cekLen int) ([]byte, error) {
	if c.Certificate == nil || c.Key == nil {
		return nil, usage("an identity has no certificate or no key")
	}
	for _, info := range infos {
		switch info := info.(type) {
		case *KeyTransRecipientInfo:
			if !info.ID.Matches(c.Certificate) {
				continue
			}
			key, ok := c.Key.(crypto.Decrypter)
			if !ok {
				continue
			}
			return info.open(key, cekLen)
		case *KeyAgreeRecipientInfo:
			for _, k := range info.Keys {
				if !k.ID.Matches(c.Certificate) {
					continue
				}
				key, err := c.exchanger()
				if err != nil {
					continue
				}
				return info.open(key, k.EncryptedKey)
			}
		case *KEMRecipientInfo:
			if !info.ID.Matches(c.Certificate) {
				continue
			}
			key, err := info.decapsulator(c.Key)
			if err == ErrNoMatch {
				continue
			}
			if err != nil {
				return nil, err
			}
			return info.open(key)
		}
	}
	return nil, ErrNoMatch
}
