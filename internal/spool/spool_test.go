package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/postseal/postseal/internal/stage"
)

// pattern returns n octets that differ from place to place.
func pattern(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

// fill writes data to b in pieces of random sizes.
func fill(t testing.TB, b *Buffer, data []byte, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for len(data) > 0 {
		n := min(len(data), 1+rnd.IntN(chunkSize+chunkSize/2))
		m, err := b.Write(data[:n])
		if m != n || err != nil {
			t.Fatalf("Write of %d octets: %d, %v", n, m, err)
		}
		data = data[n:]
	}
}

// watchFiles calls see with every temporary file until the test ends.
func watchFiles(t *testing.T, see func(*os.File)) {
	t.Helper()
	fileHook = see
	t.Cleanup(func() { fileHook = nil })
}

func TestSizes(t *testing.T) {
	for _, memory := range []int{-1, 1, 100, firstChunk, firstChunk + 1, firstChunk + chunkSize, 300000} {
		stays := max(memory, 0)
		for _, extra := range []int{-1, 0, 1, 15, 16, 17, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5, blockSize, 2*blockSize + 1} {
			if stays+extra < 0 {
				continue
			}
			for _, public := range []bool{false, true} {
				files := 0
				watchFiles(t, func(*os.File) { files++ })
				data := pattern(stays + extra)
				b := New(Options{Memory: memory, Dir: t.TempDir(), Public: public})
				fill(t, b, data, uint64(extra+1))
				name := fmt.Sprintf("memory %d, data %d, public %v", memory, len(data), public)
				if b.Size() != int64(len(data)) {
					t.Errorf("%s: Size is %d", name, b.Size())
				}
				if want := min(1, max(0, extra)); files != want {
					t.Errorf("%s: %d files", name, files)
				}
				if got, err := io.ReadAll(b.NewReader()); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s: read wrong, %v", name, err)
				}
				randomReads(t, name, b, data)
				if err := b.Close(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// randomReads compares pieces at random places.
func randomReads(t *testing.T, name string, b *Buffer, data []byte) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 40 {
		off := rnd.IntN(len(data) + 1)
		p := make([]byte, rnd.IntN(50))
		if rnd.IntN(4) == 0 {
			p = make([]byte, rnd.IntN(len(data)+10))
		}
		n, err := b.ReadAt(p, int64(off))
		want := data[off:min(len(data), off+len(p))]
		if !bytes.Equal(p[:n], want) || (err == io.EOF) != (len(want) < len(p)) || err != nil && err != io.EOF {
			t.Fatalf("%s: ReadAt %d, %d: %d, %v", name, off, len(p), n, err)
		}
	}
}

func TestReader(t *testing.T) {
	data := pattern(2*chunkSize + 100)
	b := New(Options{Memory: 1000, Dir: t.TempDir()})
	if err := iotest.TestReader(b.NewReader(), nil); err != nil {
		t.Error(err)
	}
	fill(t, b, data, 1)
	if err := iotest.TestReader(b.NewReader(), data); err != nil {
		t.Error(err)
	}
	if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset is no error")
	}
	if n, err := b.ReadAt(make([]byte, 1), 1<<62); n != 0 || err != io.EOF {
		t.Errorf("far behind the end: %d, %v", n, err)
	}
	// A reader sees what was there when it was made.
	r := b.NewReader()
	fill(t, b, data, 2)
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("reader after more was written: %d octets, %v", len(got), err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentReaders(t *testing.T) {
	first, second := pattern(5*chunkSize+7), pattern(3*chunkSize)
	b := New(Options{Memory: chunkSize, Dir: t.TempDir()})
	fill(t, b, first, 1)
	var wg sync.WaitGroup
	for range 4 {
		r := b.NewReader()
		wg.Go(func() {
			for range 5 {
				got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
				if err != nil || !bytes.Equal(got, first) {
					t.Errorf("read %d octets, %v", len(got), err)
				}
			}
		})
	}
	fill(t, b, second, 2)
	wg.Wait()
	if got, err := io.ReadAll(b.NewReader()); err != nil || !bytes.Equal(got, append(first, second...)) {
		t.Errorf("at the end: %d octets, %v", len(got), err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// settle waits until all full blocks are in the file.
func settle(t *testing.T, b *Buffer) {
	t.Helper()
	if _, err := b.ReadAt(make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
}

// TestFile looks at the temporary file itself.
func TestFile(t *testing.T) {
	marker := []byte("these words must not be found in the file ")
	data := bytes.Repeat(marker, 10*blockSize/len(marker))
	for _, public := range []bool{false, true} {
		dir := t.TempDir()
		var file *os.File
		watchFiles(t, func(f *os.File) { file = f })
		b := New(Options{Memory: -1, Dir: dir, Public: public})
		fill(t, b, data, 1)
		if file == nil {
			t.Fatal("no file")
		}
		settle(t, b)
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		stored := make([]byte, info.Size())
		if _, err = file.ReadAt(stored, 0); err != nil {
			t.Fatal(err)
		}
		if len(stored) < len(data)-blockSize {
			t.Errorf("the file holds %d octets of %d", len(stored), len(data))
		}
		if bytes.Contains(stored, marker[:12]) != public {
			t.Errorf("public %v: the file holds the words: %v", public, !public)
		}
		if names, globErr := filepath.Glob(filepath.Join(dir, "*")); runtime.GOOS != "windows" && (globErr != nil || len(names) != 0) {
			t.Errorf("the file has a name: %q, %v", names, globErr)
		}
		key := []byte{0}
		if !public {
			if key = b.disk.key; bytes.Equal(key, make([]byte, 32)) {
				t.Error("the key is zero")
			}
		}
		if err = b.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(key, make([]byte, len(key))) {
			t.Error("Close left the key")
		}
		if _, err = file.Stat(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("the file after Close: %v", err)
		}
		if names, globErr := filepath.Glob(filepath.Join(dir, "*")); globErr != nil || len(names) != 0 {
			t.Errorf("Close left %q, %v", names, globErr)
		}
	}
}

// TestKeyStream checks that no part of the key stream is used twice.
func TestKeyStream(t *testing.T) {
	var file *os.File
	watchFiles(t, func(f *os.File) { file = f })
	b := New(Options{Memory: -1, Dir: t.TempDir()})
	fill(t, b, make([]byte, 4*blockSize), 1)
	settle(t, b)
	stored := make([]byte, 4*blockSize)
	if _, err := file.ReadAt(stored, 0); err != nil {
		t.Fatal(err)
	}
	seen := map[[16]byte]bool{}
	for i := 0; i < len(stored); i += 16 {
		block := [16]byte(stored[i:])
		if seen[block] {
			t.Fatalf("block %d was there before", i/16)
		}
		seen[block] = true
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLimit(t *testing.T) {
	for _, memory := range []int{-1, 50, 1000} {
		b := New(Options{Memory: memory, Limit: 100, Dir: t.TempDir()})
		data := pattern(101)
		if n, err := b.Write(data[:60]); n != 60 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := b.Write(data[60:]); n != 40 || err != ErrLimit {
			t.Errorf("Write beyond the limit: %d, %v", n, err)
		}
		if n, err := b.Write(nil); n != 0 || err != ErrLimit {
			t.Errorf("Write after that: %d, %v", n, err)
		}
		if got, err := io.ReadAll(b.NewReader()); err != nil || !bytes.Equal(got, data[:100]) {
			t.Errorf("got %d octets, %v", len(got), err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	b := New(Options{Limit: 100})
	if n, err := b.Write(make([]byte, 100)); n != 100 || err != nil {
		t.Errorf("Write up to the limit: %d, %v", n, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	for _, size := range []int{0, 10, 3 * blockSize} {
		b := New(Options{Memory: 100, Dir: t.TempDir()})
		fill(t, b, pattern(size), 1)
		r := b.NewReader()
		var inMemory []byte
		if size > 0 {
			inMemory = b.chunks[0].buf
		}
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if !bytes.Equal(inMemory, make([]byte, len(inMemory))) {
			t.Error("Close left data in memory")
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if _, err := b.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("ReadAt: %v", err)
		}
		if _, err := r.Read(make([]byte, 1)); size > 0 && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if b.Size() != int64(size) {
			t.Errorf("Size: %d", b.Size())
		}
	}
}

func TestNoFolder(t *testing.T) {
	b := New(Options{Memory: 100, Dir: filepath.Join(t.TempDir(), "none")})
	data := pattern(150)
	n, err := b.Write(data)
	if n != 100 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if _, err = b.Write(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second Write: %v", err)
	}
	got, err := io.ReadAll(b.NewReader())
	if err != nil || !bytes.Equal(got, data[:100]) {
		t.Errorf("what was taken before: %d octets, %v", len(got), err)
	}
	if err = b.Close(); err != nil {
		t.Error(err)
	}
}

// TestFileFails closes the file behind the back of the Buffer.
func TestFileFails(t *testing.T) {
	var file *os.File
	watchFiles(t, func(f *os.File) { file = f })
	b := New(Options{Memory: -1, Dir: t.TempDir()})
	data := pattern(4 * blockSize)
	fill(t, b, data[:blockSize/2], 1)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := b.Write(data[blockSize/2:])
	taken := blockSize
	if stage.Parallel() {
		taken = 2 * blockSize // one is gathered while the one before fails
	}
	if n != taken-blockSize/2 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if _, err = b.Write(data); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Write: %v", err)
	}
	got, err := io.ReadAll(b.NewReader())
	if err != nil || !bytes.Equal(got, data[:taken]) {
		t.Errorf("what was taken before: %d octets, %v", len(got), err)
	}
	if err = b.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

// TestFileCut truncates the file behind the back of the Buffer.
func TestFileCut(t *testing.T) {
	var file *os.File
	watchFiles(t, func(f *os.File) { file = f })
	b := New(Options{Memory: -1, Dir: t.TempDir()})
	fill(t, b, pattern(2*blockSize), 1)
	settle(t, b)
	if err := file.Truncate(100); err != nil {
		t.Fatal(err)
	}
	if n, err := b.ReadAt(make([]byte, 200), 0); n != 100 || err != io.ErrUnexpectedEOF {
		t.Errorf("ReadAt: %d, %v", n, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestMemory checks that a large Buffer takes no more memory than it says.
func TestMemory(t *testing.T) {
	block := []byte(strings.Repeat("x", 10000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b := New(Options{Dir: t.TempDir()})
	for range 3200 {
		if _, err := b.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > DefaultMemory+4*stage.Size {
		t.Errorf("%d octets were allocated", n)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func benchmarkWrite(b *testing.B, opts Options) {
	const size = 64 << 20
	block := make([]byte, 32<<10)
	opts.Dir = b.TempDir()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		s := New(opts)
		for range size / len(block) {
			if _, err := s.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B)       { benchmarkWrite(b, Options{}) }
func BenchmarkWritePublic(b *testing.B) { benchmarkWrite(b, Options{Public: true}) }
func BenchmarkWriteMemory(b *testing.B) { benchmarkWrite(b, Options{Memory: 64 << 20}) }

func benchmarkRead(b *testing.B, opts Options) {
	const size = 64 << 20
	opts.Dir = b.TempDir()
	s := New(opts)
	fill(b, s, make([]byte, size), 1)
	buf := make([]byte, 32<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		r := s.NewReader()
		for {
			if _, err := r.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkRead(b *testing.B)       { benchmarkRead(b, Options{}) }
func BenchmarkReadPublic(b *testing.B) { benchmarkRead(b, Options{Public: true}) }
