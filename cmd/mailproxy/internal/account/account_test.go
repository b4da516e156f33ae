package account

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// A person has a certificate.
func person(t testing.TB, a *ca.Authority, address string) keystore.Identity {
	t.Helper()
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ca.Public(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Issue(&ca.Request{Emails: []string{address}, Key: public}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return keystore.Identity{Certificate: c, Key: key}
}

func authority(t testing.TB) *ca.Authority {
	t.Helper()
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ca.NewRoot(ca.Subject{Name: "Test"}, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// write writes a file, and returns its name.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// testConfig has the account alice. Her store has a certificate for bob, whose
// authority is trusted, and one for mallory, whose is not.
func testConfig(t testing.TB) *config.Config {
	t.Helper()
	trusted, other := authority(t), authority(t)
	name := filepath.Join(t.TempDir(), "store")
	s, err := store.Open(t.Context(), name, store.Options{Key: &store.Passphrase{
		Ask: func(string) ([]byte, error) { return []byte("secret"), nil }, Time: 1, Memory: 64, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.AddIdentity(t.Context(), person(t, trusted, "alice@example.org")); err != nil {
		t.Fatal(err)
	}
	for address, c := range map[string]*pki.Certificate{
		"bob@example.org": person(t, trusted, "bob@example.org").Certificate, "mallory@example.org": person(t, other, "mallory@example.org").Certificate,
	} {
		if _, err = s.AddCertificate(t.Context(), address, c, store.AddOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err = s.Close(); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{
		Accounts: []config.Account{{Login: "alice", Addresses: []string{"alice@example.org", "a@example.org"}, Store: name,
			Passphrase: write(t, "pass", []byte("secret\r\nnot this\n"))}},
		Trust:        config.Trust{Authorities: []string{write(t, "ca.pem", trusted.Certificate.Raw)}, Store: true},
		Revocation:   config.Revocation{Mode: config.RevocationSoft},
		Certificates: config.Certificates{Sources: []string{config.SourceStore}, Timeout: config.Duration(time.Second)},
	}
	return c
}

func openSet(t testing.TB, c *config.Config) *Set {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := s.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return s
}

func TestKeys(t *testing.T) {
	s := openSet(t, testConfig(t))
	for _, login := range []string{"", "Alice", "alice@example.org", "bob"} {
		if keys := s.Keys(login); keys != nil {
			t.Errorf("%q has keys", login)
		}
		if keys := s.Connection(quiet).Keys(login); keys != nil {
			t.Errorf("%q has keys", login)
		}
		if o, err := s.Connection(quiet).Options(login); o != nil || err != nil {
			t.Errorf("%q: %v %v", login, o, err)
		}
	}
	keys, ctx := s.Keys("alice"), context.Background()
	signer, err := keys.Signer(ctx, "alice@example.org")
	if err != nil || signer.Certificate == nil || signer.Key == nil {
		t.Fatalf("%v", err)
	}
	for _, address := range []string{"bob@example.org", "a@example.org", "", "x"} {
		if _, err = keys.Signer(ctx, address); !errors.Is(err, smtpproxy.ErrNoIdentity) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"bob@example.org", "alice@example.org"} {
		if r, findErr := keys.Recipient(ctx, address); findErr != nil || r.Certificate == nil {
			t.Errorf("%s: %v", address, findErr)
		}
	}
	if _, err = keys.Recipient(ctx, "mallory@example.org"); !errors.As(err, new(*recipients.UntrustedError)) {
		t.Errorf("%v", err)
	}
	if _, err = keys.Recipient(ctx, "nobody@example.org"); !errors.As(err, new(*recipients.NoneError)) {
		t.Errorf("%v", err)
	}
	if o, optErr := s.Connection(quiet).Options("alice"); optErr != nil || o.Read.Trust == nil || len(o.Read.Identities) != 1 {
		t.Errorf("%v", optErr)
	}
	problems := s.Check(ctx)
	if len(problems) != 1 || problems[0].Address != "a@example.org" || !errors.Is(problems[0], smtpproxy.ErrNoIdentity) {
		t.Errorf("%v", problems)
	}
}

// TestHardRevocation refuses those of whom nothing is known.
func TestHardRevocation(t *testing.T) {
	c := testConfig(t)
	c.Revocation.Mode = config.RevocationHard
	_, err := openSet(t, c).Keys("alice").Recipient(t.Context(), "bob@example.org")
	if err == nil || !errors.As(err, new(*recipients.UntrustedError)) && !errors.As(err, new(*recipients.NoneError)) {
		t.Errorf("%v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	tests := map[string]struct {
		change func(*config.Config)
		is     func(error) bool
	}{
		"wrong passphrase": {func(c *config.Config) { c.Accounts[0].Passphrase = write(t, "pass", []byte("wrong")) },
			func(err error) bool { return errors.Is(err, keystore.ErrPassphrase) && errors.As(err, new(*Error)) }},
		"no passphrase": {func(c *config.Config) { c.Accounts[0].Passphrase = "none" },
			func(err error) bool { return errors.Is(err, fs.ErrNotExist) && errors.As(err, new(*Error)) }},
		"no store": {func(c *config.Config) { c.Accounts[0].Store = filepath.Join(t.TempDir(), "none") },
			func(err error) bool { return errors.Is(err, fs.ErrNotExist) && errors.As(err, new(*Error)) }},
		"not a store": {func(c *config.Config) {
			c.Accounts[0].Store = write(t, "x", []byte("this is not a database at all, but some text"))
		},
			func(err error) bool { return errors.Is(err, store.ErrNotStore) }},
		"no authority": {func(c *config.Config) { c.Trust.Authorities = []string{"none"} },
			func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		"not an authority": {func(c *config.Config) { c.Trust.Authorities = []string{write(t, "x", []byte("x"))} },
			func(err error) bool { return errors.As(err, new(*keystore.FileError)) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			test.change(c)
			if s, err := Open(t.Context(), c); s != nil || !test.is(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestSources asks the places of certificates in their order. One that is down is
// not one that has nothing.
func TestSources(t *testing.T) {
	c := testConfig(t)
	carol := person(t, authority(t), "carol@example.org")
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "carol.crt"), carol.Certificate.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Certificates.Sources = []string{config.SourceStore, config.SourceFolder, config.SourceLDAP}
	c.Certificates.Folder = folder
	c.LDAP = []config.LDAP{{URL: "ldaps://127.0.0.1:1/dc=example,dc=org"}}
	keys, ctx := openSet(t, c).Keys("alice"), t.Context()
	if _, err := keys.Recipient(ctx, "bob@example.org"); err != nil {
		t.Errorf("in the store, before the directory is asked: %v", err)
	}
	_, err := keys.Recipient(ctx, "nobody@example.org")
	if !errors.As(err, new(*keystore.SourceError)) || errors.As(err, new(*recipients.NoneError)) {
		t.Errorf("the directory is down: %v", err)
	}
	c.Certificates.Sources, c.LDAP = c.Certificates.Sources[:2], nil
	keys = openSet(t, c).Keys("alice")
	if _, err = keys.Recipient(ctx, "carol@example.org"); !errors.As(err, new(*recipients.UntrustedError)) {
		t.Errorf("in the folder, and nobody vouches for it: %v", err)
	}
	if _, err = keys.Recipient(ctx, "nobody@example.org"); !errors.As(err, new(*recipients.NoneError)) {
		t.Errorf("nowhere: %v", err)
	}
}
