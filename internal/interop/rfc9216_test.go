package interop

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// lamps reads a file of RFC 9216.
func lamps(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "rfc9216", name))
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skipf("the vectors are missing: %v", err)
	}
	return data
}

func lampsPair(t *testing.T, who, use string) keystore.Identity {
	t.Helper()
	cert, key := who+"."+use+".crt", who+"."+use+".key"
	ids, err := keystore.LoadPair(cert, lamps(t, cert), key, lamps(t, key), nil)
	if err != nil || len(ids) != 1 {
		t.Fatalf("%s: %d identities, %v", cert, len(ids), err)
	}
	return ids[0]
}

func lampsCerts(t *testing.T, name string) []*pki.Certificate {
	t.Helper()
	certs, err := keystore.ParseCertificates(name, lamps(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// TestRFC9216 sends mail from Alice to Bob and from Carlos to Dana, signed and
// encrypted, and reads it with either root: the one of the signer's hierarchy,
// and the other one by way of the cross certificate.
func TestRFC9216(t *testing.T) {
	read := 0
	for _, pair := range []struct{ from, to, root, cross, otherRoot string }{
		{"alice", "bob", "ca.rsa.crt", "ca.rsa.cross.crt", "ca.25519.crt"},
		{"carlos", "dana", "ca.25519.crt", "ca.25519.cross.crt", "ca.rsa.crt"},
	} {
		sender := lampsPair(t, pair.from, "sign")
		signer := cms.Signer{Certificate: sender.Certificate, Key: sender.Key.(crypto.Signer), Chain: lampsCerts(t, pair.cross)}
		to := []cms.Recipient{&cms.CertificateRecipient{Certificate: lampsPair(t, pair.to, "encrypt").Certificate}}
		reader := identitiesOf(t, pair.to)
		for _, root := range []string{pair.root, pair.otherRoot} {
			trust := cms.TrustPool(pki.NewRoots(lampsCerts(t, root)))
			for _, opaque := range []bool{false, true} {
				for _, cipher := range []cms.Cipher{cms.AES128GCM, cms.AES256GCM, cms.AES128CBC, cms.ChaCha20Poly1305Encryption} {
					checkLAMPS(t, pair.from, pair.to, signer, to, reader, trust, opaque, cipher)
					read++
				}
			}
		}
	}
	if read != 32 {
		t.Errorf("%d messages were read", read)
	}
}

// identitiesOf returns a person's identities from the PKCS #12 file and from
// PEM files, which have to be the same.
func identitiesOf(t *testing.T, who string) []cms.Identity {
	t.Helper()
	ids, err := keystore.Load(who+".p12", lamps(t, who+".p12"), func(string) ([]byte, error) { return []byte(who), nil })
	if err != nil || len(ids) != 2 {
		t.Fatalf("%s.p12: %d identities, %v", who, len(ids), err)
	}
	var out []cms.Identity
	for _, id := range ids {
		same := false
		for _, use := range []string{"sign", "encrypt"} {
			same = same || bytes.Equal(id.Certificate.Raw, lampsPair(t, who, use).Certificate.Raw)
		}
		if !same {
			t.Errorf("%s.p12 has a certificate that is in no file", who)
		}
		out = append(out, &cms.CertificateIdentity{Certificate: id.Certificate, Key: id.Key})
	}
	return out
}

func checkLAMPS(t *testing.T, from, to string, signer cms.Signer, rcpt []cms.Recipient, reader []cms.Identity, trust cms.Trust, opaque bool, cipher cms.Cipher) {
	t.Helper()
	message := fmt.Sprintf("From: %s@smime.example\r\nTo: %s@smime.example\r\nSubject: a test\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nHello.\r\n", from, to)
	var sealed bytes.Buffer
	w, err := smime.Encrypt(&sealed, rcpt, &smime.EncryptOptions{Cipher: cipher, Signers: []cms.Signer{signer}, Sign: &smime.SignOptions{Opaque: opaque}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(w, message); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := smime.Read(&sealed, &smime.ReadOptions{Identities: reader, Trust: trust})
	if err != nil {
		t.Fatalf("%s to %s, %s, opaque %t: %v", from, to, cipher, opaque, err)
	}
	defer m.Close()
	if m.Status != "encrypted+signed/verified" || !m.Trusted || len(m.Layers) != 2 {
		t.Errorf("%s to %s: %s, %d layers", from, to, m.Status, len(m.Layers))
	}
	var opened strings.Builder
	if _, err = m.WriteTo(&opened); err != nil || !strings.HasSuffix(opened.String(), "\r\n\r\nHello.\r\n") {
		t.Errorf("%s to %s: %q, %v", from, to, opened.String(), err)
	}
}
