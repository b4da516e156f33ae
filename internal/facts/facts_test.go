package facts

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openDatabase(t testing.TB, path string) *Database {
	t.Helper()
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := d.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return d
}

func stores(t *testing.T, f func(t *testing.T, s Store)) {
	t.Run("memory", func(t *testing.T) { f(t, NewMemory()) })
	t.Run("database", func(t *testing.T) { f(t, openDatabase(t, filepath.Join(t.TempDir(), "facts"))) })
}

var inbox = Mailbox{Server: "mail.example.org:993", Account: "alice", Name: "INBOX", Validity: 7}

// TestFirstStays keeps what was put first.
func TestFirstStays(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		first := map[uint32]Fact{1: {Plain: true}, 2: {Sealed: []byte("two")}, 900000: {Sealed: []byte("far")}}
		if got, err := s.Put(ctx, inbox, first); err != nil || !reflect.DeepEqual(got, first) {
			t.Fatalf("%v %v", got, err)
		}
		got, err := s.Put(ctx, inbox, map[uint32]Fact{2: {Plain: true}, 3: {Plain: true}})
		if want := (map[uint32]Fact{2: {Sealed: []byte("two")}, 3: {Plain: true}}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v %v", got, err)
		}
		all := maps.Clone(first)
		all[3] = Fact{Plain: true}
		for _, tc := range []struct {
			mailbox Mailbox
			uids    []uint32
			want    map[uint32]Fact
		}{
			{inbox, []uint32{1, 2, 3, 900000}, all},
			{inbox, []uint32{3, 1, 4, 5}, map[uint32]Fact{1: {Plain: true}, 3: {Plain: true}}},
			{inbox, nil, map[uint32]Fact{}},
			{Mailbox{"mail.example.org:993", "bob", "INBOX", 7}, []uint32{1}, map[uint32]Fact{}},
			{Mailbox{"mail.example.org:993", "alice", "Sent", 7}, []uint32{1}, map[uint32]Fact{}},
			{Mailbox{"other", "alice", "INBOX", 7}, []uint32{1}, map[uint32]Fact{}},
			{Mailbox{"mail.example.org:993", "alice", "INBOX", 8}, []uint32{1}, map[uint32]Fact{}},
		} {
			if got, err = s.Get(ctx, tc.mailbox, tc.uids); err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v %v: %v, %v", tc.mailbox, tc.uids, got, err)
			}
		}
		if err = s.Forget(ctx, inbox, []uint32{2, 55}); err != nil {
			t.Error(err)
		}
		if got, err = s.Put(ctx, inbox, map[uint32]Fact{2: {Plain: true}}); err != nil || !got[2].Plain {
			t.Errorf("%v %v", got, err)
		}
	})
}

// TestCameEncrypted knows messages by account and Message-ID.
func TestCameEncrypted(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		if err := s.NoteEncrypted(t.Context(), "alice", []string{"1@example.org", "2@example.org", "1@example.org"}); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			account string
			ids     []string
			want    bool
		}{
			{"alice", []string{"1@example.org"}, true}, {"alice", []string{"x", "2@example.org"}, true}, {"alice", []string{"3@example.org"}, false},
			{"alice", nil, false}, {"bob", []string{"1@example.org"}, false},
		} {
			if got, err := s.CameEncrypted(t.Context(), tc.account, tc.ids); got != tc.want || err != nil {
				t.Errorf("%s %q: %v %v", tc.account, tc.ids, got, err)
			}
		}
	})
}

// TestMemoryBounded forgets what was used the longest time ago.
func TestMemoryBounded(t *testing.T) {
	m := NewMemory().(*memory)
	big := make([]byte, 1<<20)
	for uid := range uint32(100) {
		if _, err := m.Put(t.Context(), inbox, map[uint32]Fact{uid + 1: {Sealed: big}}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Get(t.Context(), inbox, []uint32{1}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.Get(t.Context(), inbox, []uint32{1, 2, 100})
	if _, ok := got[2]; err != nil || ok || len(got) != 2 || m.size > maxMemory {
		t.Errorf("%d of them, %d octets, %v", len(got), m.size, err)
	}
}

// TestRestart has the facts in the file after it was closed, and those of a
// mailbox that was made anew gone.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts")
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = d.Put(t.Context(), inbox, map[uint32]Fact{1: {Sealed: []byte("x")}}); err == nil {
		err = d.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	again := openDatabase(t, path)
	if got, getErr := again.Get(t.Context(), inbox, []uint32{1}); getErr != nil || !bytes.Equal(got[1].Sealed, []byte("x")) {
		t.Errorf("%v %v", got, getErr)
	}
	made := inbox
	made.Validity++
	if _, err = again.Put(t.Context(), made, map[uint32]Fact{1: {Plain: true}}); err != nil {
		t.Fatal(err)
	}
	if got, getErr := again.Get(t.Context(), inbox, []uint32{1}); getErr != nil || len(got) != 0 {
		t.Errorf("%v %v", got, getErr)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if info, statErr := os.Stat(name); runtime.GOOS != "windows" && (statErr != nil || info.Mode().Perm() != 0o600) {
			t.Errorf("%s: %v %v", name, info, statErr)
		}
	}
}

// TestConcurrent has two databases on one file, as two processes have, and all
// agree on what is first.
func TestConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts")
	both := []*Database{openDatabase(t, path), openDatabase(t, path)}
	var mu sync.Mutex
	seen := make(map[uint32]string)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for uid := uint32(1); uid <= 25; uid++ {
				got, err := both[n%2].Put(t.Context(), inbox, map[uint32]Fact{uid: {Sealed: []byte{byte(n)}}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if before, ok := seen[uid]; ok && before != string(got[uid].Sealed) {
					t.Errorf("%d: %q and %q", uid, before, got[uid].Sealed)
				}
				seen[uid] = string(got[uid].Sealed)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, tc := range map[string]struct {
		path string
		want error
	}{
		"exposed":   {file("exposed", "", 0o644), ErrExposed},
		"text":      {file("text", "this is no database at all, but some text, which is long enough", 0o600), ErrNotFacts},
		"folder":    {dir, ErrNotFacts},
		"no folder": {filepath.Join(dir, "none", "facts"), os.ErrNotExist},
	} {
		if runtime.GOOS == "windows" && name == "exposed" {
			continue
		}
		if d, err := Open(t.Context(), tc.path); d != nil || !errors.Is(err, tc.want) || !errors.As(err, new(*Error)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := openDatabase(t, filepath.Join(dir, "facts"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Put(ctx, inbox, map[uint32]Fact{1: {}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func BenchmarkGet(b *testing.B) {
	d := openDatabase(b, filepath.Join(b.TempDir(), "facts"))
	all, uids := make(map[uint32]Fact), make([]uint32, 1000)
	for i := range uids {
		uids[i] = uint32(i + 1)
		all[uids[i]] = Fact{Sealed: make([]byte, 800)}
	}
	if _, err := d.Put(b.Context(), inbox, all); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got, err := d.Get(b.Context(), inbox, uids); err != nil || len(got) != 1000 {
			b.Fatal(err)
		}
	}
}
