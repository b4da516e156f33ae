package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	cryptotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/postseal/postseal/pki/ca"
)

// An issuer makes server certificates for the names that clients ask for, with the
// key of a local authority, for clients that were led here on their way to servers
// of these names. It is safe for concurrent use.
type issuer struct {
	authority *x509.Certificate
	key       crypto.Signer
	leaf      *ecdsa.PrivateKey // of all certificates, since the process began

	mu   sync.Mutex
	made map[string]*cryptotls.Certificate
}

const (
	// issuedDays is how long an issued certificate is valid. It is made anew
	// when half of that is over, and when the program starts.
	issuedDays = 14
	// maxIssued bounds the certificates that are kept.
	maxIssued = 1000
)

// Errors of an issuer.
var (
	errNotAuthority = errors.New("the certificate is not one of an authority that may issue others")
	errServerName   = errors.New("the client asks for a name that no server can have")
)

// newIssuer reads the certificate and the key of an authority, in PEM.
func newIssuer(file string) (*issuer, error) {
	pair, err := loadPair(file)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.BasicConstraintsValid || !pair.Leaf.IsCA || pair.Leaf.KeyUsage != 0 && pair.Leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, &certificateError{file, errNotAuthority}
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &issuer{authority: pair.Leaf, key: key, leaf: leaf, made: make(map[string]*cryptotls.Certificate)}, nil
}

// loadPair reads a certificate that has not expired, and its key, of one file.
func loadPair(file string) (*cryptotls.Certificate, error) {
	pair, err := cryptotls.LoadX509KeyPair(file, file)
	if err != nil {
		if errors.As(err, new(*fs.PathError)) {
			return nil, err
		}
		return nil, &certificateError{file, err}
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return nil, &certificateError{file, errors.New("the certificate has expired")}
	}
	return &pair, nil
}

// certificate returns one for a name, or an address.
func (i *issuer) certificate(name string, now time.Time) (*cryptotls.Certificate, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.made[name]; c != nil && now.Before(c.Leaf.NotAfter.AddDate(0, 0, -issuedDays/2)) {
		return c, nil
	}
	c, err := i.issue(name, now)
	if err != nil {
		return nil, err
	}
	if len(i.made) >= maxIssued {
		clear(i.made) // names are few, where nobody plays with them
	}
	i.made[name] = c
	return c, nil
}

func (i *issuer) issue(name string, now time.Time) (*cryptotls.Certificate, error) {
	t := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"mailproxy"}}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, issuedDays),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if t.NotAfter.After(i.authority.NotAfter) {
		t.NotAfter = i.authority.NotAfter
	}
	switch ip := net.ParseIP(name); {
	case ip != nil:
		t.IPAddresses = []net.IP{ip}
	case len(name) > 0 && len(name) <= 253 && !strings.ContainsAny(name, "* \x00"):
		t.DNSNames = []string{name}
	default:
		return nil, errServerName
	}
	var err error
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	raw, err := x509.CreateCertificate(rand.Reader, t, i.authority, i.leaf.Public(), i.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &cryptotls.Certificate{Certificate: [][]byte{raw, i.authority.Raw}, PrivateKey: i.leaf, Leaf: leaf}, nil
}

// makeAuthority makes a file with the certificate and the key of an authority, for
// clients to trust. The error is fs.ErrExist when there is one.
func makeAuthority(file, name string, now time.Time) error {
	if _, err := os.Stat(file); err == nil {
		return &fs.PathError{Op: "create", Path: file, Err: fs.ErrExist}
	}
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		return err
	}
	root, err := ca.NewRoot(ca.Subject{Name: "mailproxy at " + name}, key, now)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, block := range []pem.Block{{Type: "CERTIFICATE", Bytes: root.Certificate.Raw}, {Type: "PRIVATE KEY", Bytes: secret}} {
		if err = pem.Encode(&b, &block); err != nil {
			return err
		}
	}
	return writeNew(file, b.Bytes())
}
