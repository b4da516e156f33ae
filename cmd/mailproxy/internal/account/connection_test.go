package account

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/smime"
)

// atLogin is testConfig with keys that logins unlock.
func atLogin(t testing.TB) *config.Config {
	c := testConfig(t)
	c.Accounts[0].Passphrase, c.Accounts[0].Unlock = "", config.UnlockLogin
	return c
}

// TestUnlockAtLogin has keys for as long as somebody is logged in with their
// password.
func TestUnlockAtLogin(t *testing.T) {
	s := openSet(t, atLogin(t))
	if problems := s.Check(t.Context()); len(problems) != 0 {
		t.Errorf("%v", problems)
	}
	locked := func(c *Connection) bool {
		t.Helper()
		_, signErr := c.Keys("alice").Signer(t.Context(), "alice@example.org")
		_, openErr := c.Options("alice")
		if errors.Is(signErr, smtpproxy.ErrNoIdentity) {
			t.Error("that they are locked looks as if there were none")
		}
		if errors.Is(signErr, ErrLocked) != errors.Is(openErr, ErrLocked) || (signErr == nil) != (openErr == nil) {
			t.Errorf("%v, %v", signErr, openErr)
		}
		return errors.Is(signErr, ErrLocked)
	}
	users := func() int {
		v := &s.byName["alice"].vault
		v.mu.Lock()
		defer v.mu.Unlock()
		n := 0
		for _, u := range v.open {
			n += u.users
		}
		return n
	}
	one, two, other := s.Connection(quiet), s.Connection(quiet), s.Connection(quiet)
	if !locked(one) {
		t.Error("the keys are there before a login")
	}
	if _, err := one.Keys("alice").Recipient(t.Context(), "bob@example.org"); err != nil {
		t.Errorf("certificates of others need no key: %v", err)
	}
	for _, password := range [][]byte{nil, []byte("wrong")} {
		one.LoggedIn("alice", password)
		if !locked(one) || users() != 0 {
			t.Errorf("the keys are there for %q", password)
		}
	}
	one.LoggedIn("alice", []byte("secret"))
	two.LoggedIn("alice", []byte("secret"))
	other.LoggedIn("alice", []byte("wrong")) // while others have the right one
	if locked(one) || locked(two) || !locked(other) || users() != 2 {
		t.Errorf("locked: %v %v %v, %d users", locked(one), locked(two), locked(other), users())
	}
	if !errors.Is(signErrorOf(s, t), ErrLocked) {
		t.Error("the keys are there without a login")
	}
	one.Close()
	one.Close()
	if !locked(one) || locked(two) || users() != 1 {
		t.Errorf("after one has left: %v %v, %d users", locked(one), locked(two), users())
	}
	two.Close()
	if users() != 0 {
		t.Errorf("%d users are left", users())
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			c := s.Connection(quiet)
			defer c.Close()
			c.LoggedIn("alice", []byte("secret"))
			if locked(c) {
				t.Error("locked")
			}
		})
	}
	wg.Wait()
	if users() != 0 {
		t.Errorf("%d users are left", users())
	}
}

// TestOnce forgets a password.
func TestOnce(t *testing.T) {
	o := newOnce([]byte("secret"))
	for range 2 {
		if text, err := o.say(); err != nil || string(text) != "secret" {
			t.Errorf("%q %v", text, err)
		}
	}
	kept := o.text
	o.forget()
	if text, err := o.say(); !errors.Is(err, keystore.ErrPassphraseNeeded) || text != nil || !bytes.Equal(kept, make([]byte, 6)) {
		t.Errorf("%q %q %v", text, kept, err)
	}
}

func signErrorOf(s *Set, t *testing.T) error {
	_, err := s.Keys("alice").Signer(t.Context(), "alice@example.org")
	return err
}

// TestIdentityFiles has keys in PKCS #12 and PEM beside a store, or without one.
func TestIdentityFiles(t *testing.T) {
	c := testConfig(t)
	root := authority(t)
	anne, old := person(t, root, "anne@example.org"), person(t, root, "old@example.org")
	p12, err := keystore.EncodePKCS12(anne, "secret")
	if err != nil {
		t.Fatal(err)
	}
	oldKey, err := x509.MarshalPKCS8PrivateKey(old.Key) // not encrypted: each passphrase takes its time
	if err != nil {
		t.Fatal(err)
	}
	both := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Certificate.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: oldKey}))
	files := []string{write(t, "anne.p12", p12), write(t, "old.pem", both)}
	addresses := []string{"anne@example.org", "old@example.org", "none@example.org"}
	pass := c.Accounts[0].Passphrase
	c.Accounts = append(c.Accounts,
		config.Account{Login: "start", Addresses: addresses, Identities: files, Passphrase: pass},
		config.Account{Login: "login", Addresses: addresses, Identities: files, Unlock: config.UnlockLogin})
	s := openSet(t, c)
	user := s.Connection(quiet)
	defer user.Close()
	user.LoggedIn("login", []byte("secret"))
	for _, login := range []string{"start", "login"} {
		keys := user.Keys(login)
		for i, address := range addresses {
			signer, signErr := keys.Signer(t.Context(), address)
			if i == 2 {
				if !errors.Is(signErr, smtpproxy.ErrNoIdentity) {
					t.Errorf("%s: %v", login, signErr)
				}
				continue
			}
			if signErr != nil || !signer.Certificate.HasEmail(address) {
				t.Errorf("%s: %s: %v", login, address, signErr)
			}
			if r, findErr := keys.Recipient(t.Context(), address); findErr != nil || !r.Certificate.HasEmail(address) {
				t.Errorf("%s: to itself: %v", login, findErr)
			}
		}
		if o, optErr := user.Options(login); optErr != nil || len(o.Read.Identities) != 2 {
			t.Errorf("%s: %v", login, optErr)
		}
	}
	if problems := s.Check(t.Context()); len(problems) != 2 || problems[1].Login != "start" || problems[1].Address != "none@example.org" {
		t.Errorf("%v", problems)
	}
	c.Accounts = c.Accounts[1:2]
	c.Accounts[0].Passphrase = write(t, "pass", []byte("wrong"))
	if _, err = Open(t.Context(), c); !errors.Is(err, keystore.ErrPassphrase) || !errors.As(err, new(*Error)) {
		t.Errorf("%v", err)
	}
	c.Accounts[0].Identities = []string{filepath.Join(t.TempDir(), "none")}
	if _, err = Open(t.Context(), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// read opens a message as the account does.
func (c *Connection) read(t testing.TB, login, message string) *smime.Message {
	t.Helper()
	o, err := c.Options(login)
	if err != nil {
		t.Fatal(err)
	}
	m, err := smime.Read(strings.NewReader(message), &o.Read)
	if m == nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func signed(t testing.TB, id keystore.Identity, from string) string {
	t.Helper()
	var out bytes.Buffer
	key, ok := id.Key.(crypto.Signer)
	if !ok {
		t.Fatal("no signer")
	}
	w, err := smime.Sign(&out, []cms.Signer{{Certificate: id.Certificate, Key: key}}, nil)
	if err == nil {
		_, err = io.WriteString(w, "From: "+from+"\r\nSubject: x\r\nMIME-Version: 1.0\r\n\r\nhello\r\n")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestLearn remembers the certificates of mail that is good, and of no other.
func TestLearn(t *testing.T) {
	root, stranger := authority(t), authority(t)
	c := testConfig(t)
	c.Certificates.Harvest = true
	c.Trust.Authorities = append(c.Trust.Authorities, write(t, "root.pem", root.Certificate.Raw))
	s := openSet(t, c)
	user := s.Connection(quiet)
	defer user.Close()
	known := func(address string) bool {
		t.Helper()
		_, err := s.byName["alice"].store.Correspondent(t.Context(), address)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	carol, eve := person(t, root, "carol@example.org"), person(t, stranger, "eve@example.org")
	for _, tc := range []struct {
		name, address string
		message       string
		want          bool
	}{
		{"a stranger's authority", "eve@example.org", signed(t, eve, "eve@example.org"), false},
		{"another's name", "dave@example.org", signed(t, carol, "dave@example.org"), false},
		{"two senders", "carol@example.org", signed(t, carol, "carol@example.org, dave@example.org"), false},
		{"changed", "carol@example.org", strings.Replace(signed(t, carol, "carol@example.org"), "hello", "hullo", 1), false},
		{"not signed", "carol@example.org", "From: carol@example.org\r\n\r\nhello\r\n", false},
		{"good", "carol@example.org", signed(t, carol, "Carol <carol@example.org>"), true},
	} {
		user.Learn("alice", user.read(t, "alice", tc.message), time.Now())
		if known(tc.address) != tc.want {
			t.Errorf("%s: known: %v", tc.name, known(tc.address))
		}
	}
	user.Learn("nobody", user.read(t, "alice", signed(t, carol, "carol@example.org")), time.Now())
	if r, err := user.Keys("alice").Recipient(t.Context(), "carol@example.org"); err != nil || !bytes.Equal(r.Certificate.Raw, carol.Certificate.Raw) {
		t.Errorf("what was learned is not used: %v", err)
	}
	c.Certificates.Harvest = false
	dora := person(t, root, "dora@example.org")
	user.Learn("alice", user.read(t, "alice", signed(t, dora, "dora@example.org")), time.Now())
	if known("dora@example.org") {
		t.Error("remembered although that is off")
	}
}
