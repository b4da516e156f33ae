package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

const alice = "alice@example.test"

// remembered returns how many answers a store has at hand.
func remembered(s *Store) int {
	s.memo.mu.Lock()
	defer s.memo.mu.Unlock()
	return len(s.memo.answers)
}

// memoStore has an identity of alice, a certificate of bob and an authority, and
// another Store of the same file, with which others change it.
func memoStore(t *testing.T, opts Options) (s, other *Store, w *world, alices Fingerprint) {
	t.Helper()
	if !vfs.SupportsSharedMemory {
		t.Skip("nothing is remembered where SQLite has no shared memory")
	}
	opts.Key = quick("x")
	if opts.Remember == 0 {
		opts.Remember = time.Hour
	}
	w = newWorld(t, "CA")
	s = newStore(t, opts)
	other = openStore(t, s.Path(), Options{Key: quick("x")})
	alices = must(other.AddIdentity(t.Context(), w.identity(testpki.Profile{Email: alice})))(t)
	must(other.AddCertificate(t.Context(), bob, w.cert(testpki.Profile{Email: bob}), AddOptions{}))(t)
	must(other.AddAuthority(t.Context(), pki.FromX509(w.ca.Root())))(t)
	return s, other, w, alices
}

// TestRemember asks twice, and the second answer is the first one.
func TestRemember(t *testing.T) {
	t.Parallel()
	s, _, _, _ := memoStore(t, Options{})
	signing := must(s.SigningIdentity(t.Context(), alice))(t)
	found := must(s.Find(t.Context(), bob))(t)
	authorities := must(s.Authorities(t.Context()))(t)
	if again := must(s.SigningIdentity(t.Context(), alice))(t); again.Key != signing.Key || again.Certificate != signing.Certificate {
		t.Error("the identity was read again")
	}
	if again := must(s.Find(t.Context(), bob))(t); again[0].Certificate != found[0].Certificate {
		t.Error("the certificate was read again")
	}
	if again := must(s.Authorities(t.Context()))(t); again[0].Certificate != authorities[0].Certificate {
		t.Error("the authority was read again")
	}
	plain := openStore(t, s.Path(), Options{Key: quick("x")})
	first, second := must(plain.Find(t.Context(), bob))(t), must(plain.Find(t.Context(), bob))(t)
	if first[0].Certificate == second[0].Certificate || remembered(plain) > 0 {
		t.Error("a store remembers that was not told to")
	}
}

// TestRememberChanges has every answer at hand when it becomes wrong: the next one
// is right. The other is another connection, as that of another process is.
func TestRememberChanges(t *testing.T) {
	t.Parallel()
	signs := func(t *testing.T, s *Store) error {
		_, err := s.SigningIdentity(t.Context(), alice)
		return err
	}
	finds := func(t *testing.T, s *Store) error {
		found, err := s.Find(t.Context(), bob)
		if err == nil && len(found) == 0 {
			err = ErrNotFound
		}
		if err == nil {
			err = found[0].Err
		}
		return err
	}
	for name, test := range map[string]struct {
		ask    func(t *testing.T, s *Store) error
		change func(t *testing.T, s *Store, id Fingerprint) error
	}{
		"identity removed": {signs, func(t *testing.T, s *Store, id Fingerprint) error { return s.RemoveIdentity(t.Context(), id) }},
		"certificate removed": {finds, func(t *testing.T, s *Store, _ Fingerprint) error {
			return s.RemoveCorrespondent(t.Context(), bob)
		}},
		"certificate rejected": {finds, func(t *testing.T, s *Store, _ Fingerprint) error {
			found, err := s.Find(t.Context(), bob)
			if err == nil {
				err = s.Decide(t.Context(), bob, FingerprintOf(found[0].Certificate), Rejected)
			}
			return err
		}},
		"signer rejected": {func(t *testing.T, s *Store) error {
			trust, err := s.Trust(t.Context(), func(roots *pki.Roots) cms.Trust { return cms.TrustPool(roots) })
			if err != nil {
				t.Fatal(err)
			}
			c := must(s.Correspondent(t.Context(), bob))(t)
			return trust.TrustSigner(&cms.TrustRequest{Certificate: c.Entries[0].Certificate, Time: time.Now()})
		}, func(t *testing.T, s *Store, _ Fingerprint) error {
			c := must(s.Correspondent(t.Context(), bob))(t)
			return s.Decide(t.Context(), bob, c.Entries[0].Fingerprint, Rejected)
		}},
		"authority removed": {func(t *testing.T, s *Store) error {
			if list := must(s.Authorities(t.Context()))(t); len(list) == 0 {
				return ErrNotFound
			}
			return nil
		}, func(t *testing.T, s *Store, _ Fingerprint) error {
			list := must(s.Authorities(t.Context()))(t)
			return s.RemoveAuthority(t.Context(), list[0].Fingerprint)
		}},
	} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/own=%t", name, own), func(t *testing.T) {
				t.Parallel()
				s, who, _, id := memoStore(t, Options{})
				if own {
					who = s
				}
				for range 2 {
					if err := test.ask(t, s); err != nil {
						t.Fatal(err)
					}
				}
				if remembered(s) == 0 {
					t.Fatal("nothing was remembered")
				}
				if err := test.change(t, who, id); err != nil {
					t.Fatal(err)
				}
				if err := test.ask(t, s); err == nil {
					t.Error("the change was not seen")
				}
			})
		}
	}
}

// TestDecrypterChanges opens with what is remembered, until somebody removes it, and
// again when it is back.
func TestDecrypterChanges(t *testing.T) {
	t.Parallel()
	s, other, w, _ := memoStore(t, Options{})
	id := w.identity(testpki.Profile{Email: alice})
	print := must(other.AddIdentity(t.Context(), id))(t)
	message := sealedFor(t, id.Certificate)
	opens := func() {
		t.Helper()
		for range 2 {
			if got, err := openWith(t, s, message); string(got) != "hello" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	opens()
	first, second := must(s.holder(t.Context(), print))(t), must(s.holder(t.Context(), print))(t)
	if first.opens != second.opens {
		t.Error("the identity was made again")
	}
	if err := other.RemoveIdentity(t.Context(), print); err != nil {
		t.Fatal(err)
	}
	_, err := openWith(t, s, message)
	wantErr(t, err, cms.ErrNoMatch)
	must(other.AddIdentity(t.Context(), id))(t)
	opens()
	if err = s.Close(); err != nil {
		t.Fatal(err)
	}
	if remembered(s) > 0 {
		t.Error("something is remembered")
	}
	_, err = openWith(t, s, message)
	wantErr(t, err, ErrClosed)
}

// TestDecrypterMany has more identities than are remembered: the database is asked.
func TestDecrypterMany(t *testing.T) {
	t.Parallel()
	s, _, w, _ := memoStore(t, Options{})
	id := w.identity(testpki.Profile{Email: alice})
	must(s.AddIdentity(t.Context(), id))(t)
	var public []byte
	if err := s.db.QueryRow("SELECT public FROM identities").Scan(&public); err != nil {
		t.Fatal(err)
	}
	err := s.write(t.Context(), func(tx *sql.Tx) error {
		for i := range maxIndex {
			print := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
			if _, err := tx.Exec("INSERT INTO certificates (fingerprint, der) VALUES (?, x'')", print[:]); err != nil {
				return err
			}
			if _, err := tx.Exec("INSERT INTO identities (fingerprint, public, serial, added) VALUES (?, ?, ?, 0)", print[:], public, print[:8]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if index, _, err := s.names(t.Context()); index != nil || err != nil {
		t.Errorf("%d names, %v", len(index), err)
	}
	for range 2 {
		if got, openErr := openWith(t, s, sealedFor(t, id.Certificate)); string(got) != "hello" || openErr != nil {
			t.Fatalf("%q, %v", got, openErr)
		}
	}
}

// TestRememberNewer sees what comes, not what goes alone: a newer identity is the
// one to sign with, at the next message.
func TestRememberNewer(t *testing.T) {
	t.Parallel()
	s, other, w, _ := memoStore(t, Options{})
	must(s.SigningIdentity(t.Context(), alice))(t)
	newer := must(other.AddIdentity(t.Context(), w.identity(testpki.Profile{Email: alice, NotBefore: time.Now().Add(-time.Minute)})))(t)
	if id := must(s.SigningIdentity(t.Context(), alice))(t); FingerprintOf(id.Certificate) != newer {
		t.Error("the older identity signs")
	}
}

// TestRememberProcess has another process remove the identity.
func TestRememberProcess(t *testing.T) {
	t.Parallel()
	s, _, _, _ := memoStore(t, Options{})
	for range 2 {
		must(s.SigningIdentity(t.Context(), alice))(t)
	}
	if out, err := process(t, taskRemove, s.Path(), alice, 0, nil).Output(); err != nil {
		t.Fatal(err, string(out))
	}
	if _, err := s.SigningIdentity(t.Context(), alice); !errors.As(err, new(*NoIdentityError)) {
		t.Errorf("after the identity was removed: %v", err)
	}
}

// TestMoment asks whether anything has changed with the first question, and again in
// the next moment.
func TestMoment(t *testing.T) {
	t.Parallel()
	s, other, _, id := memoStore(t, Options{})
	must(s.SigningIdentity(t.Context(), alice))(t)
	ctx := Moment(t.Context())
	must(s.Find(ctx, bob))(t)
	if err := other.RemoveIdentity(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SigningIdentity(ctx, alice); err != nil {
		t.Errorf("in the moment before it was removed: %v", err)
	}
	for range 2 {
		if _, err := s.SigningIdentity(Moment(t.Context()), alice); !errors.As(err, new(*NoIdentityError)) {
			t.Errorf("in the next moment: %v", err)
		}
	}
	if _, err := s.SigningIdentity(ctx, alice); !errors.As(err, new(*NoIdentityError)) {
		t.Errorf("what another moment has forgotten: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.SigningIdentity(ctx, alice)
	wantErr(t, err, ErrClosed)
}

// TestRememberClosed signs with nothing after Close, which forgets the keys.
func TestRememberClosed(t *testing.T) {
	t.Parallel()
	s, _, _, _ := memoStore(t, Options{})
	must(s.SigningIdentity(t.Context(), alice))(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if remembered(s) > 0 {
		t.Error("something is remembered")
	}
	_, err := s.SigningIdentity(t.Context(), alice)
	wantErr(t, err, ErrClosed)
}

// TestRememberTime has what is at hand expire: by the clock of the certificate, and
// by its own.
func TestRememberTime(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	s, _, w, _ := memoStore(t, Options{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }, Remember: 50 * time.Millisecond})
	must(s.AddCertificate(t.Context(), "carol@example.test", w.cert(testpki.Profile{Email: "carol@example.test", NotAfter: days(2)}), AddOptions{}))(t)
	ask := func() error {
		found := must(s.Find(t.Context(), "carol@example.test"))(t)
		return found[0].Err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(3 * 24 * time.Hour))
	var unusable *keystore.UnusableError
	if err := ask(); !errors.As(err, &unusable) || unusable.Reason != keystore.UnusableExpired {
		t.Errorf("of a certificate that has expired: %v", err)
	}
	for end := time.Now().Add(10 * time.Second); remembered(s) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what is remembered stays")
		}
	}
}

// TestRememberLimits asks for more than is kept.
func TestRememberLimits(t *testing.T) {
	t.Parallel()
	s, _, _, _ := memoStore(t, Options{})
	for i := range maxMemo + 10 {
		if found := must(s.Find(t.Context(), fmt.Sprintf("nobody-%d@example.test", i)))(t); len(found) > 0 {
			t.Fatal("somebody was found")
		}
	}
	if n := remembered(s); n == 0 || n > maxMemo {
		t.Errorf("%d answers", n)
	}
	version, _, known := s.memo.recall(t.Context(), memoKey{})
	s.memo.note(memoKey{about: "large"}, 1, maxMemoSize, version)
	if _, answer, _ := s.memo.recall(t.Context(), memoKey{about: "large"}); answer != nil || !known {
		t.Error("an answer that is too large was kept")
	}
	s.memo.note(memoKey{about: "old"}, 1, 1, version-1)
	if _, answer, _ := s.memo.recall(t.Context(), memoKey{about: "old"}); answer != nil {
		t.Error("an answer from before a change was kept")
	}
}

// TestRememberAtOnce adds and removes an identity while others ask for it: when it
// was removed nobody gets it, when it was added everybody does.
func TestRememberAtOnce(t *testing.T) {
	t.Parallel()
	s, other, w, first := memoStore(t, Options{})
	if err := other.RemoveIdentity(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	id := w.identity(testpki.Profile{Email: alice})
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.SigningIdentity(t.Context(), alice); err != nil && !errors.As(err, new(*NoIdentityError)) && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		print := must(other.AddIdentity(t.Context(), id))(t)
		if _, err := s.SigningIdentity(t.Context(), alice); err != nil {
			t.Error("after it was added:", err)
		}
		if err := other.RemoveIdentity(t.Context(), print); err != nil {
			t.Error(err)
		}
		if _, err := s.SigningIdentity(t.Context(), alice); !errors.As(err, new(*NoIdentityError)) {
			t.Error("after it was removed:", err)
		}
	}
	close(stop)
	running.Wait()
}

func BenchmarkSigningIdentity(b *testing.B) {
	for _, keep := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprintf("remember=%v", keep), func(b *testing.B) {
			s, _ := benchStoreWith(b, Options{Key: quick("x"), Remember: keep})
			ca, err := testpki.NewCA("CA")
			if err != nil {
				b.Fatal(err)
			}
			p, err := ca.Issue(testpki.Profile{Email: alice, Key: testpki.P256})
			if err == nil {
				_, err = s.AddIdentity(b.Context(), keystore.Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key})
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err = s.SigningIdentity(b.Context(), alice); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// removeIdentities is what another process does.
func removeIdentities(ctx context.Context, s *Store, address string) error {
	ids, err := s.Identities(ctx, address)
	for _, id := range ids {
		if err == nil {
			err = s.RemoveIdentity(ctx, id.Fingerprint)
		}
	}
	return err
}
