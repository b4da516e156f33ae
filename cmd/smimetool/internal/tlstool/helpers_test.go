package tlstool

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	cryptotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An authority issues certificates for tests.
type authority struct {
	cert   *x509.Certificate
	key    crypto.Signer
	serial int64
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = sign(t, template, template, a.key, a.key)
	return a
}

func sign(t *testing.T, template, parent *x509.Certificate, key, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue issues a certificate for mx.example; change may be nil.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) *cryptotls.Certificate {
	t.Helper()
	a.serial++
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + a.serial), Subject: pkix.Name{CommonName: "mx.example"}, DNSNames: []string{"mx.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	leaf := sign(t, template, a.cert, key, a.key)
	return &cryptotls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// serveTLS serves until the test ends: what comes is thrown away.
func serveTLS(t *testing.T, protocol tls.Protocol, startTLS bool, config *cryptotls.Config) *Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handshake func(context.Context, net.Conn) (net.Conn, error)
	if protocol != 0 {
		mode := tls.Implicit
		if startTLS {
			mode = tls.StartTLS
		}
		layer, serverErr := tls.NewServer(&tls.ServerConfig{Protocol: protocol, Mode: mode, TLS: config})
		if serverErr != nil {
			t.Fatal(serverErr)
		}
		handshake = func(ctx context.Context, c net.Conn) (net.Conn, error) {
			session, handshakeErr := layer.Handshake(ctx, c)
			if handshakeErr != nil {
				return nil, handshakeErr
			}
			return session.Conn, nil
		}
	} else {
		handshake = func(ctx context.Context, c net.Conn) (net.Conn, error) {
			conn := cryptotls.Server(c, config)
			return conn, conn.HandshakeContext(ctx)
		}
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, acceptErr := ln.Accept()
			if acceptErr != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				if conn, handshakeErr := handshake(context.Background(), c); handshakeErr == nil {
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		group.Wait()
	})
	return targetAt(t, ln.Addr(), protocol, startTLS)
}

func targetAt(t *testing.T, addr net.Addr, protocol tls.Protocol, startTLS bool) *Target {
	t.Helper()
	target, err := ParseTarget(addr.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	target.Protocol, target.StartTLS, target.ServerName = protocol, startTLS, "mx.example"
	return target
}
