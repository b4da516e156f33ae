package mimeraw

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// splitResult is what a multipart body consists of.
type splitResult struct {
	parts              []string
	preamble, epilogue int64
	closed             bool
}

func (r splitResult) equal(o splitResult) bool {
	return slices.Equal(r.parts, o.parts) && r.preamble == o.preamble &&
		r.epilogue == o.epilogue && r.closed == o.closed
}

// modelSplit is a slow splitter that works line by line.
func modelSplit(body, boundary string) splitResult {
	var r splitResult
	current, open := "", false
	content := func() { // ends a part or the preamble
		if open {
			r.parts = append(r.parts, current)
		} else {
			r.preamble = int64(len(current))
		}
		current = ""
	}
	rest := body
	for rest != "" {
		line := rest
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		rest = rest[len(line):]
		after, match := strings.CutPrefix(line, "--"+boundary)
		closing := match && strings.HasPrefix(after, "--")
		if match && !closing {
			after = strings.TrimSuffix(after, "\n")
			if strings.HasSuffix(line, "\n") {
				after = strings.TrimSuffix(after, "\r")
			}
			match = strings.Trim(after, " \t") == "" && len(after) < 1024
		}
		if !match {
			current += line
			continue
		}
		if strings.HasSuffix(current, "\n") {
			current = strings.TrimSuffix(strings.TrimSuffix(current, "\n"), "\r")
		}
		content()
		open = true
		if closing {
			r.closed, r.epilogue = true, int64(len(rest))
			return r
		}
	}
	content()
	return r
}

// split splits with Multipart; how parts are read depends on rnd.
func split(t testing.TB, m *Multipart, rnd *rand.Rand) splitResult {
	t.Helper()
	var r splitResult
	for {
		p, err := m.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		switch rnd.IntN(3) {
		case 0:
			_, err = b.ReadFrom(p)
		case 1:
			_, err = p.(io.WriterTo).WriteTo(&b)
		default:
			_, err = b.ReadFrom(iotest.OneByteReader(p))
		}
		if err != nil {
			t.Fatal(err)
		}
		r.parts = append(r.parts, b.String())
	}
	r.preamble, r.epilogue, r.closed = m.Preamble(), m.Epilogue(), m.Closed()
	return r
}

func TestMultipart(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want splitResult
	}{
		"plain":            {"--b\r\nA: 1\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n", splitResult{[]string{"A: 1\r\n\r\none", "\r\ntwo"}, 0, 0, true}},
		"LF":               {"pre\n--b\none\n\n--b--\nepi", splitResult{[]string{"one\n"}, 3, 3, true}},
		"mixed":            {"\r\n--b\none\r\n--b\r\ntwo\n--b--", splitResult{[]string{"one", "two"}, 0, 0, true}},
		"blank lines":      {"--b\r\none\r\n\r\n\r\n--b--", splitResult{[]string{"one\r\n\r\n"}, 0, 0, true}},
		"padding":          {"--b \t \r\none\r\n--b-- trailing words\r\nx", splitResult{[]string{"one"}, 0, 1, true}},
		"not a delimiter":  {"--b\r\n--bX\r\n --b\r\nx--b\r\n-- b\r\n--b -\r\n--b-\r\n--b--", splitResult{[]string{"--bX\r\n --b\r\nx--b\r\n-- b\r\n--b -\r\n--b-"}, 0, 0, true}},
		"lone CR":          {"--b\r\na\rb\r\r\n--b\r--b\r\n--b--", splitResult{[]string{"a\rb\r\r\n--b\r--b"}, 0, 0, true}},
		"CR CR LF":         {"--b\r\na\r\r\n--b--", splitResult{[]string{"a\r"}, 0, 0, true}},
		"empty part":       {"--b\r\n--b\r\n\r\n--b--", splitResult{[]string{"", ""}, 0, 0, true}},
		"cut off":          {"--b\r\none\r\n--b", splitResult{[]string{"one", ""}, 0, 0, false}},
		"cut in line end":  {"--b\r\none\r", splitResult{[]string{"one\r"}, 0, 0, false}},
		"cut in delimiter": {"--b\r\none\r\n--", splitResult{[]string{"one\r\n--"}, 0, 0, false}},
		"CR at end":        {"--b\r\none\r\n--b\r", splitResult{[]string{"one\r\n--b\r"}, 0, 0, false}},
		"none":             {"just text\r\n", splitResult{nil, 11, 0, false}},
		"nothing":          {"", splitResult{}},
		"only close":       {"--b--\r\nx\r\n", splitResult{nil, 0, 3, true}},
		"much padding":     {"--b\r\n--b" + strings.Repeat(" ", 1024) + "\r\n--b" + strings.Repeat(" ", 1023) + "\r\n--b--", splitResult{[]string{"--b" + strings.Repeat(" ", 1024), ""}, 0, 0, true}},
	} {
		if got := modelSplit(test.body, "b"); !got.equal(test.want) {
			t.Errorf("%s: the model itself gives %+v", name, got)
		}
		for _, source := range []io.Reader{
			strings.NewReader(test.body),
			iotest.OneByteReader(strings.NewReader(test.body)),
			iotest.DataErrReader(strings.NewReader(test.body)),
		} {
			rnd := rand.New(rand.NewPCG(1, 2))
			got := split(t, NewMultipart(bufio.NewReader(source), "b "), rnd)
			if !got.equal(test.want) {
				t.Errorf("%s: got %+v, want %+v", name, got, test.want)
			}
		}
	}
}

func TestMultipartSkips(t *testing.T) {
	body := "--b\r\n" + strings.Repeat("line\r\n", 10000) + "--b\r\ntwo\r\n--b--\r\n"
	m := NewMultipart(bufio.NewReaderSize(strings.NewReader(body), 16), "b")
	first, err := m.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(first, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	second, err := m.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = first.Read(make([]byte, 1)); !errors.Is(err, ErrPartSkipped) {
		t.Errorf("reading a skipped part: %v", err)
	}
	if err = iotest.TestReader(second, []byte("two")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err = m.Next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
}

func TestMultipartErrors(t *testing.T) {
	for _, boundary := range []string{"", " ", strings.Repeat("x", 257), "a\r\nb", "a\n"} {
		if _, err := NewMultipart(bufio.NewReader(strings.NewReader("--\r\n")), boundary).Next(); err != ErrBoundary {
			t.Errorf("boundary %q: %v", boundary, err)
		}
	}
	long := strings.Repeat("x", 256)
	if _, err := NewMultipart(bufio.NewReader(strings.NewReader("--"+long+"\r\n")), long).Next(); err != nil {
		t.Error(err)
	}
	src := io.MultiReader(strings.NewReader("--b\r\nsome text"), iotest.ErrReader(errSource))
	m := NewMultipart(bufio.NewReader(src), "b")
	p, err := m.Next()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(p)
	if string(got) != "some text" || err != errSource {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err = m.Next(); err != errSource {
		t.Errorf("Next after an error: %v", err)
	}
	m = NewMultipart(bufio.NewReader(strings.NewReader("--b\r\nabc\r\n--b--")), "b")
	if p, err = m.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(&failWriter{left: 2}, p); !errors.Is(err, errSource) {
		t.Errorf("error of the destination: %v", err)
	}
}

// TestMultipartMemory checks that a part of one long line takes no memory.
func TestMultipartMemory(t *testing.T) {
	const size = 64 << 20
	src := io.MultiReader(strings.NewReader("--b\r\n"), io.LimitReader(zeros{}, size), strings.NewReader("\r\n--b--"))
	br := bufio.NewReaderSize(src, 4<<10)
	m := NewMultipart(br, "b")
	allocs := testing.AllocsPerRun(1, func() {
		for {
			p, err := m.Next()
			if err != nil {
				break
			}
			if n, copyErr := io.Copy(io.Discard, p); n != size || copyErr != nil {
				t.Errorf("%d octets, %v", n, copyErr)
			}
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations", allocs)
	}
	if !m.Closed() {
		t.Error("the end was not seen")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte("pre\r\n--b\r\nA: 1\r\n\r\none\r\n--b \r\n\r\ntwo\n--b--x\r\nepi"), "b", uint64(1))
	f.Add([]byte("--b\n--b\r\n--b\r--b--\n"), "b", uint64(2))
	f.Add([]byte("\r\n--=_x\r\n\r\r\n--=_x-\r\n--=_x"), "=_x", uint64(3))
	f.Add([]byte("--b"+strings.Repeat(" ", 1100)+"\r\n--b\t\r\n"), "b", uint64(4))
	f.Fuzz(func(t *testing.T, body []byte, boundary string, seed uint64) {
		if boundary == "" || len(boundary) > 256 || strings.ContainsAny(boundary, "\r\n") || strings.TrimRight(boundary, " \t") != boundary {
			return
		}
		want := modelSplit(string(body), boundary)
		rnd := rand.New(rand.NewPCG(seed, 3))
		size := 16 << rnd.IntN(12)
		m := NewMultipart(bufio.NewReaderSize(chunked(body, seed, 1+rnd.IntN(5000)), size), boundary)
		if got := split(t, m, rnd); !got.equal(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// TestMultipartRandom splits random sequences of awkward pieces.
func TestMultipartRandom(t *testing.T) {
	pieces := []string{"--b", "--b--", "\r\n", "\n", "\r", "--", "-", " ", "\t", "b", "text", "\r\n--b\r\n", "\n--b\n",
		strings.Repeat("long ", 900), strings.Repeat(" ", 1022), strings.Repeat("\r\n", 30)}
	rnd := rand.New(rand.NewPCG(7, 7))
	parts := 0
	for range 20000 {
		var b strings.Builder
		for range rnd.IntN(24) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		want := modelSplit(b.String(), "b")
		src := bufio.NewReaderSize(chunked([]byte(b.String()), rnd.Uint64(), 1+rnd.IntN(6000)), 4096)
		if got := split(t, NewMultipart(src, "b"), rnd); !got.equal(want) {
			t.Fatalf("%q: got %+v, want %+v", b.String(), got, want)
		}
		parts += len(want.parts)
	}
	if parts < 10000 {
		t.Errorf("only %d parts were seen", parts)
	}
}

func benchmarkMultipart(b *testing.B, line string) {
	const size = 16 << 20
	body := "--boundary\r\n" + strings.Repeat(line, size/len(line)) + "\r\n--boundary--\r\n"
	src := strings.NewReader(body)
	br := bufio.NewReaderSize(src, 64<<10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(body)
		br.Reset(src)
		m := NewMultipart(br, "boundary")
		p, err := m.Next()
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, p)
		if err != nil || n < size/2 {
			b.Fatal(n, err)
		}
		if _, err = m.Next(); err != io.EOF || !m.Closed() {
			b.Fatal(err)
		}
	}
}

func BenchmarkMultipart76(b *testing.B)   { benchmarkMultipart(b, strings.Repeat("A", 76)+"\r\n") }
func BenchmarkMultipartLong(b *testing.B) { benchmarkMultipart(b, strings.Repeat("A", 1<<20)) }
func BenchmarkMultipartText(b *testing.B) {
	benchmarkMultipart(b, "- a line\r\n-- another\r\n\r\n--bound\r\n")
}
