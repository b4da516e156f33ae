package mimeraw

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// flags are what a Scan reports.
type flags struct{ has8Bit, nul, long, space, from, lf, cr bool }

func report(s *Scan) flags {
	return flags{s.Has8Bit(), s.HasNUL(), s.LongLine(), s.TrailingSpace(), s.FromLine(), s.BareLF(), s.BareCR()}
}

// modelScan looks at the lines of all the content.
func modelScan(in string) flags {
	f := flags{nul: strings.Contains(in, "\x00")}
	for i := range len(in) {
		f.has8Bit = f.has8Bit || in[i] >= 0x80
		f.lf = f.lf || in[i] == '\n' && (i == 0 || in[i-1] != '\r')
		f.cr = f.cr || in[i] == '\r' && (i+1 == len(in) || in[i+1] != '\n')
	}
	for _, line := range strings.Split(in, "\n") {
		line = strings.TrimSuffix(line, "\r")
		f.long = f.long || len(line) > 998
		f.from = f.from || strings.HasPrefix(line, "From ")
	}
	all := strings.ReplaceAll(in, "\r\n", "\n") + "\n"
	f.space = strings.Contains(all, " \n") || strings.Contains(all, "\t\n")
	return f
}

var scanCases = []struct {
	in   string
	want flags
}{
	{"", flags{}},
	{"plain\r\ntext\r\n", flags{}},
	{"\xe4", flags{has8Bit: true}},
	{strings.Repeat("x", 70) + "\x80", flags{has8Bit: true}},
	{strings.Repeat("x", 40) + "\x80" + strings.Repeat("x", 40), flags{has8Bit: true}},
	{"a\x00", flags{nul: true}},
	{strings.Repeat("x", 998) + "\r\n", flags{}},
	{strings.Repeat("x", 999), flags{long: true}},
	{"a\r\n" + strings.Repeat("x", 999) + "\r\nb", flags{long: true}},
	{"a \r\nb", flags{space: true}},
	{"a\t", flags{space: true}},
	{"a \nb", flags{space: true, lf: true}},
	{" a\r\n b c\r\n", flags{}},
	{"From here", flags{from: true}},
	{"a\r\nFrom here", flags{from: true}},
	{"a From here\r\nFrom\r\n From x\r\n", flags{}},
	{"a\nFrom x", flags{from: true, lf: true}},
	{"\n", flags{lf: true}},
	{"a\rb", flags{cr: true}},
	{"a\r", flags{cr: true}},
	{"a\r\r\n", flags{cr: true}},
	{" \r", flags{cr: true}},
	{"\r \r\n", flags{cr: true, space: true}},
}

func TestScan(t *testing.T) {
	for _, test := range scanCases {
		want := test.want
		if model := modelScan(test.in); model != want {
			t.Errorf("%.30q: the model gives %+v", test.in, model)
		}
		for seed := range uint64(20) {
			var s Scan
			writeChunked(t, &s, []byte(test.in), seed, 1+int(seed)*int(seed))
			if got := report(&s); got != want {
				t.Errorf("%.30q: got %+v, want %+v", test.in, got, want)
				break
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	for i, test := range scanCases {
		f.Add([]byte(test.in), uint64(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		var s Scan
		writeChunked(t, &s, in, seed, 1+int(seed%64))
		if got, want := report(&s), modelScan(string(in)); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func benchmarkScan(b *testing.B, line string) {
	data := bytes.Repeat([]byte(line), (1<<20)/len(line))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var s Scan
		for p := data; len(p) > 0; {
			n := min(len(p), 32<<10)
			if _, err := io.Writer(&s).Write(p[:n]); err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
		if s.Has8Bit() {
			b.Fatal("not 7 bit")
		}
	}
}

func BenchmarkScan76(b *testing.B)   { benchmarkScan(b, strings.Repeat("x", 76)+"\r\n") }
func BenchmarkScanLong(b *testing.B) { benchmarkScan(b, strings.Repeat("x", 900)+"\r\n") }
