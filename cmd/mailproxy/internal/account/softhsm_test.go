//go:build pkcs11 && cgo

package account

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ck "github.com/miekg/pkcs11"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/pkcs11"
	"github.com/postseal/postseal/smime"
)

const (
	softModule = "/usr/lib/softhsm/libsofthsm2.so"
	softPIN    = "2718"
)

// softToken makes a token of softhsm2 that has Tina's RSA key and certificate.
func softToken(t *testing.T, p *testpki.Person) {
	t.Helper()
	if _, err := os.Stat(softModule); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("softhsm2 is not installed")
		}
		t.Skip("softhsm2 is not installed")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "tokens"), 0o700),
		os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	files, err := p.WriteFiles(dir, "tina")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", "Tina", "--so-pin", "31415926", "--pin", softPIN},
		{"--import", files.Key, "--token", "Tina", "--pin", softPIN, "--label", "tina", "--id", "01"},
	} {
		if out, runErr := exec.Command("softhsm2-util", args...).CombinedOutput(); runErr != nil {
			t.Fatalf("%v\n%s", runErr, out)
		}
	}
	writeCertificate(t, p)
}

// writeCertificate does what softhsm2-util cannot.
func writeCertificate(t *testing.T, p *testpki.Person) {
	t.Helper()
	m := ck.New(softModule)
	if m == nil {
		t.Fatal("the module cannot be loaded")
	}
	defer m.Destroy()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(m.Initialize())
	defer func() { must(m.Finalize()) }()
	slots, err := m.GetSlotList(true)
	must(err)
	for _, slot := range slots {
		info, infoErr := m.GetTokenInfo(slot)
		must(infoErr)
		if strings.TrimSpace(info.Label) != "Tina" {
			continue
		}
		session, openErr := m.OpenSession(slot, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
		must(openErr)
		must(m.Login(session, ck.CKU_USER, softPIN))
		_, err = m.CreateObject(session, []*ck.Attribute{
			ck.NewAttribute(ck.CKA_CLASS, ck.CKO_CERTIFICATE), ck.NewAttribute(ck.CKA_CERTIFICATE_TYPE, ck.CKC_X_509), ck.NewAttribute(ck.CKA_TOKEN, true),
			ck.NewAttribute(ck.CKA_PRIVATE, false), ck.NewAttribute(ck.CKA_LABEL, "tina"), ck.NewAttribute(ck.CKA_ID, []byte{1}),
			ck.NewAttribute(ck.CKA_SUBJECT, p.Cert.RawSubject), ck.NewAttribute(ck.CKA_VALUE, p.Cert.Raw),
		})
		must(err)
		must(m.CloseSession(session))
	}
}

// TestSoftHSM signs and opens with a key that is on a token.
func TestSoftHSM(t *testing.T) {
	root, err := testpki.NewCA("Token Root")
	if err != nil {
		t.Fatal(err)
	}
	p, err := root.Issue(testpki.Profile{Name: "Tina", Email: "tina@example.org", Key: testpki.RSA2048})
	if err != nil {
		t.Fatal(err)
	}
	softToken(t, p)
	c := testConfig(t)
	c.PKCS11.Module = softModule
	c.Limits.Message = 1 << 20
	c.Trust.Authorities = []string{write(t, "root.pem", root.Cert.Raw)}
	c.Accounts = []config.Account{{Login: "tina", Addresses: []string{"tina@example.org"}, Identities: []string{"pkcs11:token=Tina"}, Passphrase: write(t, "pin", []byte(softPIN+"\n"))}}
	s := openSet(t, c)
	if problems := s.Check(t.Context()); len(problems) != 0 {
		t.Fatalf("%v", problems)
	}
	user := s.Connection(quiet)
	defer user.Close()
	signer, err := user.Keys("tina").Signer(t.Context(), "tina@example.org")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := smime.Encrypt(&out, []cms.Recipient{cms.NewRecipient(p.Cert)}, &smime.EncryptOptions{Signers: []cms.Signer{*signer}})
	if err == nil {
		_, err = io.WriteString(w, "From: tina@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n\r\nhello\r\n")
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if m := user.read(t, "tina", out.String()); m.Status != smime.StatusEncryptedSignedVerified {
		t.Errorf("%s", m.Status)
	}
	if secret, secretErr := user.Secret("tina"); secret != nil || secretErr != nil {
		t.Errorf("a secret of a key that does not leave its token: %v", secretErr)
	}
	c.Accounts[0].Passphrase = write(t, "pin", []byte("0000"))
	if _, err = Open(t.Context(), c); !errors.Is(err, keystore.ErrPassphrase) {
		t.Errorf("a wrong PIN: %v", err)
	}
	c.Accounts[0].Identities = []string{"pkcs11:token=Nobody"}
	if _, err = Open(t.Context(), c); !errors.Is(err, pkcs11.ErrNoToken) {
		t.Errorf("no token: %v", err)
	}
}
