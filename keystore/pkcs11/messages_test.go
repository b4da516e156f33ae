//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/smime"
)

const mail = "From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: From a token\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nAt noon?\r\n"

// signerOf is the signer of an identity, as front ends make it.
func signerOf(t *testing.T, id keystore.Identity, pss bool) cms.Signer {
	t.Helper()
	key, ok := id.Key.(crypto.Signer)
	if !ok {
		t.Fatalf("%T does not sign", id.Key)
	}
	return cms.Signer{Certificate: id.Certificate, Key: key, Chain: id.Chain, PSS: pss}
}

func identityOf(id keystore.Identity) *cms.CertificateIdentity {
	return &cms.CertificateIdentity{Certificate: id.Certificate, Key: id.Key}
}

// writeMail composes the message into w.
func writeMail(t *testing.T, w io.WriteCloser, err error) {
	t.Helper()
	if err == nil {
		_, err = io.WriteString(w, mail)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readMail opens a message that has to be signed by alice.
func (s *softToken) readMail(t *testing.T, what string, message []byte, ids ...cms.Identity) {
	t.Helper()
	m, err := smime.Read(bytes.NewReader(message), &smime.ReadOptions{Trust: cms.TrustRoots(s.ca.Cert), Identities: ids})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer func() { _ = m.Close() }()
	body, err := io.ReadAll(m.Body())
	if err != nil || !m.Signed || !bytes.Contains(body, []byte("At noon?")) || m.Encrypted != (len(ids) > 0) {
		t.Errorf("%s: signed %v, encrypted %v, %q, %v", what, m.Signed, m.Encrypted, body, err)
	}
}

// opensslCMS runs openssl cms in a folder of its own, with a message, and
// returns what it wrote.
func (s *softToken) opensslCMS(t *testing.T, message []byte, args ...string) []byte {
	t.Helper()
	in, out := filepath.Join(s.dir, "in.eml"), filepath.Join(s.dir, "out.eml")
	if err := os.WriteFile(in, message, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "openssl", append([]string{"cms", "-in", in, "-out", out}, args...)...)
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (s *softToken) path(kind testpki.KeyType, ending string) string {
	return filepath.Join(s.dir, kind.String()+ending)
}

// Messages signed with keys on the token, read here and by OpenSSL.
func TestSoftHSMSignsMail(t *testing.T) {
	s := newSoftToken(t)
	for _, c := range []struct {
		kind testpki.KeyType
		pss  bool
	}{{testpki.RSA2048, false}, {testpki.RSA2048, true}, {testpki.P256, false}, {testpki.P384, false}, {testpki.P521, false}, {testpki.Ed25519, false}} {
		id := s.identity(t, c.kind)
		for _, opaque := range []bool{false, true} {
			what := c.kind.String()
			if c.pss {
				what += " PSS"
			}
			if opaque {
				what += " opaque"
			}
			t.Run(what, func(t *testing.T) {
				var out bytes.Buffer
				w, err := smime.Sign(&out, []cms.Signer{signerOf(t, id, c.pss)}, &smime.SignOptions{Opaque: opaque})
				writeMail(t, w, err)
				s.readMail(t, what, out.Bytes())
				if c.kind == testpki.Ed25519 {
					return // OpenSSL 3.0 does not verify Ed25519 with signed attributes
				}
				content := s.opensslCMS(t, out.Bytes(), "-verify", "-CAfile", s.path(c.kind, ".ca.crt"), "-purpose", "smimesign")
				if !bytes.Contains(content, []byte("At noon?")) {
					t.Errorf("openssl read %q", content)
				}
			})
		}
	}
}

// Messages encrypted here and by OpenSSL are opened with keys on the token.
// OpenSSL opens the same ones with the keys in files.
func TestSoftHSMOpensMail(t *testing.T) {
	s := newSoftToken(t)
	sender := s.identity(t, testpki.P256)
	for _, c := range []struct {
		kind    testpki.KeyType
		what    string
		oaep    *cms.OAEPOptions
		openssl []string
	}{
		{testpki.RSA2048, "v1.5", nil, nil},
		{testpki.RSA2048, "OAEP SHA-1", nil, []string{"-keyopt", "rsa_padding_mode:oaep"}},
		{testpki.RSA2048, "OAEP SHA-256", &cms.OAEPOptions{Hash: crypto.SHA256}, []string{"-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"}},
		{testpki.RSA2048, "OAEP SHA-512", &cms.OAEPOptions{Hash: crypto.SHA512},
			[]string{"-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha512", "-keyopt", "rsa_mgf1_md:sha1"}},
		{testpki.P256, "ECDH", nil, []string{"-keyopt", "ecdh_kdf_md:sha256"}},
		{testpki.P384, "ECDH", nil, []string{"-keyopt", "ecdh_kdf_md:sha384"}},
		{testpki.P521, "ECDH", nil, []string{"-keyopt", "ecdh_kdf_md:sha512"}},
	} {
		t.Run(c.kind.String()+" "+c.what, func(t *testing.T) {
			id := s.identity(t, c.kind)
			to := &cms.CertificateRecipient{Certificate: id.Certificate, OAEP: c.oaep}
			for _, cipher := range []cms.Cipher{cms.AES256CBC, cms.AES128GCM} {
				if c.what == "OAEP SHA-1" {
					break // never written here
				}
				var out bytes.Buffer
				w, err := smime.Encrypt(&out, []cms.Recipient{to}, &smime.EncryptOptions{Cipher: cipher, Signers: []cms.Signer{signerOf(t, sender, false)}})
				writeMail(t, w, err)
				s.readMail(t, c.what+", written here", out.Bytes(), identityOf(id))
				if cipher != cms.AES256CBC {
					continue // OpenSSL 3.0 has the attributes of AuthEnvelopedData wrong
				}
				inner := s.opensslCMS(t, out.Bytes(), "-decrypt", "-recip", s.path(c.kind, ".crt"), "-inkey", s.path(c.kind, ".key"))
				if !bytes.Contains(inner, []byte("multipart/signed")) && !bytes.Contains(inner, []byte("pkcs7-mime")) {
					t.Errorf("openssl read %.200q", inner)
				}
			}
			signed := s.opensslCMS(t, []byte(mail), "-sign", "-signer", s.path(testpki.RSA2048, ".crt"), "-inkey", s.path(testpki.RSA2048, ".key"),
				"-from", "alice@example.test", "-to", "bob@example.test", "-subject", "From OpenSSL")
			args := append([]string{"-encrypt", "-aes-256-cbc", "-from", "alice@example.test", "-recip", s.path(c.kind, ".crt")}, c.openssl...)
			message := s.opensslCMS(t, signed, args...)
			s.readMail(t, c.what+", of OpenSSL", message, identityOf(id))
		})
	}
}

// A key that cannot be used is told, and is no failed decryption.
func TestSoftHSMKeyAway(t *testing.T) {
	s := newSoftToken(t)
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256} {
		id := s.identity(t, kind)
		var out bytes.Buffer
		w, err := smime.Encrypt(&out, []cms.Recipient{&cms.CertificateRecipient{Certificate: id.Certificate}}, nil)
		writeMail(t, w, err)
		token, err := Open(strings.Replace(softURI, "?", ";object="+kind.String()+"?", 1), &Options{PIN: fixedPIN(softPIN)})
		if err != nil {
			t.Fatal(err)
		}
		closed := one(t, token)
		if err = token.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = smime.Read(bytes.NewReader(out.Bytes()), &smime.ReadOptions{Trust: cms.TrustRoots(s.ca.Cert), Identities: []cms.Identity{identityOf(closed)}})
		if !errors.Is(err, ErrClosed) || errors.Is(err, cms.ErrDecrypt) {
			t.Errorf("%v: %v", kind, err)
		}
		if _, err = smime.Sign(io.Discard, []cms.Signer{signerOf(t, closed, false)}, nil); err != nil {
			t.Errorf("%v: %v before anything is signed", kind, err)
		}
	}
}
