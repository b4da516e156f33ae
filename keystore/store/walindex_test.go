package store

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// TestWALIndex has SQLite not asked while nothing is written, and asked after each
// write, by which the header changes.
func TestWALIndex(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("SQLite is always asked here")
	}
	s, other, w, _ := memoStore(t, Options{})
	ask := func() walHead {
		t.Helper()
		for range 2 { // the first finds the index
			must(s.SigningIdentity(t.Context(), alice))(t)
		}
		s.memo.mu.Lock()
		defer s.memo.mu.Unlock()
		if now, ok := s.memo.index.read(); !ok || now != s.memo.head {
			t.Fatalf("%x is known, %x is there: %t", s.memo.head, now, ok)
		}
		return s.memo.head
	}
	seen := map[walHead]bool{ask(): true}
	for _, who := range []*Store{s, other, s} {
		must(who.AddIdentity(t.Context(), w.identity(testpki.Profile{Email: alice})))(t)
		head := ask()
		if seen[head] {
			t.Errorf("%x again, after something was written", head)
		}
		seen[head] = true
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.memo.index.file != nil {
		t.Error("the index of a connection that is closed")
	}
}

// TestWALIndexNone has no index, and those that cannot be relied on: SQLite is asked.
func TestWALIndexNone(t *testing.T) {
	t.Parallel()
	good := bytes.Repeat([]byte{1}, 2*walHeader)
	if _, ok := (walIndex{bytes.NewReader(good)}).read(); !ok {
		t.Error("a header that is whole")
	}
	torn, empty := bytes.Clone(good), make([]byte, 2*walHeader)
	torn[walHeader+8]++
	for name, file := range map[string]io.ReaderAt{
		"none": nil, "torn": bytes.NewReader(torn), "empty": bytes.NewReader(empty), "short": bytes.NewReader(good[1:]), "broken": brokenIndex{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if h, ok := (walIndex{file}).read(); ok {
				t.Errorf("%x is a header", h)
			}
			s, other, _, id := memoStore(t, Options{})
			must(s.SigningIdentity(t.Context(), alice))(t)
			s.memo.mu.Lock()
			s.memo.index, s.memo.head = walIndex{file}, walHead{}
			s.memo.mu.Unlock()
			must(s.SigningIdentity(t.Context(), alice))(t)
			if err := other.RemoveIdentity(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if _, err := s.SigningIdentity(t.Context(), alice); !errors.As(err, new(*NoIdentityError)) {
				t.Errorf("after the identity was removed: %v", err)
			}
		})
	}
}

// A brokenIndex cannot be read.
type brokenIndex struct{}

func (brokenIndex) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }
