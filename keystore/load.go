package keystore

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"

	//lint:ignore SA1019 old keys are DSA keys (RFC 4134)
	"crypto/dsa"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/pki"
)

// An Identity is a private key with a certificate to it.
type Identity struct {
	Certificate *pki.Certificate
	// Chain has the other certificates of the file that no key of the file
	// belongs to: usually those of the issuers, in the order of the file. It is
	// shared by the identities of a file.
	Chain []*pki.Certificate
	// Key is of a type that [ParsePrivateKey] tells: a crypto.Signer for RSA,
	// ECDSA, Ed25519, Ed448, ML-DSA and SLH-DSA, also a crypto.Decrypter for RSA,
	// a crypto.Decapsulator for ML-KEM, an *ecdh.PrivateKey for X25519, a key that
	// package cms agrees with for X448, or a *dsa.PrivateKey.
	Key crypto.PrivateKey
}

// Load reads the identities in one file: PEM with certificates and keys in any
// order, or PKCS#12 in DER or BER. Keys and certificates are matched by public
// key; several certificates to one key make several identities. At least one
// identity is returned when the error is nil. Keys that no certificate belongs
// to, and those of a type that is not supported, are passed over when there
// are others. The name is for errors and questions. The error is a
// [*FileError], which wraps [ErrNoKey], [ErrNoCertificate] or [ErrNoMatch] when
// something is missing.
//
// The passphrase of a PKCS#12 file, and of each encrypted key in a PEM file, is
// asked for once; what it is for is name, or "name, key 2" for a second key.
func Load(name string, data []byte, pass Passphrase) ([]Identity, error) {
	return load(name, data, pass, newWork())
}

func load(name string, data []byte, pass Passphrase, w *work) ([]Identity, error) {
	found, what, err := readFile(name, data, pass, w)
	if err != nil {
		return nil, named(name, what, err)
	}
	ids, err := found.identities()
	return ids, named(name, what, err)
}

// LoadPair reads identities from a file with certificates, as
// [ParseCertificates] does, and one with a private key, as [ParsePrivateKey]
// does. The names are for errors and questions.
func LoadPair(certName string, cert []byte, keyName string, key []byte, pass Passphrase) ([]Identity, error) {
	certs, err := ParseCertificates(certName, cert)
	if err != nil {
		return nil, err
	}
	private, err := ParsePrivateKey(keyName, key, pass)
	if err != nil {
		return nil, err
	}
	found := contents{keys: []foundKey{{key: private}}}
	for _, c := range certs {
		found.certs = append(found.certs, foundCert{cert: c})
	}
	ids, err := found.identities()
	return ids, named(keyName, "with certificates from "+certName, err)
}

// readFile reads what a file holds, and tells what kind of file it is.
func readFile(name string, data []byte, pass Passphrase, w *work) (*contents, string, error) {
	if isPEM(data) {
		found, err := readPEM(name, data, pass, w)
		return found, "PEM", err
	}
	object, err := ber.Normalize(data, maxDepth)
	if err != nil {
		if certs, certErr := parseCertDER(data); certErr == nil && len(certs) > 0 {
			return nil, "certificates", ErrNoKey
		}
		return nil, "expected PEM or PKCS#12", ErrFormat
	}
	switch what(object) {
	case kindPKCS12:
		// Certificates refer to what they are read from, which is the caller's.
		found, err := parsePKCS12(bytes.Clone(object), &asker{name: name, ask: pass}, w)
		return found, "PKCS#12", err
	case kindKey, kindEncryptedKey:
		return nil, "a private key alone", ErrNoCertificate
	case kindCertificate, kindPKCS7:
		return nil, "certificates", ErrNoKey
	}
	return nil, "expected PEM or PKCS#12", ErrFormat
}

// readPEM reads certificates and keys from PEM blocks.
func readPEM(name string, data []byte, pass Passphrase, w *work) (*contents, error) {
	blocks, err := pemBlocks(data)
	if err != nil {
		return nil, err
	}
	found := new(contents)
	for _, b := range blocks {
		if isKeyBlock(b) {
			object := name
			if n := len(found.keys); n > 0 {
				object = fmt.Sprintf("%s, key %d", name, n+1)
			}
			key, err := parseKeyBlock(b, &asker{name: object, ask: pass}, w)
			if err != nil && !isAboutKey(err) {
				return nil, err
			}
			found.keys = append(found.keys, foundKey{key: key, err: err})
			continue
		}
		certs, err := parseCertBlock(b)
		if err != nil {
			return nil, err
		}
		for _, c := range certs {
			found.certs = append(found.certs, foundCert{cert: c})
		}
		if found.full() {
			return nil, &LimitError{"objects in a file"}
		}
	}
	return found, nil
}

// isAboutKey reports whether an error is about one key and not about the file.
func isAboutKey(err error) bool { return errors.As(err, new(*UnsupportedError)) }

// identities matches keys with certificates.
func (c *contents) identities() ([]Identity, error) {
	var ids []Identity
	var keyErr error
	owned := make([]bool, len(c.certs))
	for _, k := range c.keys {
		if k.err != nil {
			keyErr = k.err
			continue
		}
		for _, i := range c.certsFor(k) {
			owned[i] = true
			ids = append(ids, Identity{Certificate: c.certs[i].cert, Key: k.key})
		}
	}
	if len(ids) == 0 {
		switch {
		case len(c.keys) == 0:
			return nil, ErrNoKey
		case keyErr != nil:
			return nil, keyErr
		case len(c.certs) == 0:
			return nil, ErrNoCertificate
		}
		return nil, ErrNoMatch
	}
	var chain []*pki.Certificate
	for i, f := range c.certs {
		if !owned[i] {
			chain = append(chain, f.cert)
		}
	}
	for i := range ids {
		ids[i].Chain = chain
	}
	return ids, nil
}

// certsFor returns the indices of the certificates to a key, those with its
// localKeyID (RFC 2985, Section 5.5.2) first. The public key decides.
func (c *contents) certsFor(k foundKey) []int {
	var first, others []int
	for i, f := range c.certs {
		switch {
		case !Belongs(k.key, f.cert):
		case k.localID != nil && bytes.Equal(k.localID, f.localID):
			first = append(first, i)
		default:
			others = append(others, i)
		}
	}
	return append(first, others...)
}

// Belongs reports whether a private key is that of a certificate.
func Belongs(key crypto.PrivateKey, cert *pki.Certificate) bool {
	if k, ok := key.(*dsa.PrivateKey); ok {
		public, ok := cert.PublicKey.(*dsa.PublicKey)
		if !ok || k.Y.Cmp(public.Y) != 0 {
			return false
		}
		// RFC 3279, Section 2.3.2: a certificate may inherit the parameters.
		return public.P == nil || k.P.Cmp(public.P) == 0 && k.Q.Cmp(public.Q) == 0 && k.G.Cmp(public.G) == 0
	}
	if k, ok := key.(crypto.Decapsulator); ok {
		return encapsulates(k, cert.PublicKey)
	}
	holder, ok := key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return false
	}
	public, ok := holder.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && cert.PublicKey != nil && public.Equal(cert.PublicKey)
}
