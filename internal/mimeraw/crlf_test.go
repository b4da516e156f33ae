package mimeraw

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// modelCRLF converts octet by octet.
func modelCRLF(in []byte) []byte {
	var out []byte
	for i, c := range in {
		if c == '\n' && (i == 0 || in[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

var crlfCases = []string{
	"", "a", "\n", "\r", "\r\n", "\n\n", "\r\r\n\n", "a\nb\r\nc\rd\n", "a\r\n\nb\n\r", "\n\r\n\r\r\n",
	strings.Repeat("line\n", 20000),
	strings.Repeat("line\r\n", 20000),
	strings.Repeat("x", blockSize-1) + "\n" + strings.Repeat("x", blockSize) + "\r\n" + strings.Repeat("y", blockSize-3) + "\n\n\n",
	strings.Repeat("x", blockSize/2) + "\n" + strings.Repeat("\n", blockSize),
}

func TestCRLFReader(t *testing.T) {
	for _, in := range crlfCases {
		if len(in) > 1000 {
			got, err := io.ReadAll(NewCRLFReader(chunked([]byte(in), 1, 70000)))
			if err != nil || !bytes.Equal(got, modelCRLF([]byte(in))) {
				t.Errorf("%.20q...: wrong, %v", in, err)
			}
			continue
		}
		checkReader(t, NewCRLFReader, []byte(in), modelCRLF([]byte(in)))
	}
}

func TestCRLFWriter(t *testing.T) {
	for _, in := range crlfCases {
		want := modelCRLF([]byte(in))
		for seed := range uint64(6) {
			var b bytes.Buffer
			w := NewCRLFWriter(&b)
			writeChunked(t, w, []byte(in), seed, []int{1, 3, 100, 5000, 40000, 200000}[seed])
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%.40q: wrong (%d octets, want %d)", in, b.Len(), len(want))
			}
			if w.Changed() != (len(want) != len(in)) {
				t.Errorf("%.40q: Changed is %v", in, w.Changed())
			}
		}
	}
	for _, in := range []string{"abc", "a\nb", strings.Repeat("x", blockSize) + "\n"} {
		w := NewCRLFWriter(&failWriter{left: 1})
		for range 2 {
			if _, err := w.Write([]byte(in)); !errors.Is(err, errSource) || !errors.Is(w.Flush(), errSource) {
				t.Errorf("error of the destination: %v, %v", err, w.Flush())
			}
		}
	}
}

func FuzzCRLF(f *testing.F) {
	for i, in := range crlfCases[:10] {
		f.Add([]byte(in), uint64(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		want := modelCRLF(in)
		var b bytes.Buffer
		writeChunked(t, NewCRLFWriter(&b), in, seed, 7)
		if !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("writer: %q, want %q", b.Bytes(), want)
		}
		got, err := io.ReadAll(NewCRLFReader(chunked(in, seed, 7)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("reader: %q, %v, want %q", got, err, want)
		}
		b.Reset()
		w := NewCRLFWriter(&b)
		writeChunked(t, w, want, seed, 7)
		if !bytes.Equal(b.Bytes(), want) || w.Changed() {
			t.Fatalf("not idempotent: %q becomes %q", want, b.Bytes())
		}
	})
}

func benchmarkCRLFWriter(b *testing.B, line string) {
	data := []byte(strings.Repeat(line, (1<<20)/len(line)))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		w := NewCRLFWriter(io.Discard)
		for p := data; len(p) > 0; {
			n := min(len(p), 32<<10)
			if _, err := w.Write(p[:n]); err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
	}
}

func BenchmarkCRLFWriterCRLF(b *testing.B) {
	benchmarkCRLFWriter(b, strings.Repeat("x", 76)+"\r\n")
}
func BenchmarkCRLFWriterLF(b *testing.B) { benchmarkCRLFWriter(b, strings.Repeat("x", 76)+"\n") }

func benchmarkCRLFReader(b *testing.B, line string) {
	data := []byte(strings.Repeat(line, (1<<20)/len(line)))
	src := bytes.NewReader(data)
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		src.Reset(data)
		r := NewCRLFReader(src)
		for {
			if _, err := r.Read(buf); err == io.EOF {
				break
			}
		}
	}
}

func BenchmarkCRLFReaderCRLF(b *testing.B) {
	benchmarkCRLFReader(b, strings.Repeat("x", 76)+"\r\n")
}
func BenchmarkCRLFReaderLF(b *testing.B) { benchmarkCRLFReader(b, strings.Repeat("x", 76)+"\n") }

// What a Scan finds to have no bare LF can be written as it is, and the Scan
// reports the same of content before and after its line ends were made canonical.
func TestCRLFWriterAfterScan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		in := make([]byte, r.IntN(40))
		for i := range in {
			in[i] = "ab \r\n\n\r\x00\xff"[r.IntN(9)]
		}
		var want, got bytes.Buffer
		_, _ = NewCRLFWriter(&want).Write(in)
		var raw, canonical Scan
		_, _ = canonical.Write(want.Bytes())
		w := NewCRLFWriter(&got)
		for rest := in; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			write := w.WriteCanonical
			if raw.Look(rest[:n]) {
				write = w.Write
			}
			if done, err := write(rest[:n]); done != n || err != nil {
				t.Fatalf("%d of %d: %v", done, n, err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("%q became %q, want %q", in, &got, &want)
		}
		a, b := report(&raw), report(&canonical)
		a.lf, b.lf = false, false
		if a != b {
			t.Fatalf("%q: %v as it is, %v in canonical form", in, a, b)
		}
	}
}
