//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	ck "github.com/miekg/pkcs11"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/smime"
)

// Keys for brainpool curves on a token sign and open, with OpenSSL as the other
// side.
func TestSoftHSMBrainpool(t *testing.T) {
	s := newSoftToken(t)
	curves := []string{"brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "brainpoolP256t1"}
	for i, name := range curves {
		keyFile, certFile := filepath.Join(s.dir, name+".key"), filepath.Join(s.dir, name+".crt")
		run(t, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+name, "-out", keyFile)
		run(t, "openssl", "req", "-x509", "-new", "-key", keyFile, "-subj", "/CN=Alice", "-out", certFile, "-days", "30",
			"-addext", "subjectAltName=email:alice@example.test", "-addext", "extendedKeyUsage=emailProtection",
			"-addext", "keyUsage=digitalSignature,keyAgreement")
		run(t, "softhsm2-util", "--import", keyFile, "--token", softLabel, "--pin", softPIN, "--label", name, "--id", fmt.Sprintf("%02x", 0x20+i))
	}
	withModule(t, func(ctx *ck.Ctx, session ck.SessionHandle) { allowDerivation(t, ctx, session, 3+len(curves)) })
	token := s.open(t, softURI, fixedPIN(softPIN))
	for _, name := range curves {
		t.Run(name, func(t *testing.T) { s.brainpool(t, token, name) })
	}
}

func (s *softToken) brainpool(t *testing.T, token *Token, name string) {
	t.Helper()
	keyFile, certFile := filepath.Join(s.dir, name+".key"), filepath.Join(s.dir, name+".crt")
	pem, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := keystore.ParseCertificates(name, pem)
	if err != nil {
		t.Fatal(err)
	}
	private, err := token.Key(certs[0])
	if err != nil {
		t.Fatal(err)
	}
	k, ok := private.(*BrainpoolKey)
	if !ok {
		t.Fatalf("a %T", private)
	}
	checkBrainpool(t, k, keyFile)
	id := keystore.Identity{Certificate: certs[0], Key: k}
	var signed, secret bytes.Buffer
	w, err := smime.Sign(&signed, []cms.Signer{signerOf(t, id, false)}, nil)
	writeMail(t, w, err)
	if content := s.opensslCMS(t, signed.Bytes(), "-verify", "-noverify", "-certfile", certFile); !bytes.Contains(content, []byte("At noon?")) {
		t.Errorf("openssl read %q", content)
	}
	w, err = smime.Encrypt(&secret, []cms.Recipient{&cms.CertificateRecipient{Certificate: certs[0]}},
		&smime.EncryptOptions{Cipher: cms.AES256CBC, Signers: []cms.Signer{signerOf(t, s.identity(t, softKinds[1]), false)}})
	writeMail(t, w, err)
	s.readMail(t, name, secret.Bytes(), identityOf(id))
	if inner := s.opensslCMS(t, secret.Bytes(), "-decrypt", "-recip", certFile, "-inkey", keyFile); !bytes.Contains(inner, []byte("signed")) {
		t.Errorf("openssl read %.200q", inner)
	}
}

func checkBrainpool(t *testing.T, k *BrainpoolKey, keyFile string) {
	t.Helper()
	data, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	inFile, err := keystore.ParsePrivateKey(keyFile, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	own := inFile.(*ecdsa.PrivateKey)
	digest := sha256.Sum256([]byte("message"))
	signature, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(&own.PublicKey, digest[:], signature) {
		t.Errorf("signing: %v", err)
	}
	peer, err := ecdsa.GenerateKey(k.public.Curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := alg.BrainpoolBytes(&peer.PublicKey)
	want, err := alg.BrainpoolECDH(own, point)
	if err != nil {
		t.Fatal(err)
	}
	if got, agreeErr := k.AgreeWith(point); agreeErr != nil || !bytes.Equal(got, want) {
		t.Errorf("agreement: %x, %v", got, agreeErr)
	}
	off := bytes.Clone(point)
	off[len(off)-1] ^= 1
	for _, bad := range [][]byte{nil, {0}, point[1:], off} {
		if _, err = k.AgreeWith(bad); !errors.Is(err, errPeer) {
			t.Errorf("agreement with %x: %v", bad, err)
		}
	}
}
