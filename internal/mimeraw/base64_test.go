package mimeraw

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// randomBytes returns n octets that depend on seed.
func randomBytes(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 9))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rnd.Uint32())
	}
	return out
}

// modelBase64 encodes with the standard library, in lines.
func modelBase64(in []byte) []byte {
	var out []byte
	for text := base64.StdEncoding.EncodeToString(in); text != ""; {
		n := min(len(text), 76)
		out = append(append(out, text[:n]...), "\r\n"...)
		text = text[n:]
	}
	return out
}

func TestBase64Writer(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 56, 57, 58, 113, 114, 1000, 57 * 420, 57*420 + 1, 57*421 - 1, 100000} {
		data := randomBytes(n, 1)
		want := modelBase64(data)
		for seed := range uint64(5) {
			var b bytes.Buffer
			w := NewBase64Writer(&b)
			writeChunked(t, w, data, seed, []int{1, 57, 100, 5000, 200000}[seed])
			for range 2 {
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%d octets: wrong", n)
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Error("Write after Close")
			}
		}
	}
	checkWriterErrors(t, NewBase64Writer, randomBytes(100000, 2))
	checkWriterErrors(t, NewBase64Writer, randomBytes(200, 2))
}

func TestBase64Writer_noAllocation(t *testing.T) {
	w := NewBase64Writer(io.Discard)
	data := randomBytes(40000, 1)
	if n := testing.AllocsPerRun(10, func() { _, _ = w.Write(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBase64Reader(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{" \r\n\t", ""},
		{"QQ==", "A"},
		{"QQ=", "A"},
		{"QQ", "A"},
		{"QUI=", "AB"},
		{"QUI", "AB"},
		{"QUJD", "ABC"},
		{"QUJD=", "ABC"},
		{"QR==", "A"},
		{"Q\r\nU\nJ D\tQ\vQ=\f=\r\n", "ABCA"},
		{"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		{"QQ==QUJD", "AABC"},
		{"QQ==\r\nQUJD\r\nQkM=\r\n", "AABCBC"},
		{"QQ==\r\n\r\n" + strings.Repeat("QUJD", 2000), "A" + strings.Repeat("ABC", 2000)},
		{"QQ==\r\n--\r\nfooter", "A"},
		{"QQ==\r\n-", "A"},
		{"QUJD\r\n-- \r\nfooter", "ABC"},
		{"QUI\r\n--boundary", "AB"},
		{"QQ==\r\n_______________\r\nlist", "A"},
		{"QQ==\r\nThis is text", "A"},
		{"QQ== This is text", "A"},
		{"QQ==\r\n QUJD  \r\n", "AABC"},
	} {
		checkBase64(t, test.in, test.want)
	}
	checkReader(t, func(src io.Reader) io.Reader { return NewBase64Reader(src) }, modelBase64(randomBytes(1000, 1)), randomBytes(1000, 1))
}

// checkBase64 decodes in and expects want, however the source is cut.
func checkBase64(t *testing.T, in, want string) {
	t.Helper()
	for seed := range uint64(8) {
		got, err := io.ReadAll(NewBase64Reader(chunked([]byte(in), seed, 1+int(seed))))
		if err != nil || string(got) != want {
			t.Errorf("%.40q: %.40q, %v", in, got, err)
			return
		}
	}
}

func TestBase64ReaderErrors(t *testing.T) {
	for in, offset := range map[string]int64{
		"QUJD*": 4, "-": 0, "--": 0, "QU-D": 2, "QUJD-": 4, "QUJD --": 5, "QUJD\r\n-x": 6, "=": 0, "QUJDQ=": 5,
		"QUJD\x00": 4, "QQ==\r\nQUJD\r\nQU_D": 14, "\xef\xbb\xbfQUJD": 0, strings.Repeat("QUJD", 20000) + "!": 80000,
		"QQ==\r\n" + strings.Repeat("QUJD", 300) + "!": 1206,
	} {
		var first []byte
		for seed := range uint64(6) {
			r := NewBase64Reader(chunked([]byte(in), seed, 1+int(seed)*1000))
			got, err := io.ReadAll(r)
			var illegal *Base64Error
			if !errors.As(err, &illegal) || illegal.Offset != offset {
				t.Errorf("%.40q: %v", in, err)
				break
			}
			if seed == 0 {
				first = got
			}
			if !bytes.Equal(got, first) {
				t.Errorf("%.40q: decoded octets depend on the source", in)
			}
			if _, err = r.Read(make([]byte, 1)); !errors.As(err, &illegal) {
				t.Errorf("%.40q: second error %v", in, err)
			}
		}
	}
	for _, in := range []string{"Q", "QUJDQ", "QUJDQ\r\n--x", "QQ==Q"} {
		if _, err := io.ReadAll(NewBase64Reader(strings.NewReader(in))); err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzBase64Reader(f *testing.F) {
	for i, in := range []string{"QQ==", "QUJD\r\nQUI", "QQ==\r\n--x", "Q=", "QUJD-", "=", strings.Repeat("QUJD", 400) + "==x"} {
		f.Add([]byte(in), uint64(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		// Any cutting of any input gives the same result.
		a, errA := io.ReadAll(NewBase64Reader(bytes.NewReader(in)))
		b, errB := io.ReadAll(io.LimitReader(NewBase64Reader(chunked(in, seed, 40)), int64(len(in))+1))
		var x, y *Base64Error
		if errors.As(errA, &x) != errors.As(errB, &y) || x != nil && *x != *y || x == nil && errA != errB || !bytes.Equal(a, b) {
			t.Fatalf("%q, %v or %q, %v", a, errA, b, errB)
		}
		if x != nil && (x.Offset < 0 || x.Offset >= int64(len(in))) {
			t.Fatalf("offset %d of %d", x.Offset, len(in))
		}
		// What the standard library accepts gives the same octets.
		if want, err := base64.StdEncoding.AppendDecode(nil, in); err == nil && (errA != nil || !bytes.Equal(a, want)) {
			t.Fatalf("%q, %v, want %q", a, errA, want)
		}
		// Clean input comes back.
		var text bytes.Buffer
		w := NewBase64Writer(&text)
		writeChunked(t, w, in, seed, 100)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text.Bytes(), modelBase64(in)) {
			t.Fatalf("encoded as %q", text.Bytes())
		}
		back, err := io.ReadAll(NewBase64Reader(chunked(text.Bytes(), seed, 90)))
		if err != nil || !bytes.Equal(back, in) {
			t.Fatalf("%q came back as %q, %v", in, back, err)
		}
	})
}

// Vectors decode to what one octet after the other is decoded to, and find the
// same faults, whatever is in the lines and wherever the source is cut.
func TestBase64ReaderVectors(t *testing.T) {
	rnd := rand.New(rand.NewPCG(20, 45))
	noise := []string{" ", "\t", "\r", "\n", "\r\n", "=", "==", "-", "--", "\x00", "*", "\xff", "QUJD", "Q", "QU"}
	for range 2000 {
		end := []string{"\r\n", "\n"}[rnd.IntN(2)]
		width := []int{76, 64, 4 * (1 + rnd.IntN(200)), 1 + rnd.IntN(90)}[rnd.IntN(4)]
		var in []byte
		for text := base64.StdEncoding.EncodeToString(randomBytes(rnd.IntN(20000), rnd.Uint64())); text != ""; {
			n := min(len(text), width)
			in = append(append(in, text[:n]...), end...)
			text = text[n:]
		}
		for range rnd.IntN(3) {
			at := rnd.IntN(len(in) + 1)
			in = slices.Insert(in, at, []byte(noise[rnd.IntN(len(noise))])...)
		}
		slow := NewBase64Reader(bytes.NewReader(in))
		slow.plainAt = math.MaxInt64
		want, wantErr := io.ReadAll(slow)
		got, err := io.ReadAll(NewBase64Reader(chunked(in, rnd.Uint64(), 1+rnd.IntN(40000))))
		if !bytes.Equal(got, want) || !reflect.DeepEqual(err, wantErr) {
			t.Fatalf("%d octets and %v, want %d and %v, of %q", len(got), err, len(want), wantErr, in)
		}
	}
}

func BenchmarkBase64Writer(b *testing.B) {
	data := randomBytes(1<<20, 1)
	w := NewBase64Writer(io.Discard)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkBase64Reader(b *testing.B, text []byte) {
	src := bytes.NewReader(text)
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		src.Reset(text)
		r := NewBase64Reader(src)
		for {
			if _, err := r.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkBase64Reader(b *testing.B) {
	benchmarkBase64Reader(b, modelBase64(randomBytes(1<<20, 1)))
}
func BenchmarkBase64Reader64LF(b *testing.B) {
	text := base64.StdEncoding.EncodeToString(randomBytes(1<<20/48*48, 1))
	var lines []byte
	for ; text != ""; text = text[64:] {
		lines = append(append(lines, text[:64]...), '\n')
	}
	benchmarkBase64Reader(b, lines)
}

// A lendingBuffer lends what its blocks of a size have left.
type lendingBuffer struct {
	size  int
	block []byte
	out   bytes.Buffer
	lent  int // octets that were written where they had been lent
}

func (l *lendingBuffer) Lend() []byte { return l.block[len(l.block):len(l.block):l.size] }

func (l *lendingBuffer) Write(p []byte) (int, error) {
	if rest := l.Lend(); cap(rest) >= len(p) && len(p) > 0 && &rest[:1][0] == &p[0] {
		l.lent += len(p)
	}
	l.out.Write(p)
	l.block = l.block[:(len(l.block)+len(p))%l.size]
	return len(p), nil
}

// TestBase64WriterLender: with memory of the destination, however much of it there is
// at a time, the same is written.
func TestBase64WriterLender(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	lent := 0
	for range 200 {
		size := 1 + rng.IntN(1000)
		dst := &lendingBuffer{size: size, block: make([]byte, 0, size)}
		var want bytes.Buffer
		w, plain := NewBase64Writer(dst), NewBase64Writer(&want)
		for range rng.IntN(5) {
			part := make([]byte, rng.IntN(2000))
			for i := range part {
				part[i] = byte(rng.Uint32())
			}
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
			if _, err := plain.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), plain.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dst.out.Bytes(), want.Bytes()) {
			t.Errorf("blocks of %d octets: %d octets in place of %d", size, dst.out.Len(), want.Len())
		}
		lent += dst.lent
	}
	if lent == 0 {
		t.Error("no memory was ever lent")
	}
}

// A poorLender has nothing to lend.
type poorLender struct{ writes int }

func (l *poorLender) Lend() []byte { return nil }

func (l *poorLender) Write(p []byte) (int, error) {
	l.writes++
	return len(p), nil
}

// TestBase64WriterPoorLender: what does not lend gets large pieces all the same.
func TestBase64WriterPoorLender(t *testing.T) {
	dst := &poorLender{}
	w := NewBase64Writer(dst)
	if _, err := w.Write(make([]byte, 10*blockSize)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil || dst.writes > 15 {
		t.Errorf("%d writes, %v", dst.writes, err)
	}
}
