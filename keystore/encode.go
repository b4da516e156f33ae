package keystore

import (
	"crypto/x509"
	"errors"

	//lint:ignore SA1019 old keys are DSA keys (RFC 4134)
	"crypto/dsa"

	"software.sslmate.com/src/go-pkcs12"
)

// EncodePKCS12 returns id, with its Chain, as a PKCS#12 file (RFC 7292) with
// AES-256-CBC, PBKDF2 with HMAC-SHA-256 and a MAC with SHA-256, which current
// software reads. The password is UTF-8; it may not be empty. Certificates that
// crypto/x509 cannot parse and DSA keys are an [*UnsupportedError]; a key that
// is not that of the certificate is [ErrNoMatch].
func EncodePKCS12(id Identity, password string) ([]byte, error) {
	switch {
	case password == "":
		return nil, ErrPassphraseNeeded
	case id.Certificate == nil:
		return nil, ErrNoCertificate
	case id.Key == nil:
		return nil, ErrNoKey
	case !belongs(id.Key, id.Certificate):
		return nil, ErrNoMatch
	}
	if _, ok := id.Key.(*dsa.PrivateKey); ok {
		return nil, &UnsupportedError{What: "writing a DSA key"}
	}
	chain := make([]*x509.Certificate, 0, len(id.Chain))
	for _, c := range id.Chain {
		if c.X509 == nil {
			return nil, errors.Join(&UnsupportedError{What: "writing the certificate of " + c.Subject()}, c.X509Err)
		}
		chain = append(chain, c.X509)
	}
	if id.Certificate.X509 == nil {
		return nil, errors.Join(&UnsupportedError{What: "writing the certificate"}, id.Certificate.X509Err)
	}
	return pkcs12.Modern.Encode(id.Key, id.Certificate.X509, chain, password)
}
