package mimeraw

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// encodeQP encodes in, written in pieces.
func encodeQP(t testing.TB, in []byte, seed uint64, most int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewQuotedPrintableWriter(&b)
	writeChunked(t, w, in, seed, most)
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestQuotedPrintableWriter(t *testing.T) {
	x75 := strings.Repeat("x", 75)
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"text\r\n", "text\r\n"},
		{"a=b\r\n\r\nc", "a=3Db\r\n\r\nc"},
		{"\xe4\x00\x7f", "=E4=00=7F"},
		{"a \r\nb\t\r\n c\td ", "a=20\r\nb=09\r\n c\td=20"},
		{"  \r\n", " =20\r\n"},
		{"a\nb\rc\r\r\n", "a=0Ab=0Dc=0D\r\n"},
		{"a \nb \rc", "a =0Ab =0Dc"},
		{"From me\r\nFrom \r\nFrom\r\nFro", "=46rom me\r\n=46rom=20\r\nFrom\r\nFro"},
		{".\r\n..\r\n.a\r\na.\r\n", "=2E\r\n=2E.\r\n=2Ea\r\na.\r\n"},
		{x75 + "\r\n" + x75 + "x\r\n", x75 + "\r\n" + x75 + "=\r\nx\r\n"},
		{x75 + ".\r\n", x75 + "=\r\n=2E\r\n"},
		{x75 + "From x", x75 + "=\r\n=46rom x"},
		{x75 + " \r\n", x75 + "=\r\n=20\r\n"},
		{x75[:74] + " \r\n", x75[:74] + "=\r\n=20\r\n"},
		{x75[:73] + "\xe4\r\n", x75[:73] + "=\r\n=E4\r\n"},
		{x75[:72] + "\xe4\r\n", x75[:72] + "=E4\r\n"},
	} {
		for seed := range uint64(10) {
			if got := encodeQP(t, []byte(test.in), seed, 1+int(seed)); string(got) != test.want {
				t.Errorf("%q: got %q, want %q", test.in, got, test.want)
				break
			}
		}
	}
	checkWriterErrors(t, NewQuotedPrintableWriter, bytes.Repeat([]byte("text \xe4\r\n"), 20000))
	checkWriterErrors(t, NewQuotedPrintableWriter, bytes.Repeat([]byte("text \xe4\r\n"), 20))
}

func TestQuotedPrintableReader(t *testing.T) {
	many := strings.Repeat(" ", 5000)
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"a=3Db=3db\r\n\n", "a=b=b\r\n\n"},
		{"a=\r\nb=\nc= \t\r\nd=  \ne", "abcde"},
		{"a \t\r\nb \nc \rd e ", "a\r\nb\nc \rd e"},
		{"a=20\r\n=20 =20", "a \r\n   "},
		{"a=", "a"},
		{"a= \t", "a"},
		{"=4", "=4"},
		{"=4G=G4==41= x=\rx=", "=4G=G4=A= x=\rx"},
		{"=\r", "=\r"},
		{"\xe4\x00\r", "\xe4\x00\r"},
		{strings.Repeat("x", 10000) + "=\r\ny", strings.Repeat("x", 10000) + "y"},
		{"a" + many[:4000] + "\r\nb", "a\r\nb"},
		{"a" + many + "b", "a" + many + "b"},
	} {
		if len(test.in) < 5000 {
			checkReader(t, NewQuotedPrintableReader, []byte(test.in+"."), []byte(qpEnd(test.in, test.want)))
		}
		for seed := range uint64(8) {
			got, err := io.ReadAll(NewQuotedPrintableReader(chunked([]byte(test.in), seed, 1+1000*int(seed))))
			if err != nil || string(got) != test.want {
				t.Errorf("%.40q: got %.40q, %v", test.in, got, err)
				break
			}
		}
	}
}

// qpEnd returns what in decodes to when a dot follows it, given what it decodes
// to at the end.
func qpEnd(in, want string) string {
	bare := strings.TrimRight(in, " \t")
	if strings.HasSuffix(bare, "=") {
		want += "="
	}
	return want + in[len(bare):] + "."
}

// checkEncodedQP checks what every encoded text must keep to.
func checkEncodedQP(t *testing.T, text []byte) {
	t.Helper()
	for _, line := range strings.Split(string(text), "\r\n") {
		if len(line) > 76 || strings.HasPrefix(line, "From ") || strings.HasPrefix(line, ".") || strings.TrimRight(line, " \t") != line {
			t.Fatalf("line %q", line)
		}
		for i := range len(line) {
			if c := line[i]; c != '\t' && (c < ' ' || c >= 0x7f) {
				t.Fatalf("line %q", line)
			}
		}
	}
}

func FuzzQuotedPrintable(f *testing.F) {
	for i, in := range []string{"text\r\n", "a=b \r\nFrom x\r\n.\r\n", "\xe4\n\r\r\n\t", strings.Repeat("x", 75) + "From =\r\n "} {
		f.Add([]byte(in), uint64(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		text := encodeQP(t, in, seed, 9)
		if again := encodeQP(t, in, seed+1, 1000); !bytes.Equal(text, again) {
			t.Fatalf("%q or %q", text, again)
		}
		checkEncodedQP(t, text)
		back, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(text)))
		if err != nil || !bytes.Equal(back, in) {
			t.Fatalf("the standard library reads %q as %q, %v", text, back, err)
		}
		back, err = io.ReadAll(NewQuotedPrintableReader(chunked(text, seed, 9)))
		if err != nil || !bytes.Equal(back, in) {
			t.Fatalf("%q is read as %q, %v", text, back, err)
		}
		// Any cutting of any input gives the same result, and what the
		// standard library writes is read as it was.
		a, errA := io.ReadAll(NewQuotedPrintableReader(bytes.NewReader(in)))
		b, errB := io.ReadAll(NewQuotedPrintableReader(chunked(in, seed, 5)))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Fatalf("%q, %v or %q, %v", a, errA, b, errB)
		}
		var other bytes.Buffer
		w := quotedprintable.NewWriter(&other)
		w.Binary = true
		if _, err = w.Write(in); err != nil {
			t.Fatal(err)
		}
		if err = w.Close(); err != nil {
			t.Fatal(err)
		}
		if a, err = io.ReadAll(NewQuotedPrintableReader(&other)); err != nil || !bytes.Equal(a, in) {
			t.Fatalf("%q, %v, want %q", a, err, in)
		}
	})
}

func BenchmarkQuotedPrintableWriter(b *testing.B) {
	data := bytes.Repeat([]byte("A line of text with a few words, and an \xc3\xa4 in it.\r\n"), 20000)
	w := NewQuotedPrintableWriter(io.Discard)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuotedPrintableReader(b *testing.B) {
	data := encodeQP(b, bytes.Repeat([]byte("A line of text with a few words, and an \xc3\xa4 in it.\r\n"), 20000), 1, 1<<20)
	src := bytes.NewReader(data)
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		src.Reset(data)
		r := NewQuotedPrintableReader(src)
		for {
			if _, err := r.Read(buf); err == io.EOF {
				break
			}
		}
	}
}
