package mimeraw

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

var errSource = errors.New("the source failed")

// chunkReader gives the octets of its data in pieces of random sizes.
type chunkReader struct {
	data []byte
	rnd  *rand.Rand
	most int
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data[:min(len(r.data), 1+r.rnd.IntN(r.most))])
	r.data = r.data[n:]
	return n, nil
}

// chunked returns a reader of data whose pieces depend on seed.
func chunked(data []byte, seed uint64, most int) io.Reader {
	return &chunkReader{data: data, rnd: rand.New(rand.NewPCG(seed, 1)), most: most}
}

// writeChunked writes data to w in pieces whose sizes depend on seed.
func writeChunked(t testing.TB, w io.Writer, data []byte, seed uint64, most int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	for len(data) > 0 {
		n := min(len(data), rnd.IntN(most+1))
		m, err := w.Write(data[:n])
		if m != n || err != nil {
			t.Fatalf("Write of %d octets: %d, %v", n, m, err)
		}
		data = data[n:]
	}
}

// checkReader reads data through the reader that wrap makes, in several ways,
// and compares the result.
func checkReader(t *testing.T, wrap func(io.Reader) io.Reader, data, want []byte) {
	t.Helper()
	sources := map[string]func(io.Reader) io.Reader{
		"plain":   func(r io.Reader) io.Reader { return r },
		"one":     iotest.OneByteReader,
		"half":    iotest.HalfReader,
		"dataerr": iotest.DataErrReader,
	}
	for name, source := range sources {
		got, err := io.ReadAll(wrap(source(bytes.NewReader(data))))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: got %q, %v, want %q", name, got, err, want)
		}
		if err = iotest.TestReader(wrap(source(bytes.NewReader(data))), want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	r := wrap(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errSource)))
	if _, err := io.ReadAll(r); err != errSource {
		t.Fatalf("error of the source came as %v", err)
	}
	if n, err := r.Read(make([]byte, 8)); n != 0 || err != errSource {
		t.Fatalf("second error of the source came as %d, %v", n, err)
	}
}

// failWriter fails after a number of octets.
type failWriter struct{ left int }

func (w *failWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		n := w.left
		w.left = 0
		return n, errSource
	}
	w.left -= len(p)
	return len(p), nil
}

// checkWriterErrors writes through the writer that wrap makes to destinations
// that fail, and expects the error, again and again.
func checkWriterErrors(t *testing.T, wrap func(io.Writer) io.WriteCloser, data []byte) {
	t.Helper()
	for _, left := range []int{0, 1, 100} {
		w := wrap(&failWriter{left: left})
		_, err := w.Write(data)
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, errSource) {
			t.Fatalf("after %d octets: %v", left, err)
		}
		if _, err = w.Write([]byte("x")); !errors.Is(err, errSource) {
			t.Fatalf("Write after the error: %v", err)
		}
		if err = w.Close(); !errors.Is(err, errSource) {
			t.Fatalf("Close after the error: %v", err)
		}
	}
}
