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
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/pki/fetch"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/certs"
)

// selfMadeYears is how long a certificate of our own is valid. Nobody can tell
// clients of another one, so it lasts.
const selfMadeYears = 10

// An identity is how a listener shows clients that it is the right one. close has
// to be called.
type identity struct {
	base *cryptotls.Config
	name string // of this host
	// manager has the certificate of base, and reads it again when it changes.
	manager *certs.Manager
	// issuer makes certificates for the names that clients ask for; nil when the
	// certificate is that of manager.
	issuer *issuer
	watch  bool // the name that a client asks for has to be known
}

// newIdentity reads what a listener has, and makes what it is to make itself; it
// is nil for plaintext. name is that of this host.
func newIdentity(l *config.Listener, name string, log *slog.Logger) (*identity, error) {
	if l.Mode == tls.InsecurePlaintext {
		return nil, nil
	}
	protocol := tls.SMTP
	if l.Protocol == config.IMAP4 {
		protocol = tls.IMAP
	}
	base := tls.Intermediate.Config()
	base.NextProtos = alpn(protocol)
	id := &identity{name: name, watch: l.Upstream.Find == config.FindDestination, base: base}
	if l.Authority != "" {
		if err := makeAuthority(l.Authority, name, time.Now()); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		var err error
		id.issuer, err = newIssuer(l.Authority)
		return id, err
	}
	opts := &certs.Options{Files: []certs.File{{Certificate: l.Certificate, Key: l.Key}}, Report: func(e certs.Event) { report(log, e) }}
	if l.SelfMade != "" {
		opts.Files[0].Certificate = l.SelfMade
		if err := makeCertificate(l.SelfMade, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	if l.Staple {
		opts.OCSP = fetch.New(nil)
	}
	var err error
	if id.manager, err = certs.Open(opts); err != nil {
		return nil, err
	}
	id.base = id.manager.Config(base)
	return id, nil
}

// report logs what happens to a certificate.
func report(log *slog.Logger, e certs.Event) {
	log = log.With("file", e.File, "names", e.Names, "until", e.Until)
	switch {
	case e.Err != nil:
		log.Warn("certificate: "+e.Kind.String(), "error", e.Err)
	case e.Kind == certs.Revoked:
		log.Error("certificate: " + e.Kind.String())
	default:
		log.Debug("certificate: " + e.Kind.String())
	}
}

// close ends what watches the certificate.
func (id *identity) close() {
	if id != nil && id.manager != nil {
		id.manager.Close()
	}
}

// config returns the configuration for the connection of one client; it is nil for
// plaintext.
func (id *identity) config(c *upstream.Client) *cryptotls.Config {
	switch {
	case id == nil:
		return nil
	case id.issuer == nil && !id.watch:
		return id.base
	}
	own := id.base.Clone()
	own.GetConfigForClient = func(hello *cryptotls.ClientHelloInfo) (*cryptotls.Config, error) {
		c.SetName(hello.ServerName)
		return nil, nil
	}
	if id.issuer != nil {
		own.GetCertificate = func(hello *cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error) {
			name := hello.ServerName
			if name == "" {
				name = id.name
				if c.Destination.IsValid() {
					name = c.Destination.Addr().String()
				}
			}
			return id.issuer.certificate(name, time.Now())
		}
	}
	return own
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
