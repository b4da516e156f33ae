package stage

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"
)

// TestWriter: whatever comes in, in parts of any size, by Write or by ReadFrom,
// goes out, beside the caller or not.
func TestWriter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for i := range 40 {
		before := runtime.GOMAXPROCS(1 + i%2*3)
		var want, got bytes.Buffer
		w := NewWriter(&got)
		for range rng.IntN(8) {
			part := make([]byte, rng.IntN(2*Size))
			for j := range part {
				part[j] = byte(rng.Uint32())
			}
			want.Write(part)
			if rng.IntN(2) == 0 {
				lent := w.Lend()
				n := min(cap(lent), len(part))
				lent = append(lent, part[:n]...)
				for _, part := range [][]byte{lent, part[n:]} {
					if n, err := w.Write(part); n != len(part) || err != nil {
						t.Fatal(n, err)
					}
				}
				continue
			}
			var src io.Reader = bytes.NewReader(part)
			if rng.IntN(2) == 0 {
				src = iotest.DataErrReader(iotest.HalfReader(src))
			}
			if n, err := w.ReadFrom(src); n != int64(len(part)) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Flush(); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d octets of %d: %v", got.Len(), want.Len(), err)
		}
		w.Stop()
		w.Stop()
		runtime.GOMAXPROCS(before)
	}
}

// TestWorker: all blocks but the last one have the size that was asked for, and
// what completes the last one is in it.
func TestWorker(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for procs := 1; procs <= 2; procs++ {
		runtime.GOMAXPROCS(procs)
		for length := range 40 {
			var got, sizes []byte
			w := NewWorker(16, func(p []byte) error {
				for i := range p {
					p[i] ^= 1
				}
				return nil
			}, func(q *Queue, b *Block) error {
				got = append(got, b.Buf...)
				sizes = append(sizes, byte(len(b.Buf)))
				q.Reuse(b)
				return nil
			})
			if n, err := w.Write(make([]byte, length)); n != length || err != nil {
				t.Fatal(n, err)
			}
			if n := w.Buffered(); n != length%16 {
				t.Errorf("%d octets of %d are gathered", n, length)
			}
			if err := w.Flush(make([]byte, 16)...); err != nil {
				t.Fatal(err)
			}
			w.Stop()
			full := bytes.Repeat([]byte{16}, length/16)
			if !bytes.Equal(got, bytes.Repeat([]byte{1}, length+16)) || !bytes.Equal(sizes, append(full, byte(length%16+16))) {
				t.Errorf("%d octets: %d came, in blocks of %v", length, len(got), sizes)
			}
		}
	}
}

type brokenWriter struct{ n int }

var errBroken = errors.New("broken")

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.n--; b.n < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestWriterFails: an error of the destination is told by a later call, and Flush
// at the latest; one of the source at once.
func TestWriterFails(t *testing.T) {
	for good := range 3 {
		w := NewWriter(&brokenWriter{n: good})
		_, err := w.ReadFrom(bytes.NewReader(make([]byte, (good+1)*Size)))
		if err == nil {
			err = w.Flush()
		}
		if err != errBroken {
			t.Errorf("after %d blocks: %v", good, err)
		}
		w.Stop()
	}
	var got bytes.Buffer
	w := NewWriter(&got)
	defer w.Stop()
	n, err := w.ReadFrom(io.MultiReader(bytes.NewReader([]byte("half")), iotest.ErrReader(errBroken)))
	if n != 4 || err != errBroken {
		t.Error(n, err)
	}
	if err = w.Flush(); err != nil || got.String() != "half" {
		t.Errorf("%q, %v", got.String(), err)
	}
}
