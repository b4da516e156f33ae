package main

import (
	"bytes"
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
	"path/filepath"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
)

// selfMadeYears is how long a certificate of our own is valid. Nobody can tell
// clients of another one, so it lasts.
const selfMadeYears = 10

// listenerTLS returns the TLS configuration of a listener, nil for plaintext.
// name is that of this host.
func listenerTLS(l *config.Listener, name string) (*cryptotls.Config, error) {
	if l.Mode == tls.InsecurePlaintext {
		return nil, nil
	}
	certFile, keyFile := l.Certificate, l.Key
	if l.SelfMade != "" {
		certFile, keyFile = l.SelfMade, l.SelfMade
		if err := makeCertificate(l.SelfMade, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	pair, err := cryptotls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		if errors.As(err, new(*fs.PathError)) {
			return nil, err
		}
		return nil, &certificateError{certFile, err}
	}
	if pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		return nil, &certificateError{certFile, errors.New("the certificate has expired")}
	}
	protocol := tls.SMTP
	if l.Protocol == config.IMAP4 {
		protocol = tls.IMAP
	}
	return &cryptotls.Config{Certificates: []cryptotls.Certificate{pair}, MinVersion: cryptotls.VersionTLS12, NextProtos: alpn(protocol)}, nil
}

// alpn returns the identifiers of a protocol (RFC 7301); SMTP has none that is
// registered.
func alpn(p tls.Protocol) []string {
	if id := p.ALPN(); id != "" {
		return []string{id}
	}
	return nil
}

// makeCertificate makes a file with a key and a certificate for this host that is
// signed by itself. The error is fs.ErrExist when there is one.
func makeCertificate(file, name string) error {
	if _, err := os.Stat(file); err == nil {
		return &fs.PathError{Op: "create", Path: file, Err: fs.ErrExist}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(selfMadeYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name != "localhost" {
		c.DNSNames = append(c.DNSNames, "localhost")
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, block := range []pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}} {
		if err = pem.Encode(&b, &block); err != nil {
			return err
		}
	}
	return writeNew(file, b.Bytes())
}

// writeNew writes a file for its owner alone, whole or not at all. The error is
// fs.ErrExist when there is one of that name.
func writeNew(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".mailproxy-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // the file has its name by then, or is not wanted
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) { // unlike renaming, this replaces nothing
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	return err
}

// roots returns the authorities that are trusted for an upstream; nil are those
// of the system.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, &certificateError{file, errors.New("there is no certificate in PEM in it")}
	}
	return pool, nil
}
