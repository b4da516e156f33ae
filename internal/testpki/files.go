package testpki

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
)

// CertPEM returns certificates as PEM.
func CertPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// KeyPEM returns the key as PEM, in a PKCS#8 "PRIVATE KEY" block without
// encryption.
func (p *Person) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Files are the names of what [Person.WriteFiles] wrote.
type Files struct {
	Cert string // the certificate
	Key  string // the key
	CA   string // the root, as what to trust
	Full string // certificate, issuers without the root, and key in one file
}

// WriteFiles writes the person's PEM files into dir, as base.crt, base.key,
// base.ca.crt and base.pem. Keys are readable for their owner alone.
func (p *Person) WriteFiles(dir, base string) (Files, error) {
	path := filepath.Join(dir, base)
	f := Files{Cert: path + ".crt", Key: path + ".key", CA: path + ".ca.crt", Full: path + ".pem"}
	key, err := p.KeyPEM()
	if err != nil {
		return Files{}, err
	}
	root := len(p.Chain) - 1
	full := append(CertPEM(p.Cert), CertPEM(p.Chain[:root]...)...)
	for _, w := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{f.Cert, CertPEM(p.Cert), 0o644},
		{f.Key, key, 0o600},
		{f.CA, CertPEM(p.Chain[root]), 0o644},
		{f.Full, append(full, key...), 0o600},
	} {
		if err = os.WriteFile(w.name, w.data, w.mode); err != nil {
			return Files{}, err
		}
	}
	return f, nil
}
