package store

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

func TestIdentities(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{Key: quick("one")})
	kinds := []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.P384, testpki.Ed25519, testpki.X25519, testpki.RSAPSS2048}
	var ids []keystore.Identity
	for _, kind := range kinds {
		p := w.issue(testpki.Profile{Name: kind.String(), Email: "Alice@Example.TEST", Key: kind})
		id := keystore.Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key, Chain: chain(p)}
		ids = append(ids, id)
		must(s.AddIdentity(t.Context(), id))(t)
		must(s.AddIdentity(t.Context(), id, "alias@example.test"))(t) // twice is once
	}
	// Listing needs no passphrase.
	s = openStore(t, s.Path(), Options{})
	for _, address := range []string{"", "Alice@example.test", "alias@EXAMPLE.test"} {
		list := must(s.Identities(t.Context(), address))(t)
		if len(list) != len(kinds) {
			t.Errorf("%q: %d identities", address, len(list))
		}
		for _, id := range list {
			if strings.Join(id.Addresses, " ") != "Alice@example.test alias@example.test" || len(id.Chain) != 1 || time.Since(id.Added) > time.Hour {
				t.Errorf("%+v", id)
			}
		}
	}
	if list := must(s.Identities(t.Context(), "alice@example.test"))(t); len(list) != 0 {
		t.Error("local parts were compared without case")
	}
	_, err := s.PrivateIdentity(t.Context(), FingerprintOf(ids[0].Certificate))
	wantErr(t, err, keystore.ErrPassphraseNeeded)

	s = openStore(t, s.Path(), Options{Key: quick("one")})
	for _, id := range ids {
		got := must(s.PrivateIdentity(t.Context(), FingerprintOf(id.Certificate)))(t)
		if !got.Key.(interface{ Equal(crypto.PrivateKey) bool }).Equal(id.Key) || !bytes.Equal(got.Certificate.Raw, id.Certificate.Raw) || len(got.Chain) != 1 {
			t.Errorf("%s: not what was stored", id.Certificate.Subject())
		}
	}
	_, err = s.PrivateIdentity(t.Context(), Fingerprint{})
	wantErr(t, err, ErrNotFound)
	integrity(t, s)
}

func TestWrongPassphrase(t *testing.T) {
	w := newWorld(t, "CA")
	id := w.identity(testpki.Profile{})
	s := newStore(t, Options{Key: quick("right")})
	print := must(s.AddIdentity(t.Context(), id))(t)

	asked, answer := 0, "wrong"
	s = openStore(t, s.Path(), Options{Key: &Passphrase{Ask: func(what string) ([]byte, error) {
		if asked++; what != s.Path() {
			t.Errorf("asked for %q", what)
		}
		return []byte(answer), nil
	}}})
	for range 2 {
		_, err := s.PrivateIdentity(t.Context(), print)
		wantErr(t, err, keystore.ErrPassphrase)
		var file *keystore.FileError
		if !errors.As(err, &file) || file.Name != s.Path() || err.Error() != "wrong passphrase for "+s.Path() {
			t.Errorf("%v", err)
		}
	}
	_, err := s.AddIdentity(t.Context(), w.identity(testpki.Profile{KeyIndex: 1}))
	wantErr(t, err, keystore.ErrPassphrase)
	if n := count(t, s, "SELECT count(*) FROM identities"); n != 1 {
		t.Errorf("%d identities", n)
	}
	if !s.Locked() || asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	answer = "right"
	for range 2 {
		must(s.PrivateIdentity(t.Context(), print))(t)
	}
	if asked != 4 || s.Locked() {
		t.Errorf("asked %d times", asked)
	}
	answer = ""
	s = openStore(t, s.Path(), Options{Key: quick("")})
	wantErr(t, s.Unlock(t.Context()), keystore.ErrPassphraseNeeded)
	s = openStore(t, s.Path(), Options{Key: &Passphrase{Ask: func(string) ([]byte, error) { return nil, io.ErrUnexpectedEOF }}})
	wantErr(t, s.Unlock(t.Context()), io.ErrUnexpectedEOF)
}

func TestChangePassphrase(t *testing.T) {
	id := newWorld(t, "CA").identity(testpki.Profile{})
	s := newStore(t, Options{Key: quick("old")})
	wantErr(t, s.ChangeKey(t.Context(), quick("new")), keystore.ErrNoKey)
	print := must(s.AddIdentity(t.Context(), id))(t)

	other := openStore(t, s.Path(), Options{Key: quick("bad")})
	wantErr(t, other.ChangeKey(t.Context(), quick("new")), keystore.ErrPassphrase)
	wantErr(t, s.ChangeKey(t.Context(), quick("")), keystore.ErrPassphraseNeeded)
	if err := s.ChangeKey(t.Context(), quick("new")); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangeKey(t.Context(), quick("newer")); err != nil { // from the new one
		t.Fatal(err)
	}
	for passphrase, want := range map[string]error{"old": keystore.ErrPassphrase, "new": keystore.ErrPassphrase, "newer": nil} {
		_, err := openStore(t, s.Path(), Options{Key: quick(passphrase)}).PrivateIdentity(t.Context(), print)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", passphrase, err)
		}
	}
	// Two change it at once: one of them is told.
	slow := openStore(t, s.Path(), Options{Key: quick("newer")})
	w := quick("slow")
	w.AskNew = func(string) ([]byte, error) {
		return []byte("slow"), s.ChangeKey(t.Context(), quick("fast"))
	}
	wantErr(t, slow.ChangeKey(t.Context(), w), ErrChanged)
	must(openStore(t, s.Path(), Options{Key: quick("fast")}).PrivateIdentity(t.Context(), print))(t)
}

// What an old passphrase opens is in none of the files after a change, and a key
// that was removed neither.
func TestScrubbed(t *testing.T) {
	s := newStore(t, Options{Key: quick("old")})
	print := must(s.AddIdentity(t.Context(), newWorld(t, "CA").identity(testpki.Profile{Key: testpki.P256})))(t)
	var slot, sealed []byte
	if err := s.db.QueryRow("SELECT data FROM slots").Scan(&slot); err != nil {
		t.Fatal(err)
	}
	if err := s.db.QueryRow("SELECT sealed FROM keys").Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	inFiles := func(octets []byte) bool {
		found := false
		for _, f := range must(os.ReadDir(filepath.Dir(s.Path())))(t) {
			found = found || bytes.Contains(must(os.ReadFile(filepath.Join(filepath.Dir(s.Path()), f.Name())))(t), octets[:48])
		}
		return found
	}
	if !inFiles(slot) || !inFiles(sealed) {
		t.Fatal("the test does not find what it looks for")
	}
	if err := s.ChangeKey(t.Context(), quick("new")); err != nil {
		t.Fatal(err)
	}
	// Parameters are the same in the new one; salt and key are not.
	if tail := slot[len(slot)-64:]; inFiles(tail) {
		t.Error("what the old passphrase opens is still there")
	}
	if err := s.RemoveIdentity(t.Context(), print); err != nil {
		t.Fatal(err)
	}
	if inFiles(sealed) {
		t.Error("the removed key is still there")
	}
}

// keyring is another Wrapper.
type keyring struct{ secret map[string][]byte }

func (*keyring) Name() string { return "keyring" }
func (k *keyring) Wrap(_ context.Context, store string, key []byte) ([]byte, error) {
	k.secret[store] = key
	return []byte("in the keyring"), nil
}
func (k *keyring) Unwrap(_ context.Context, store string, _ []byte) ([]byte, error) {
	return bytes.Clone(k.secret[store]), nil
}

func TestOtherWrapper(t *testing.T) {
	id := newWorld(t, "CA").identity(testpki.Profile{})
	ring := &keyring{map[string][]byte{}}
	s := newStore(t, Options{Key: ring})
	print := must(s.AddIdentity(t.Context(), id))(t)
	wantErr(t, openStore(t, s.Path(), Options{Key: quick("x")}).Unlock(t.Context()), ErrWrapper)
	must(openStore(t, s.Path(), Options{Key: ring}).PrivateIdentity(t.Context(), print))(t)
	if err := s.ChangeKey(t.Context(), quick("x")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, openStore(t, s.Path(), Options{Key: ring}).Unlock(t.Context()), ErrWrapper)
	must(openStore(t, s.Path(), Options{Key: quick("x")}).PrivateIdentity(t.Context(), print))(t)
	wantErr(t, openStore(t, newStore(t, Options{Key: ring}).Path(), Options{Key: &keyring{}}).ChangeKey(t.Context(), ring), keystore.ErrNoKey)
}

// TestTampered changes what is stored, bit by bit, and looks for the error.
// Options.Others open what they keep, and are asked for nothing else.
func TestOthers(t *testing.T) {
	ring := &keyring{map[string][]byte{}}
	opts := Options{Key: quick("x"), Others: []Wrapper{ring}}
	s := newStore(t, opts)
	print := must(s.AddIdentity(t.Context(), newWorld(t, "CA").identity(testpki.Profile{Key: testpki.P256})))(t)
	if kept := must(s.KeptBy(t.Context()))(t); kept != "passphrase" {
		t.Errorf("a new store is kept by %q", kept)
	}
	if err := s.ChangeKey(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	nobody := &Passphrase{Ask: func(string) ([]byte, error) { return nil, errors.New("asked") }}
	must(openStore(t, s.Path(), Options{Key: nobody, Others: []Wrapper{ring}}).PrivateIdentity(t.Context(), print))(t)
	must(openStore(t, s.Path(), Options{Others: []Wrapper{ring}}).PrivateIdentity(t.Context(), print))(t)
	again := openStore(t, s.Path(), opts)
	if err := again.ChangeKey(t.Context(), quick("y")); err != nil {
		t.Fatal(err)
	}
	must(openStore(t, s.Path(), Options{Key: quick("y"), Others: []Wrapper{ring}}).PrivateIdentity(t.Context(), print))(t)
	_, err := openStore(t, s.Path(), Options{Others: []Wrapper{ring}}).PrivateIdentity(t.Context(), print)
	wantErr(t, err, keystore.ErrPassphraseNeeded)
}

func TestTampered(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{Key: quick("x")})
	print := must(s.AddIdentity(t.Context(), w.identity(testpki.Profile{})))(t)
	other := must(s.AddIdentity(t.Context(), w.identity(testpki.Profile{KeyIndex: 1})))(t)
	tampered := 0
	check := func(table, column, where string, id Fingerprint) {
		var blob []byte
		if err := s.db.QueryRow("SELECT "+column+" FROM "+table+" WHERE "+where, id[:]).Scan(&blob); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(blob); i += 1 + len(blob)/40 {
			bad := bytes.Clone(blob)
			bad[i] ^= 1
			must(s.db.Exec("UPDATE "+table+" SET "+column+" = ?2 WHERE "+where, id[:], bad))(t)
			_, err := openStore(t, s.Path(), Options{Key: quick("x")}).PrivateIdentity(t.Context(), print)
			wantErr(t, err, ErrDamaged)
			tampered++
		}
		must(s.db.Exec("UPDATE "+table+" SET "+column+" = ?2 WHERE "+where, id[:], blob))(t)
		must(openStore(t, s.Path(), Options{Key: quick("x")}).PrivateIdentity(t.Context(), print))(t)
	}
	check("keys", "sealed", "public = (SELECT public FROM identities WHERE fingerprint = ?1)", print)
	check("certificates", "der", "fingerprint = ?1", print)
	check("slots", "data", "?1 = ?1", print)
	if tampered < 90 {
		t.Errorf("only %d changes", tampered)
	}
	// One key in place of the other.
	must(s.db.Exec("UPDATE keys SET sealed = (SELECT sealed FROM keys JOIN identities USING (public) WHERE fingerprint = ?1) WHERE public = (SELECT public FROM identities WHERE fingerprint = ?2)",
		other[:], print[:]))(t)
	_, err := s.PrivateIdentity(t.Context(), print)
	wantErr(t, err, ErrDamaged)
	must(s.PrivateIdentity(t.Context(), other))(t)
	// Adding it again mends it.
	must(s.AddIdentity(t.Context(), w.identity(testpki.Profile{})))(t)
	must(s.db.Exec("DELETE FROM slots"))(t)
	_, err = openStore(t, s.Path(), Options{Key: quick("x")}).PrivateIdentity(t.Context(), other)
	wantErr(t, err, ErrDamaged)
}

func TestPassphraseLimits(t *testing.T) {
	key := make([]byte, keySize)
	data := must(quick("x").Wrap(t.Context(), "s", key))(t)
	for _, tc := range []struct {
		edit func(p *argonParams)
		want any
	}{
		{func(p *argonParams) { p.Memory = maxMemory + 1 }, new(*keystore.LimitError)},
		{func(p *argonParams) { p.Memory = 1<<32 - 1 }, new(*keystore.LimitError)},
		{func(p *argonParams) { p.Time = maxTime + 1 }, new(*keystore.LimitError)},
		{func(p *argonParams) { p.Threads = maxThreads + 1; p.Memory = 1 << 16 }, new(*keystore.LimitError)},
		{func(p *argonParams) { p.Memory, p.Time = maxMemory, 64 }, new(*keystore.LimitError)},
		{func(p *argonParams) { p.Time = 0 }, new(*keystore.SyntaxError)},
		{func(p *argonParams) { p.Threads = 0 }, new(*keystore.SyntaxError)},
		{func(p *argonParams) { p.Memory = 7 }, new(*keystore.SyntaxError)},
		{func(p *argonParams) { p.Salt = nil }, new(*keystore.SyntaxError)},
		{func(p *argonParams) { p.KDF = "argon2d" }, new(*keystore.UnsupportedError)},
		{func(p *argonParams) { p.Version = 16 }, new(*keystore.UnsupportedError)},
	} {
		var p argonParams
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		tc.edit(&p)
		_, err := quick("x").Unwrap(t.Context(), "s", must(json.Marshal(p))(t))
		if !errors.As(err, tc.want) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	_, err := quick("x").Unwrap(t.Context(), "s", []byte("{"))
	if !errors.As(err, new(*keystore.SyntaxError)) {
		t.Errorf("%v", err)
	}
	p := &Passphrase{Ask: func(string) ([]byte, error) { return []byte("a"), nil }}
	start := time.Now()
	data = must(p.Wrap(t.Context(), "s", key))(t)
	t.Logf("Argon2id with the defaults: %v, %d octets stored", time.Since(start), len(data))
	if got := must(p.Unwrap(t.Context(), "s", data))(t); !bytes.Equal(got, key) {
		t.Error("another key came back")
	}
}

func TestSigningIdentity(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{Key: quick("x")})
	const alice = "alice@example.test"
	var none *NoIdentityError
	_, err := s.SigningIdentity(t.Context(), alice)
	if !errors.As(err, &none) || len(none.Rejected) != 0 || !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	add := func(p testpki.Profile) keystore.Identity {
		p.Email = alice
		id := w.identity(p)
		must(s.AddIdentity(t.Context(), id))(t)
		return id
	}
	add(testpki.Profile{Name: "expired", NotBefore: days(-100), NotAfter: days(-50)})
	add(testpki.Profile{Name: "future", NotBefore: days(5), NotAfter: days(500)})
	add(testpki.Profile{Name: "encryption", NotBefore: days(-2), NotAfter: days(500), Usage: testpki.Encrypt})
	_, err = s.SigningIdentity(t.Context(), alice)
	var reasons []keystore.Unusable
	if errors.As(err, &none) {
		for _, r := range none.Rejected {
			reasons = append(reasons, r.Err.Reason)
		}
	}
	if want := []keystore.Unusable{keystore.UnusableNotYet, keystore.UnusableKeyUsage, keystore.UnusableExpired}; len(reasons) != 3 || [3]keystore.Unusable(reasons) != [3]keystore.Unusable(want) {
		t.Errorf("reasons %v", reasons)
	}
	old := add(testpki.Profile{Name: "old", NotBefore: days(-300), NotAfter: days(900)})
	newest := add(testpki.Profile{Name: "newest", NotBefore: days(-10), NotAfter: days(20)})
	add(testpki.Profile{Name: "older", NotBefore: days(-200), NotAfter: days(900)})
	if got := must(s.SigningIdentity(t.Context(), "alice@EXAMPLE.test"))(t); !bytes.Equal(got.Certificate.Raw, newest.Certificate.Raw) {
		t.Errorf("%s", got.Certificate.Subject())
	}
	if err = s.RemoveIdentity(t.Context(), FingerprintOf(newest.Certificate)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.RemoveIdentity(t.Context(), FingerprintOf(newest.Certificate)), ErrNotFound)
	if got := must(s.SigningIdentity(t.Context(), alice))(t); got.Certificate.Subject() == old.Certificate.Subject() {
		t.Errorf("%s", got.Certificate.Subject())
	}
	if n := count(t, s, "SELECT count(*) FROM keys"); n != 5 {
		t.Errorf("%d keys", n)
	}
	if n := count(t, s, "SELECT count(*) FROM certificates"); n != 5 {
		t.Errorf("%d certificates", n)
	}
	integrity(t, s)
}

func TestAddIdentityErrors(t *testing.T) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{Key: quick("x")})
	id := w.identity(testpki.Profile{})
	other := w.identity(testpki.Profile{KeyIndex: 1})
	_, err := s.AddIdentity(t.Context(), keystore.Identity{Key: id.Key})
	wantErr(t, err, keystore.ErrNoCertificate)
	_, err = s.AddIdentity(t.Context(), keystore.Identity{Certificate: id.Certificate})
	wantErr(t, err, keystore.ErrNoKey)
	_, err = s.AddIdentity(t.Context(), keystore.Identity{Certificate: id.Certificate, Key: other.Key})
	wantErr(t, err, keystore.ErrNoMatch)
	_, err = s.AddIdentity(t.Context(), keystore.Identity{Certificate: id.Certificate, Key: hardware{id.Key.(crypto.Signer)}})
	if !errors.As(err, new(*keystore.UnsupportedError)) {
		t.Errorf("%v", err)
	}
	_, err = s.AddIdentity(t.Context(), id, "nobody")
	if !errors.As(err, new(*keystore.SyntaxError)) {
		t.Errorf("%v", err)
	}
	_, err = openStore(t, s.Path(), Options{}).AddIdentity(t.Context(), id)
	wantErr(t, err, keystore.ErrPassphraseNeeded)
	if n := count(t, s, "SELECT count(*) FROM certificates"); n != 0 {
		t.Errorf("%d certificates", n)
	}
}

// hardware is a key that cannot leave where it is.
type hardware struct{ crypto.Signer }

// TestOneQuestion has many goroutines make the data key of one store.
func TestOneQuestion(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	s := newStore(t, Options{Key: &Passphrase{Time: 1, Memory: 64, Threads: 1, Ask: func(string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return []byte("x"), nil
	}}})
	w := newWorld(t, "CA")
	var group sync.WaitGroup
	for i := range 16 {
		id := w.identity(testpki.Profile{KeyIndex: i})
		group.Go(func() {
			if _, err := s.AddIdentity(t.Context(), id); err != nil {
				t.Error(err)
			}
			if _, err := s.PrivateIdentity(t.Context(), FingerprintOf(id.Certificate)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if n := len(must(s.Identities(t.Context(), ""))(t)); n != 16 {
		t.Errorf("%d identities", n)
	}
}

func TestDecrypter(t *testing.T) {
	for _, keep := range []time.Duration{0, time.Hour} {
		t.Run(fmt.Sprintf("remember=%v", keep), func(t *testing.T) { testDecrypter(t, keep) })
	}
}

// sealedFor returns a message for the holders of certificates.
func sealedFor(t *testing.T, to ...*pki.Certificate) []byte {
	t.Helper()
	var message bytes.Buffer
	var recipients []cms.Recipient
	for _, c := range to {
		recipients = append(recipients, cms.NewRecipient(c.X509))
	}
	enc := must(cms.Encrypt(&message, recipients, nil))(t)
	_, err := io.WriteString(enc, "hello")
	if err = errors.Join(err, enc.Close()); err != nil {
		t.Fatal(err)
	}
	return message.Bytes()
}

// openWith opens a message with the identities of a store.
func openWith(t *testing.T, s *Store, message []byte) ([]byte, error) {
	t.Helper()
	r := must(cms.NewReader(bytes.NewReader(message), nil))(t)
	plain, err := r.Decrypt([]cms.Identity{s.Decrypter(t.Context())}, nil)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return io.ReadAll(plain)
}

func testDecrypter(t *testing.T, keep time.Duration) {
	w := newWorld(t, "CA")
	s := newStore(t, Options{Key: quick("x"), Remember: keep})
	ids := map[testpki.KeyType]keystore.Identity{}
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.X25519} {
		// Old keys are for old mail.
		p := w.issue(testpki.Profile{Email: "a@example.test", Key: kind, NotBefore: days(-200), NotAfter: days(-100)})
		ids[kind] = keystore.Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key}
		must(s.AddIdentity(t.Context(), ids[kind]))(t)
	}
	stranger := w.cert(testpki.Profile{Name: "stranger", KeyIndex: 9})
	open := func(s *Store, to ...*pki.Certificate) ([]byte, error) { return openWith(t, s, sealedFor(t, to...)) }
	for kind, id := range ids {
		if got, err := open(s, stranger, id.Certificate); string(got) != "hello" || err != nil {
			t.Errorf("%v: %q, %v", kind, got, err)
		}
	}
	_, err := open(s, stranger)
	wantErr(t, err, cms.ErrNoMatch)
	_, err = open(openStore(t, s.Path(), Options{Key: quick("y")}), ids[testpki.P256].Certificate)
	wantErr(t, err, keystore.ErrPassphrase)
	// More names than a statement takes.
	many := make([]cms.RecipientInfo, 0, 3000)
	for i := range 3000 {
		many = append(many, &cms.KeyTransRecipientInfo{ID: cms.CertificateID{SubjectKeyID: []byte{byte(i >> 8), byte(i), 1}}})
	}
	many = append(many, &cms.KeyTransRecipientInfo{ID: cms.CertificateID{SubjectKeyID: ids[testpki.RSA2048].Certificate.SubjectKeyID}})
	if prints := must(s.recipients(t.Context(), many))(t); len(prints) != 1 && len(ids[testpki.RSA2048].Certificate.SubjectKeyID) > 0 {
		t.Errorf("%d identities", len(prints))
	}
}
