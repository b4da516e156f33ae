package peers

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// An issuer is a certification authority of the tests.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (ca *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

var serial int64

// template returns what all certificates of the tests have in common.
func template(name string) *x509.Certificate {
	serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(0x1000 + serial),
		Subject:      pkix.Name{Organization: []string{"Peers"}, CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
	}
}

// newIssuer makes an authority below parent, or a root if parent is nil.
func newIssuer(name string, parent *issuer) (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	signer, above := crypto.Signer(key), t
	if parent != nil {
		signer, above = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, t, above, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &issuer{cert, key}, err
}

// newKey makes a private key of a kind that keyTypes names.
func newKey(kind string) (any, crypto.PublicKey, error) {
	curves := map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()}
	switch kind {
	case "rsa":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, nil, err
		}
		return key, key.Public(), nil
	case "ed25519":
		public, key, err := ed25519.GenerateKey(rand.Reader)
		return key, public, err
	case "x25519":
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		return key, key.PublicKey(), nil
	default:
		key, err := ecdsa.GenerateKey(curves[kind], rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		return key, key.Public(), nil
	}
}

// issue makes a person with a new key.
func (ca *issuer) issue(name, kind string) (Person, error) {
	key, public, err := newKey(kind)
	if err != nil {
		return Person{}, err
	}
	p := Person{Name: name, Email: name + "@peers.example"}
	t := template(name)
	t.EmailAddresses = []string{p.Email}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	t.SubjectKeyId = fmt.Appendf(nil, "key of %s", name)
	switch kind {
	case "rsa":
		t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	case "ed25519":
		t.KeyUsage = x509.KeyUsageDigitalSignature
	case "x25519":
		t.KeyUsage = x509.KeyUsageKeyAgreement
	default:
		t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	}
	der, err := ca.sign(t, public)
	if err != nil {
		return Person{}, err
	}
	p.CertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	p.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return p, err
}

// sign issues a certificate. For X25519, which crypto/x509 does not issue, it
// makes a certificate of an Ed25519 key with the same octets, changes the
// algorithm, which has an identifier of the same length, and signs that.
func (ca *issuer) sign(t *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	key, ok := public.(*ecdh.PublicKey)
	if !ok {
		return x509.CreateCertificate(rand.Reader, t, ca.cert, public, ca.key)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, ed25519.PublicKey(key.Bytes()), ca.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	tbs := bytes.Replace(cert.RawTBSCertificate, []byte{6, 3, 0x2B, 0x65, 0x70}, []byte{6, 3, 0x2B, 0x65, 0x6E}, 1)
	sum := sha256.Sum256(tbs)
	signature, err := ca.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	der = bytes.Replace(der, cert.RawTBSCertificate, tbs, 1)
	return bytes.Replace(der, cert.Signature, signature, 1), nil
}

// newTestEnv makes the people of the tests: one for every type of key, named
// after it, "other" with a second RSA key, "sub" below an intermediate
// authority and "stranger" below a root that nobody trusts.
func newTestEnv(dir string) (*Env, error) {
	env := &Env{Dir: dir}
	root, err := newIssuer("Root", nil)
	if err != nil {
		return nil, err
	}
	env.Roots = [][]byte{root.pem()}
	middle, err := newIssuer("Middle", root)
	if err != nil {
		return nil, err
	}
	strange, err := newIssuer("Strange", nil)
	if err != nil {
		return nil, err
	}
	for _, who := range []struct {
		ca         *issuer
		name, kind string
	}{
		{root, "rsa", "rsa"}, {root, "other", "rsa"},
		{root, "p256", "p256"}, {root, "p384", "p384"}, {root, "p521", "p521"},
		{root, "ed25519", "ed25519"}, {root, "x25519", "x25519"},
		{middle, "sub", "rsa"}, {strange, "stranger", "rsa"},
	} {
		var p Person
		if p, err = who.ca.issue(who.name, who.kind); err != nil {
			return nil, fmt.Errorf("%s: %w", who.name, err)
		}
		if who.ca == middle {
			p.CertPEM = append(p.CertPEM, middle.pem()...)
		}
		env.People = append(env.People, p)
	}
	return env, nil
}
