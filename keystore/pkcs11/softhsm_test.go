//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	ck "github.com/miekg/pkcs11"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
)

const (
	softPIN   = "2718"
	softLabel = "Postseal's token"
	softURI   = "pkcs11:token=Postseal's%20token?module-name=softhsm2"
)

// missing skips a test, or lets it fail where everything has to be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// run runs a program and returns its output.
func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// A softToken is a token of softhsm2 with the keys of people, whose CKA_ID are
// 1, 2 and so on, and whose labels are the names of their kinds of keys.
type softToken struct {
	dir    string
	ca     *testpki.CA
	people map[testpki.KeyType]*testpki.Person
}

// softKinds are the keys that softhsm2 imports from PKCS#8.
var softKinds = []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.P384, testpki.P521, testpki.Ed25519}

// softModule is the path of the module.
func softModule(t testing.TB) string {
	t.Helper()
	u, err := ParseURI(softURI)
	if err != nil {
		t.Fatal(err)
	}
	path, err := u.modulePath("", nil)
	if err != nil {
		missing(t, "the PKCS #11 module of softhsm2")
	}
	return path
}

// newSoftToken sets up a token in a folder of its own. There is one such folder
// at a time.
func newSoftToken(t *testing.T) *softToken {
	t.Helper()
	softModule(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	run(t, "softhsm2-util", "--init-token", "--free", "--label", softLabel, "--so-pin", "31415926", "--pin", softPIN)
	ca, err := testpki.NewCA("Token Root")
	if err != nil {
		t.Fatal(err)
	}
	s := &softToken{dir: dir, ca: ca, people: make(map[testpki.KeyType]*testpki.Person)}
	for i, kind := range softKinds {
		p, err := ca.Issue(testpki.Profile{Name: kind.String(), Email: "alice@example.test", Key: kind})
		if err != nil {
			t.Fatal(err)
		}
		s.people[kind] = p
		files, err := p.WriteFiles(dir, kind.String())
		if err != nil {
			t.Fatal(err)
		}
		run(t, "softhsm2-util", "--import", files.Key, "--token", softLabel, "--pin", softPIN, "--label", kind.String(), "--id", fmt.Sprintf("%02x", i+1))
	}
	s.writeCertificates(t)
	return s
}

// withModule gives a test the module as it is, with a session that is logged in.
func withModule(t *testing.T, f func(ctx *ck.Ctx, session ck.SessionHandle)) {
	t.Helper()
	m, err := acquire(softModule(t), loadModule)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if releaseErr := m.release(); releaseErr != nil {
			t.Error(releaseErr)
		}
	}()
	ctx := m.api.(*adapter).ctx
	found, err := m.tokens(&URI{path: []attribute{{AttrToken, softLabel}}})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	session, err := ctx.OpenSession(found[0].slot, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
	if err == nil {
		err = ctx.Login(session, ck.CKU_USER, softPIN)
	}
	if err != nil {
		t.Fatal(err)
	}
	f(ctx, session)
	if err = ctx.CloseSession(session); err != nil {
		t.Error(err)
	}
}

// writeCertificates writes the people's certificates and that of their CA to
// the token, which softhsm2-util cannot.
func (s *softToken) writeCertificates(t *testing.T) {
	t.Helper()
	withModule(t, func(ctx *ck.Ctx, session ck.SessionHandle) {
		write := func(label string, id []byte, cert *x509.Certificate) {
			_, err := ctx.CreateObject(session, []*ck.Attribute{
				ck.NewAttribute(ck.CKA_CLASS, ck.CKO_CERTIFICATE),
				ck.NewAttribute(ck.CKA_CERTIFICATE_TYPE, ck.CKC_X_509),
				ck.NewAttribute(ck.CKA_TOKEN, true),
				ck.NewAttribute(ck.CKA_PRIVATE, false),
				ck.NewAttribute(ck.CKA_LABEL, label),
				ck.NewAttribute(ck.CKA_ID, id),
				ck.NewAttribute(ck.CKA_SUBJECT, cert.RawSubject),
				ck.NewAttribute(ck.CKA_VALUE, cert.Raw),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i, kind := range softKinds {
			write(kind.String(), []byte{byte(i + 1)}, s.people[kind].Cert)
		}
		write("ca", nil, s.ca.Cert)
		allowDerivation(t, ctx, session, 3)
	})
}

// allowDerivation lets keys agree, which softhsm2-util leaves off: without
// CKA_DERIVE the token answers CKR_KEY_FUNCTION_NOT_PERMITTED.
func allowDerivation(t *testing.T, ctx *ck.Ctx, session ck.SessionHandle, want int) {
	t.Helper()
	err := ctx.FindObjectsInit(session, []*ck.Attribute{ck.NewAttribute(ck.CKA_CLASS, ck.CKO_PRIVATE_KEY), ck.NewAttribute(ck.CKA_KEY_TYPE, ck.CKK_EC)})
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := ctx.FindObjects(session, 100)
	if err = errors.Join(err, ctx.FindObjectsFinal(session)); err != nil || len(keys) != want {
		t.Fatal(len(keys), err)
	}
	for _, k := range keys {
		if err = ctx.SetAttributeValue(session, k, []*ck.Attribute{ck.NewAttribute(ck.CKA_DERIVE, true)}); err != nil {
			t.Fatal(err)
		}
	}
}

// open opens the token. It is closed when the test ends.
func (s *softToken) open(t *testing.T, uri string, pin keystore.Passphrase) *Token {
	t.Helper()
	token, err := Open(uri, &Options{PIN: pin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := token.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return token
}

// identity returns the one identity of a kind.
func (s *softToken) identity(t *testing.T, kind testpki.KeyType) keystore.Identity {
	t.Helper()
	return one(t, s.open(t, strings.Replace(softURI, "?", ";object="+kind.String()+"?", 1), fixedPIN(softPIN)))
}

// Every key of a real token does all that keys of its kind do.
func TestSoftHSMKeys(t *testing.T) {
	s := newSoftToken(t)
	ids, err := s.open(t, softURI, fixedPIN(softPIN)).Identities()
	if err != nil || len(ids) != len(softKinds) {
		t.Fatalf("%d identities, %v", len(ids), err)
	}
	for _, kind := range softKinds {
		t.Run(kind.String(), func(t *testing.T) {
			id := s.identity(t, kind)
			if !bytes.Equal(id.Certificate.Raw, s.people[kind].Cert.Raw) || len(id.Chain) != 1 {
				t.Errorf("another certificate, or %d of issuers", len(id.Chain))
			}
			checkKey(t, id.Key, s.people[kind])
		})
	}
}

// What a URI and the options name.
func TestSoftHSMURI(t *testing.T) {
	s := newSoftToken(t)
	pinFile := filepath.Join(s.dir, "pin")
	if err := os.WriteFile(pinFile, []byte(softPIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	infos, err := List("pkcs11:?module-name=softhsm2", nil)
	if err != nil || len(infos) != 1 || infos[0].Label != softLabel || !infos[0].LoginRequired || infos[0].Library.Manufacturer != "SoftHSM" {
		t.Fatalf("%+v, %v", infos, err)
	}
	own := infos[0].URI().String()
	for uri, want := range map[string]int{
		own + "?module-name=softhsm2&pin-source=" + pinFile:                                                         len(softKinds),
		"pkcs11:id=%02;type=private;token=Postseal's%20token?module-name=softhsm2&pin-source=file:" + pinFile:       1,
		"pkcs11:serial=" + infos[0].Serial + ";object=P384?pin-source=" + pinFile + "&module-path=" + softModule(t): 1,
	} {
		ids, idErr := s.open(t, uri, nil).Identities()
		if idErr != nil || len(ids) != want {
			t.Errorf("%s: %d, %v", uri, len(ids), idErr)
		}
	}
	for uri, want := range map[string]error{
		"pkcs11:token=other?module-name=softhsm2":           ErrNoToken,
		"pkcs11:?module-name=no-such-module":                ErrNoModule,
		"pkcs11:?module-path=/etc/hostname":                 ErrNoModule,
		"pkcs11:?module-name=softhsm2&pin-value=" + softPIN: ErrPINInURI,
	} {
		_, err = Open(uri, nil)
		name, _, _ := strings.Cut(uri, "?")
		wantFileErr(t, uri, err, name, want)
	}
	_, err = s.open(t, "pkcs11:object=nobody?module-name=softhsm2&pin-source="+pinFile, nil).Identities()
	wantFileErr(t, "another object", err, "pkcs11:object=nobody", keystore.ErrNoMatch)
}

func TestSoftHSMWrongPIN(t *testing.T) {
	s := newSoftToken(t)
	for range 12 { // more often than the token would take
		_, err := s.open(t, softURI, fixedPIN("0000")).Identities()
		wantFileErr(t, "wrong PIN", err, "pkcs11:token=Postseal's%20token", keystore.ErrPassphrase)
	}
	_, err := s.open(t, softURI, fixedPIN("1")).Identities() // has not the length of a PIN
	wantFileErr(t, "short PIN", err, "pkcs11:token=Postseal's%20token", keystore.ErrPassphrase)
	token := s.open(t, softURI, fixedPIN(softPIN))
	if _, err = token.Identities(); err != nil {
		t.Fatal(err)
	}
	_, err = s.open(t, softURI, fixedPIN("0001")).Identities()
	wantFileErr(t, "wrong PIN while another part is logged in", err, "pkcs11:token=Postseal's%20token", keystore.ErrPassphrase)
}

// A token that was deleted is an error about the key.
func TestSoftHSMDeletedKey(t *testing.T) {
	s := newSoftToken(t)
	key := s.identity(t, testpki.P256).Key.(*ECKey)
	run(t, "softhsm2-util", "--delete-token", "--token", softLabel)
	if _, err := key.Sign(nil, make([]byte, 32), crypto.SHA256); !errors.As(err, new(*KeyError)) {
		t.Errorf("a token that was deleted: %v", err)
	}
}

// noRaw is a module that does not tell of raw RSA, as many do not have it.
type noRaw struct{ cryptoki }

func (n noRaw) MechanismFlags(slot, mechanism uint) (uint, error) {
	if mechanism == ckmRSAX509 {
		return 0, rvMechanismInvalid
	}
	return n.cryptoki.MechanismFlags(slot, mechanism)
}

// oaepCases are the parameters of OAEP that differ in what tokens make of them.
var oaepCases = []*rsa.OAEPOptions{
	{Hash: crypto.SHA1, MGFHash: crypto.SHA1},
	{Hash: crypto.SHA1, MGFHash: crypto.SHA1, Label: []byte("label")},
	{Hash: crypto.SHA1, MGFHash: crypto.SHA256},
	{Hash: crypto.SHA256, MGFHash: crypto.SHA256},
	{Hash: crypto.SHA256, MGFHash: crypto.SHA1},
	{Hash: crypto.SHA384, MGFHash: crypto.SHA384},
	{Hash: crypto.SHA512, MGFHash: crypto.SHA512},
}

// tryOAEP decrypts a message. What was decrypted wrongly fails the test.
func tryOAEP(t *testing.T, k *RSAKey, opts *rsa.OAEPOptions) error {
	t.Helper()
	c, err := rsa.EncryptOAEPWithOptions(rand.Reader, k.public, []byte("secret"), opts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Decrypt(nil, c, opts)
	if err == nil && string(got) != "secret" {
		t.Errorf("OAEP with %v: %q", opts.Hash, got)
	}
	return err
}

// What softhsm2 itself makes of RSAES-OAEP: up to 2.6 it takes SHA-1 with
// MGF1-SHA1 and no label, and nothing else; a label it does not look at. By way of the raw operation, which
// it has, all works: TestSoftHSMKeys.
func TestSoftHSMNativeOAEP(t *testing.T) {
	newSoftToken(t)
	m, err := acquire("native/"+softModule(t), func(string) (cryptoki, error) {
		api, loadErr := loadModule(softModule(t))
		return noRaw{api}, loadErr
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseURI("pkcs11:object=RSA2048")
	if err != nil {
		t.Fatal(err)
	}
	token, err := newToken(m, u, fixedPIN(softPIN), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if closeErr := token.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	}()
	k := one(t, token).Key.(*RSAKey)
	checkV15(t, k)
	v := token.Info().Library.Version
	for _, c := range oaepCases {
		err := tryOAEP(t, k, c)
		t.Logf("softhsm2 %d.%d, CKM_RSA_PKCS_OAEP with %v, MGF1 with %v and label %q: %v", v.Major, v.Minor, c.Hash, c.MGFHash, c.Label, result(err))
		switch {
		case c.Hash == crypto.SHA1 && c.MGFHash == crypto.SHA1 && len(c.Label) == 0:
			if err != nil {
				t.Errorf("%v: %v", c.Hash, err)
			}
		case len(c.Label) > 0 && errors.Is(err, rsa.ErrDecryption): // it does not look at the label
		case err == nil && (v.Major > 2 || v.Minor > 6):
		case !errors.As(err, new(*KeyError)):
			t.Errorf("%v, %v, %q: %v; the documentation says that it is refused", c.Hash, c.MGFHash, c.Label, err)
		}
	}
}

func result(err error) string {
	if err == nil {
		return "ok"
	}
	return "refused: " + err.Error()
}

// Many goroutines use keys of one token.
func TestSoftHSMConcurrent(t *testing.T) {
	s := newSoftToken(t)
	ids, err := s.open(t, softURI, fixedPIN(softPIN)).Identities()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				for _, id := range ids {
					var keyErr error
					switch k := id.Key.(type) {
					case *RSAKey:
						_, keyErr = k.Sign(nil, make([]byte, 32), crypto.SHA256)
					case *ECKey:
						if _, keyErr = k.Sign(nil, make([]byte, 32), crypto.SHA256); keyErr == nil && k.Curve() == ecdh.P256() {
							_, keyErr = k.ECDH(peer.PublicKey())
						}
					case *Ed25519Key:
						_, keyErr = k.Sign(nil, []byte("message"), crypto.Hash(0))
					}
					if keyErr != nil {
						t.Errorf("%T: %v", id.Key, keyErr)
					}
				}
			}
		})
	}
	wg.Wait()
}
