package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
)

var allKinds = []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.P384, testpki.P521, testpki.Ed25519, testpki.X25519}

// one returns the only identity of a token.
func one(t *testing.T, token *Token) keystore.Identity {
	t.Helper()
	ids, err := token.Identities()
	if err != nil || len(ids) != 1 {
		t.Fatalf("%d identities, %v", len(ids), err)
	}
	return ids[0]
}

// fakeWith is a module with one token with one identity.
func fakeWith(t *testing.T, kind testpki.KeyType, always bool) (*fake, *testpki.Person) {
	t.Helper()
	f := newFake()
	token := f.insert(5, "card")
	p := issue(t, kind, kind.String())
	token.addCert("mail", []byte{1}, p.Cert)
	token.addKey(t, "mail", []byte{1}, p.Key, always)
	return f, p
}

func TestKeys(t *testing.T) {
	for _, kind := range allKinds {
		t.Run(kind.String(), func(t *testing.T) {
			f, p := fakeWith(t, kind, false)
			token := openFake(t, f, "pkcs11:token=card", fixedPIN(fakePIN))
			id := one(t, token)
			if !bytes.Equal(id.Certificate.Raw, p.Cert.Raw) {
				t.Error("another certificate")
			}
			checkKey(t, id.Key, p)
			key, err := token.Key(id.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := key.(interface{ Public() crypto.PublicKey }); !ok || fmt.Sprintf("%T", key) != fmt.Sprintf("%T", id.Key) {
				t.Errorf("the key of the certificate is a %T", key)
			}
		})
	}
}

// The same with tokens that lack things.
func TestKeysOfPoorTokens(t *testing.T) {
	for what, set := range map[string]func(f *fake){
		"no raw RSA": func(f *fake) { f.raw = false },
		"no padding": func(f *fake) {
			f.lacks[ckmRSAPKCSOAEP], f.lacks[ckmRSAPKCSPSS] = true, true
		},
		"no points":    func(f *fake) { f.noPublic = true },
		"octet points": func(f *fake) { f.octetPoint = true },
	} {
		for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.P521} {
			t.Run(what+" "+kind.String(), func(t *testing.T) {
				f, p := fakeWith(t, kind, false)
				set(f)
				id := one(t, openFake(t, f, "pkcs11:", fixedPIN(fakePIN)))
				switch k := id.Key.(type) {
				case *RSAKey:
					checkRSASigner(t, k)
					checkV15(t, k)
				default:
					checkKey(t, k, p)
				}
			})
		}
	}
}

// A token without the raw operation does OAEP as far as it can.
func TestNativeOAEP(t *testing.T) {
	f, _ := fakeWith(t, testpki.RSA2048, false)
	f.raw = false
	k := one(t, openFake(t, f, "pkcs11:", fixedPIN(fakePIN))).Key.(*RSAKey)
	opts := &rsa.OAEPOptions{Hash: crypto.SHA1}
	c, err := rsa.EncryptOAEPWithOptions(rand.Reader, k.public, []byte("secret"), opts)
	if err != nil {
		t.Fatal(err)
	}
	if got, decryptErr := k.Decrypt(nil, c, opts); decryptErr != nil || string(got) != "secret" {
		t.Errorf("OAEP with SHA-1: %q, %v", got, decryptErr)
	}
	c[9] ^= 1
	if _, err = k.Decrypt(nil, c, opts); !errors.Is(err, rsa.ErrDecryption) {
		t.Errorf("damaged: %v", err)
	}
	checkOAEP(t, k, crypto.SHA256, func(err error) bool {
		var module *ModuleError
		return errors.As(err, &module) && rv(module.Code) == rvArgumentsBad && errors.As(err, new(*KeyError))
	})
}

func TestFaultySignature(t *testing.T) {
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.Ed25519} {
		f, _ := fakeWith(t, kind, false)
		token := openFake(t, f, "pkcs11:", fixedPIN(fakePIN))
		k := one(t, token).Key.(crypto.Signer)
		f.fault = true
		opts := crypto.SignerOpts(crypto.SHA256)
		if kind == testpki.Ed25519 {
			opts = crypto.Hash(0)
		}
		if sig, err := k.Sign(rand.Reader, make([]byte, 32), opts); !errors.Is(err, errSignature) || sig != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}
}

// wantFileErr checks that err is about a URI and wraps want.
func wantFileErr(t *testing.T, what string, err error, name string, want error) {
	t.Helper()
	var fileErr *keystore.FileError
	if !errors.As(err, &fileErr) || fileErr.Name != name || !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v about %s", what, err, want, name)
	}
}

func TestWrongPIN(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	wrong := "hunter2"
	asked := 0
	pin := func(what string) ([]byte, error) {
		asked++
		if what != `token "card"` {
			t.Errorf("asked for the PIN of %s", what)
		}
		return []byte(wrong), nil
	}
	token := openFake(t, f, "pkcs11:token=card", pin)
	if asked != 0 {
		t.Error("Open asked for the PIN")
	}
	if certs, err := token.Certificates(); err != nil || len(certs) != 1 || asked != 0 {
		t.Errorf("%d certificates without a PIN, %v, asked %d times", len(certs), err, asked)
	}
	for range 5 {
		_, err := token.Identities()
		wantFileErr(t, "wrong PIN", err, "pkcs11:token=card", keystore.ErrPassphrase)
		if strings.Contains(err.Error(), wrong) {
			t.Errorf("the error has the PIN: %v", err)
		}
	}
	// The same PIN from somewhere else.
	other := openFake(t, f, "pkcs11:serial=card1", fixedPIN(wrong))
	_, err := other.Identities()
	wantFileErr(t, "wrong PIN again", err, "pkcs11:serial=card1", keystore.ErrPassphrase)
	if f.logins != 1 {
		t.Errorf("the token was shown the wrong PIN %d times", f.logins)
	}
	wrong = fakePIN
	if _, err = token.Identities(); err != nil || f.logins != 2 {
		t.Errorf("the right PIN: %v, %d logins", err, f.logins)
	}
	// The login is that of the process, and the token does not look at the PIN.
	_, err = other.Identities()
	wantFileErr(t, "a PIN that was refused before", err, "pkcs11:serial=card1", keystore.ErrPassphrase)
	_, err = openFake(t, f, "pkcs11:model=F", fixedPIN("hunter3")).Identities()
	wantFileErr(t, "a PIN that was never shown", err, "pkcs11:model=F", keystore.ErrPassphrase)
	if _, err = openFake(t, f, "pkcs11:model=F", fixedPIN(fakePIN)).Identities(); err != nil || f.logins != 2 {
		t.Errorf("the right PIN again: %v, %d logins", err, f.logins)
	}
}

func TestLockedPIN(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	var questions []string
	n := 0
	token := openFake(t, f, "pkcs11:token=card", func(what string) ([]byte, error) {
		questions = append(questions, what)
		n++
		return []byte{byte('0' + n)}, nil
	})
	for range 3 {
		_, err := token.Identities()
		wantFileErr(t, "wrong PIN", err, "pkcs11:token=card", keystore.ErrPassphrase)
	}
	_, err := token.Identities()
	wantFileErr(t, "locked PIN", err, "pkcs11:token=card", ErrLocked)
	want := []string{`token "card"`, `token "card"`, `token "card", the last try before it locks`, `token "card"`}
	if !slices.Equal(questions, want) {
		t.Errorf("asked %q", questions)
	}
	infos, err := openList(t, f, "pkcs11:")
	if err != nil || len(infos) != 1 || !infos[0].info.Locked || !infos[0].info.LoginRequired {
		t.Errorf("%+v, %v", infos, err)
	}
}

func openList(t *testing.T, f *fake, uri string) ([]foundToken, error) {
	t.Helper()
	u, err := ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.release(); err != nil {
			t.Error(err)
		}
	}()
	return m.tokens(u)
}

func TestNobodyToAsk(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	_, err := openFake(t, f, "pkcs11:", nil).Identities()
	wantFileErr(t, "nobody to ask", err, "pkcs11:", keystore.ErrPassphraseNeeded)
	cancelled := errors.New("cancelled")
	_, err = openFake(t, f, "pkcs11:", func(string) ([]byte, error) { return nil, cancelled }).Identities()
	wantFileErr(t, "cancelled", err, "pkcs11:", cancelled)
	if f.logins != 0 {
		t.Errorf("%d logins", f.logins)
	}
	// A PIN pad needs nobody.
	f.tokens[5].flags |= ckfProtectedPath
	if _, err = openFake(t, f, "pkcs11:", nil).Identities(); err != nil {
		t.Error(err)
	}
}

func TestWhichToken(t *testing.T) {
	f := newFake()
	for uri, want := range map[string]error{"pkcs11:": ErrNoToken} {
		_, err := tryFake(t, f, uri, nil)
		wantFileErr(t, uri, err, uri, want)
	}
	f.insert(1, "one")
	f.insert(2, "two")
	f.insert(3, "blank").flags = 0
	for uri, want := range map[string]error{"pkcs11:": ErrSeveralTokens, "pkcs11:token=three": ErrNoToken, "pkcs11:slot-id=4": ErrNoToken,
		"pkcs11:token=blank": ErrNoToken} {
		_, err := tryFake(t, f, uri, nil)
		wantFileErr(t, uri, err, uri, want)
	}
	for uri, label := range map[string]string{"pkcs11:token=one": "one", "pkcs11:slot-id=2": "two", "pkcs11:serial=two1": "two"} {
		if info := openFake(t, f, uri, nil).Info(); info.Label != label || info.Library.Version != (Version{1, 2}) {
			t.Errorf("%s: %+v", uri, info)
		}
	}
}

func TestInitializedOnce(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	first, err := tryFake(t, f, "pkcs11:", nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tryFake(t, f, "pkcs11:", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err = first.Close(); err != nil || f.initializations != 1 || f.finalizations != 0 {
			t.Errorf("%v, %d, %d", err, f.initializations, f.finalizations)
		}
	}
	if err = second.Close(); err != nil || f.finalizations != 1 {
		t.Errorf("%v, %d", err, f.finalizations)
	}
	_, err = second.Identities()
	wantFileErr(t, "closed", err, "pkcs11:", ErrClosed)
	// Somebody else uses the module.
	f.initialized = 1
	third := openFake(t, f, "pkcs11:", nil)
	if err = third.Close(); err != nil || f.finalizations != 1 {
		t.Errorf("a module of somebody else: %v, %d", err, f.finalizations)
	}
}

func TestTokenMoves(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	asked := 0
	token := openFake(t, f, "pkcs11:slot-id=5", func(string) ([]byte, error) {
		asked++
		return []byte(fakePIN), nil
	})
	k := one(t, token).Key.(*ECKey)
	sign := func() error {
		_, err := k.Sign(nil, make([]byte, 32), crypto.SHA256)
		return err
	}
	if err := sign(); err != nil || asked != 1 {
		t.Fatal(err, asked)
	}
	f.move(5, 6)
	if err := sign(); err != nil || asked != 2 {
		t.Errorf("after it was moved: %v, asked %d times", err, asked)
	}
	f.move(6, 0)
	f.insert(5, "another")
	err := sign()
	var keyErr *KeyError
	if !errors.As(err, &keyErr) || !errors.Is(err, ErrNoToken) || asked != 2 {
		t.Errorf("with another token: %v, asked %d times", err, asked)
	}
	_, err = token.Identities()
	wantFileErr(t, "with another token", err, "pkcs11:slot-id=5", ErrNoToken)
}

func TestLostLogin(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	token := openFake(t, f, "pkcs11:", fixedPIN(fakePIN))
	k := one(t, token).Key.(*ECKey)
	f.tokens[5].loggedIn = false // by another part of the program
	if _, err := k.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil || f.logins != 2 {
		t.Errorf("%v, %d logins", err, f.logins)
	}
	// One session alone.
	f.mu.Lock()
	for h := range f.sessions {
		if h != token.anchor {
			delete(f.sessions, h)
		}
	}
	f.mu.Unlock()
	if _, err := k.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil || f.logins != 2 {
		t.Errorf("%v, %d logins", err, f.logins)
	}
	if _, err := token.Identities(); err != nil {
		t.Error(err)
	}
	if err := token.Close(); err != nil || len(f.sessions) != 0 {
		t.Errorf("%v, %d sessions are left", err, len(f.sessions))
	}
}

func TestRemovedKey(t *testing.T) {
	f, p := fakeWith(t, testpki.P256, false)
	token := openFake(t, f, "pkcs11:", fixedPIN(fakePIN))
	k := one(t, token).Key.(*ECKey)
	card := f.tokens[5]
	card.objects = make(map[object]*fakeObject)
	_, err := k.Sign(nil, make([]byte, 32), crypto.SHA256)
	if !errors.As(err, new(*KeyError)) || !errors.Is(err, keystore.ErrNoKey) {
		t.Errorf("a key that was deleted: %v", err)
	}
	_, err = token.Identities()
	wantFileErr(t, "no key", err, "pkcs11:", keystore.ErrNoKey)
	card.next = 50
	card.addKey(t, "mail", []byte{1}, p.Key, false)
	if _, err = k.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		t.Errorf("a key that was written again: %v", err)
	}
	_, err = token.Identities()
	wantFileErr(t, "no certificate", err, "pkcs11:", keystore.ErrNoCertificate)
	card.addCert("other", []byte{2}, issue(t, testpki.P256, "Bob").Cert)
	_, err = token.Identities()
	wantFileErr(t, "another certificate", err, "pkcs11:", keystore.ErrNoMatch)
}

func TestAlwaysAuthenticate(t *testing.T) {
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256} {
		f, _ := fakeWith(t, kind, true)
		var questions []string
		pin := fakePIN
		token := openFake(t, f, "pkcs11:", func(what string) ([]byte, error) {
			questions = append(questions, what)
			return []byte(pin), nil
		})
		k := one(t, token).Key
		for range 2 {
			if _, err := k.(crypto.Signer).Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err != nil {
				t.Errorf("%v: %v", kind, err)
			}
		}
		want := []string{`token "card"`, `key "mail" on token "card"`, `key "mail" on token "card"`}
		if !slices.Equal(questions, want) {
			t.Errorf("%v: asked %q", kind, questions)
		}
		pin = "wrong"
		if _, err := k.(crypto.Signer).Sign(rand.Reader, make([]byte, 32), crypto.SHA256); !errors.Is(err, keystore.ErrPassphrase) || !errors.As(err, new(*KeyError)) {
			t.Errorf("%v: %v", kind, err)
		}
		pin = fakePIN
		if r, ok := k.(*RSAKey); ok {
			checkV15(t, r)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Which identities a URI chooses.
func TestIdentitiesOfURI(t *testing.T) {
	f := newFake()
	card := f.insert(1, "card")
	alice, bob := issue(t, testpki.P256, "Alice"), issue(t, testpki.Ed25519, "Bob")
	ca := alice.Chain[0]
	card.addCert("alice cert", []byte{1}, alice.Cert)
	card.addCert("ca", []byte{9}, ca)
	card.addCert("bob", []byte{7}, bob.Cert) // another CKA_ID than the key
	card.addKey(t, "alice key", []byte{1}, alice.Key, false)
	card.addKey(t, "bob", []byte{2}, bob.Key, false)
	card.add(&fakeObject{attrs: map[uint][]byte{ckaClass: ulong(ckoCertificate), ckaValue: []byte("junk")}})
	card.add(&fakeObject{attrs: map[uint][]byte{ckaClass: ulong(ckoCertificate), ckaLabel: []byte("elsewhere")}})
	for uri, want := range map[string]string{
		"pkcs11:": "Alice Bob", "pkcs11:id=%01": "Alice", "pkcs11:id=%02": "Bob", "pkcs11:id=%07": "Bob", "pkcs11:id=%07;type=private": "",
		"pkcs11:id=%07;type=cert": "Bob", "pkcs11:object=alice%20key": "Alice", "pkcs11:object=alice%20key;type=cert": "",
		"pkcs11:object=alice%20cert;type=cert": "Alice", "pkcs11:object=bob;id=%01": "", "pkcs11:type=public": "", "pkcs11:object=ca": "",
		"pkcs11:object=": "",
	} {
		ids, err := openFake(t, f, uri, fixedPIN(fakePIN)).Identities()
		var got []string
		for _, id := range ids {
			got = append(got, id.Certificate.X509.Subject.CommonName)
			if len(id.Chain) != 1 || !bytes.Equal(id.Chain[0].Raw, ca.Raw) {
				t.Errorf("%s: %d others", uri, len(id.Chain))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v, want %s", uri, got, err, want)
		}
		if want == "" {
			wantFileErr(t, uri, err, uri, keystore.ErrNoMatch)
		}
	}
	certs, err := openFake(t, f, "pkcs11:object=ca", nil).Certificates()
	if err != nil || len(certs) != 1 || !bytes.Equal(certs[0].Raw, ca.Raw) {
		t.Errorf("%d certificates, %v", len(certs), err)
	}
}

func TestTooManyObjects(t *testing.T) {
	f := newFake()
	card := f.insert(1, "card")
	for range maxObjects + 1 {
		card.add(&fakeObject{attrs: map[uint][]byte{ckaClass: ulong(ckoCertificate)}})
	}
	_, err := openFake(t, f, "pkcs11:", fixedPIN(fakePIN)).Identities()
	wantFileErr(t, "too many", err, "pkcs11:", ErrTooMany)
}

// Many goroutines use the keys while the token is taken out and put in again.
func TestConcurrent(t *testing.T) {
	f, _ := fakeWith(t, testpki.P256, false)
	token := openFake(t, f, "pkcs11:", fixedPIN(fakePIN))
	k := one(t, token).Key.(*ECKey)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 25 {
				if g == 0 && i%5 == 0 {
					f.mu.Lock()
					clear(f.sessions)
					f.tokens[5].loggedIn = false
					f.mu.Unlock()
				}
				_, err := k.Sign(nil, make([]byte, 32), crypto.SHA256)
				// What is taken out twice during one operation is lost.
				if err != nil && !errors.As(err, new(*KeyError)) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := k.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		t.Error(err)
	}
	if err := token.Close(); err != nil || f.finalizations != 1 {
		t.Errorf("%v, %d", err, f.finalizations)
	}
	if _, err := k.Sign(nil, make([]byte, 32), crypto.SHA256); !errors.Is(err, ErrClosed) {
		t.Errorf("a key of a closed token: %v", err)
	}
}

func TestPINSource(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pin file")
	if err := os.WriteFile(file, []byte("4711\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	escaped := strings.ReplaceAll(file, " ", "%20")
	for query, want := range map[string]error{
		"?pin-source=" + escaped: nil,
		"?pin-source=file:" + strings.ReplaceAll(escaped, "%", "%25"):            nil,
		"?pin-source=file://" + strings.ReplaceAll(escaped, "%", "%25"):          nil,
		"?pin-source=FILE://localhost" + strings.ReplaceAll(escaped, "%", "%25"): nil,
		"?pin-source=file://example.org" + escaped:                               ErrPINSource,
		"?pin-source=pin":                    ErrPINSource,
		"?pin-source=":                       ErrPINSource,
		"?pin-source=file:pin":               ErrPINSource,
		"?pin-source=|/bin/cat":              ErrPINSource,
		"?pin-source=https:/example.org/pin": ErrPINSource,
		"?pin-source=" + escaped + "x":       ErrPINSource,
		"?pin-source=" + filepath.Dir(file):  ErrPINSource,
		"?pin-source=/dev/zero":              ErrPINSource,
		"?pin-value=4711":                    ErrPINInURI,
	} {
		u, err := ParseURI("pkcs11:" + query)
		if err != nil {
			t.Fatal(err)
		}
		ask, err := u.pinFrom(func(string) ([]byte, error) { return nil, errors.New("asked") }, false)
		var pin []byte
		if err == nil {
			pin, err = ask("token")
		}
		if !errors.Is(err, want) || want == nil && string(pin) != "4711" {
			t.Errorf("%s: %q, %v, want %v", query, pin, err, want)
		}
	}
	u, err := ParseURI("pkcs11:?pin-value=4711")
	if err != nil {
		t.Fatal(err)
	}
	ask, err := u.pinFrom(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if pin, askErr := ask(""); askErr != nil || string(pin) != "4711" {
		t.Errorf("pin-value: %q, %v", pin, askErr)
	}
}

func TestModulePath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"libsofthsm2.so", "opensc-pkcs11.so", "readme", "x.dylib"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	soft := filepath.Join(dir, "libsofthsm2.so")
	for _, c := range []struct {
		query, fixed, want string
		err                error
	}{
		{"", soft, soft, nil},
		{"", "", "", ErrNoModule},
		{"?module-name=softhsm2", "", soft, nil},
		{"?module-name=SoftHSM2", "", soft, nil},
		{"?module-name=libsofthsm2.so", "", soft, nil},
		{"?module-name=opensc-pkcs11", "", filepath.Join(dir, "opensc-pkcs11.so"), nil},
		{"?module-name=x", "", filepath.Join(dir, "x.dylib"), nil},
		{"?module-name=readme", "", "", ErrNoModule},
		{"?module-name=softhsm", "", "", ErrNoModule},
		{"?module-name=", "", "", ErrNoModule},
		{"?module-name=../softhsm2", "", "", ErrNoModule},
		{"?module-path=" + soft, "", soft, nil},
		{"?module-path=" + dir + "/./libsofthsm2.so", soft, soft, nil},
		{"?module-path=" + dir, "", "", ErrNoModule},
		{"?module-name=softhsm2&module-path=" + dir, "", soft, nil},
		{"?module-path=libsofthsm2.so", "", "", ErrNoModule},
		{"?module-path=/nowhere/libsofthsm2.so", "", "", ErrNoModule},
		{"?module-path=/nowhere/libsofthsm2.so", soft, "", ErrOtherModule},
		{"?module-path=" + dir + "/readme", soft, "", ErrOtherModule},
		{"?module-name=softhsm2", soft, soft, nil},
		{"?module-name=opensc-pkcs11", soft, "", ErrOtherModule},
	} {
		u, err := ParseURI("pkcs11:" + c.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := u.modulePath(c.fixed, []string{filepath.Join(dir, "none"), dir})
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s, %s: %s, %v", c.query, c.fixed, got, err)
		}
	}
}
