package certs_test

import (
	"bytes"
	cryptotls "crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/tls/certs"
)

// TestExposed tells of keys that everybody may read.
func TestExposed(t *testing.T) {
	p := host(t, newCA(t, "Root"), testpki.P256, nil, "a.test")
	files, err := p.WriteFiles(t.TempDir(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		var seen events
		if err = os.Chmod(files.Key, mode); err != nil {
			t.Fatal(err)
		}
		open(t, &certs.Options{Files: []certs.File{{Certificate: files.Cert, Key: files.Key}}, Report: seen.report})
		if got := seen.take(certs.Exposed); len(got) != want || want == 1 && (got[0].File != files.Key || !errors.Is(got[0].Err, certs.ErrExposed)) {
			t.Errorf("%v: %v", mode, got)
		}
	}
}

// TestPKCS12 reads files with passphrases, and again when they change.
func TestPKCS12(t *testing.T) {
	root := newCA(t, "Root")
	ca, err := root.Intermediate("Issuer")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "cert.p12")
	put := func(p *testpki.Person, passphrase string) {
		data, encodeErr := pkcs12.Modern.Encode(p.Key, p.Cert, p.Chain, passphrase)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		write(t, name, data)
	}
	first, second := host(t, ca, testpki.P256, nil, "a.test"), host(t, ca, testpki.P256, nil, "b.test")
	put(first, "secret")
	m := open(t, &certs.Options{Interval: -1, Files: []certs.File{{
		Certificate: name, Passphrase: func(string) ([]byte, error) { return []byte("secret"), nil },
	}}})
	if leaf, _ := ask(t, m, ""); !leaf.Equal(first.Cert) {
		t.Errorf("%v", leaf.DNSNames)
	}
	put(second, "another")
	if err = m.Reload(); !errors.Is(err, keystore.ErrPassphrase) {
		t.Errorf("%v", err)
	}
	if leaf, _ := ask(t, m, ""); !leaf.Equal(first.Cert) {
		t.Errorf("%v", leaf.DNSNames)
	}
	put(second, "secret")
	if err = m.Reload(); err != nil {
		t.Fatal(err)
	}
	_, state, _, err := shake(t, m.Config(nil), &cryptotls.Config{InsecureSkipVerify: true})
	if err != nil || !state.PeerCertificates[0].Equal(second.Cert) || len(state.PeerCertificates) != 2 {
		t.Errorf("%v, %d certificates", err, len(state.PeerCertificates))
	}
}

// TestTicketSecrets has two managers with the same secrets resume each other's
// sessions, before and after the secret changes.
func TestTicketSecrets(t *testing.T) {
	p := host(t, newCA(t, "Root"), testpki.P256, nil, "a.test")
	dir := t.TempDir()
	current, before := filepath.Join(dir, "current"), filepath.Join(dir, "before")
	write(t, current, bytes.Repeat([]byte("k"), 48))
	write(t, before, bytes.Repeat([]byte("b"), 48))
	opts := &certs.Options{Files: []certs.File{{Certificate: save(t, p)}}, TicketSecrets: []string{current, before}, Interval: -1}
	a, b := open(t, opts), open(t, opts)
	aConfig, bConfig := a.Config(nil), b.Config(nil)
	cfg := &cryptotls.Config{ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: cryptotls.NewLRUClientSessionCache(2)}
	resumed := func(server *cryptotls.Config) bool {
		_, c, _, err := shake(t, server, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c.DidResume
	}
	if resumed(aConfig) || !resumed(bConfig) || !resumed(aConfig) {
		t.Error("not resumed by the other server")
	}
	// The secret becomes the one before.
	write(t, before, bytes.Repeat([]byte("k"), 48))
	write(t, current, bytes.Repeat([]byte("n"), 48))
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	if !resumed(bConfig) {
		t.Error("a ticket of the secret before is refused")
	}
	if resumed(aConfig) {
		t.Error("a ticket of a secret that is not known is taken")
	}
	write(t, current, []byte("short"))
	var load *certs.LoadError
	if err := a.Reload(); !errors.As(err, &load) {
		t.Errorf("%v", err)
	}
	if _, err := certs.Open(opts); !errors.As(err, &load) || load.File != current {
		t.Errorf("%v", err)
	}
}
