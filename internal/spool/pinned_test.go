package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/postseal/postseal/internal/stage"
)

func newPinned(t *testing.T, data []byte) *Pinned {
	t.Helper()
	p, err := NewPinned(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPinned(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 8))
	for _, size := range []int{0, 1, stage.Size - 1, stage.Size, stage.Size + 1, 3*stage.Size + 17} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		p := newPinned(t, data)
		for range 2 {
			got, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size()))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d octets: %d, %v", size, len(got), err)
			}
		}
		for range 20 {
			off, n := rng.IntN(size+1), rng.IntN(size+10)
			got := make([]byte, n)
			m, err := p.ReadAt(got, int64(off))
			if want := min(n, size-off); m != want || !bytes.Equal(got[:m], data[off:off+m]) || (m < n) != (err == io.EOF) {
				t.Fatalf("%d octets at %d of %d: %d, %v", n, off, size, m, err)
			}
		}
		if _, err := p.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("a negative offset")
		}
	}
}

// Any octet that changes is seen when its block is read again, and never given.
func TestPinnedChanged(t *testing.T) {
	data := make([]byte, 3*stage.Size+5)
	for _, at := range []int{0, stage.Size - 1, stage.Size, 2*stage.Size + 1, len(data) - 1} {
		p := newPinned(t, data)
		if _, err := io.Copy(io.Discard, io.NewSectionReader(p, 0, p.Size())); err != nil {
			t.Fatal(err)
		}
		// The block that was read last is held.
		if _, err := p.ReadAt(make([]byte, 1), int64((at/stage.Size+1)%3*stage.Size)); err != nil {
			t.Fatal(err)
		}
		data[at] ^= 1
		got, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size()))
		if !errors.Is(err, ErrChanged) || len(got) > at {
			t.Errorf("octet %d was changed: %d octets, %v", at, len(got), err)
		}
		if _, err = p.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrChanged) {
			t.Errorf("the error did not stay: %v", err)
		}
		data[at] ^= 1
	}
}

func TestPinnedShort(t *testing.T) {
	p, err := NewPinned(bytes.NewReader(make([]byte, 10)), 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.ReadAt(make([]byte, 15), 0); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	failure := errors.New("failure")
	if p, err = NewPinned(failingReaderAt{failure}, 20); err != nil {
		t.Fatal(err)
	}
	if _, err = p.ReadAt(make([]byte, 15), 0); err != failure {
		t.Error(err)
	}
}

type failingReaderAt struct{ err error }

func (f failingReaderAt) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func BenchmarkPinned(b *testing.B) {
	p, err := NewPinned(bytes.NewReader(make([]byte, 16<<20)), 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	b.SetBytes(p.Size())
	for b.Loop() {
		for off := int64(0); off < p.Size(); off += int64(len(buf)) {
			if _, err = p.ReadAt(buf, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}
