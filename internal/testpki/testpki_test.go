package testpki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func TestIssueEveryKey(t *testing.T) {
	root, err := NewCA("Root")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := root.Intermediate("Intermediate")
	if err != nil {
		t.Fatal(err)
	}
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca.Root())
	inter.AddCert(ca.Cert)
	for kind := RSA2048; kind <= X25519; kind++ {
		var p, again *Person
		if p, err = ca.Issue(Profile{Name: "Alice", Key: kind}); err != nil {
			t.Fatalf("%v: %v", kind, err)
		}
		if _, err = p.Cert.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
		}); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if len(p.Chain) != 2 || p.Chain[1] != root.Cert {
			t.Errorf("%v: the chain has %d certificates", kind, len(p.Chain))
		}
		if again, err = ca.Issue(Profile{Name: "Alice", Key: kind}); err != nil {
			t.Fatal(err)
		}
		if k, ok := again.Key.(interface{ Equal(crypto.PrivateKey) bool }); !ok || !k.Equal(p.Key) {
			t.Errorf("%v: the key was not kept", kind)
		}
	}
	if _, err = ca.Issue(Profile{Key: 99}); err == nil {
		t.Error("a key of type 99 was made")
	}
	if _, err = NewCAWithKey("X", X25519); err == nil {
		t.Error("a CA has a key that cannot sign")
	}
}

func TestWriteFiles(t *testing.T) {
	ca, err := NewCAWithKey("Root", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(Profile{Name: "Bob", Email: "bøb@example.test", Key: P256})
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.WriteFiles(t.TempDir(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{f.Cert, f.Key}, {f.Full, f.Full}} {
		if _, err = tls.LoadX509KeyPair(pair[0], pair[1]); err != nil {
			t.Error(err)
		}
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Error("no root in the file")
	}
}
