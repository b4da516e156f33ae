package mimeraw

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadHeader(t *testing.T) {
	for name, test := range map[string]struct {
		in     string
		fields []string // "name=value"
		sep    string
		rest   string
	}{
		"CRLF":               {"A: 1\r\nB:2\r\n\r\nbody", []string{"A=1", "B=2"}, "\r\n", "body"},
		"LF":                 {"A: 1\nB:2\n\nbody", []string{"A=1", "B=2"}, "\n", "body"},
		"mixed":              {"A: 1\nB:2\r\n\n\r\nbody", []string{"A=1", "B=2"}, "\n", "\r\nbody"},
		"folded":             {"A: 1\r\n 2\r\n\t3  \r\nB:\r\n x\n\r\n", []string{"A=1 2\t3", "B=x"}, "\r\n", ""},
		"blank continuation": {"A: 1\r\n  \r\n 2\r\n\r\n", []string{"A=1   2"}, "\r\n", ""},
		"old blanks":         {"Subject \t: x\r\n\r\n", []string{"Subject=x"}, "\r\n", ""},
		"empty name":         {": x\r\nA:1\r\n\r\n", []string{"=: x", "A=1"}, "\r\n", ""},
		"colon, no name":     {">From a b 12:00\r\nA:1\r\n\r\n", []string{"=>From a b 12:00", "A=1"}, "\r\n", ""},
		"8 bit":              {"A: \xe4\r\n\xe4: 1\r\n\r\n", []string{"A=\xe4", "\xe4=1"}, "\r\n", ""},
		"lone CR":            {"A: 1\r2\r\n\r\r\n", []string{"A=1\r2"}, "", "\r\r\n"},
		"empty":              {"\r\nbody", nil, "\r\n", "body"},
		"nothing":            {"", nil, "", ""},
		"no end":             {"A: 1\r\nB: 2", []string{"A=1", "B=2"}, "", ""},
		"CR at the end":      {"A: 1\r\n\r", []string{"A=1"}, "", "\r"},
		"no blank line":      {"A: 1\r\nHello Bob,\r\nhow: are\r\n", []string{"A=1"}, "", "Hello Bob,\r\nhow: are\r\n"},
		"continuation first": {" x: y\r\nA: 1\r\n\r\n", []string{"=x: y", "A=1"}, "\r\n", ""},
		"mbox":               {"From a@b Mon Jan  1 00:00:00 2024\nA: 1\n\nbody", []string{"A=1"}, "\n", "body"},
		"mbox, twice":        {"From a 12:00\nFrom b 13:00\n\n", []string{"=From b 13:00"}, "\n", ""},
		"old From":           {"From : a@b\n\n", []string{"From=a@b"}, "\n", ""},
		"From cut off":       {"From ", nil, "", ""},
		"BOM":                {"\xef\xbb\xbfA: 1\r\n\r\n", []string{"A=1"}, "\r\n", ""},
		"BOM, mbox":          {"\xef\xbb\xbfFrom x\r\nA: 1\r\n\r\n", []string{"A=1"}, "\r\n", ""},
		"two BOMs":           {"\xef\xbb\xbf\xef\xbb\xbfA: 1\r\n\r\n", []string{"\xef\xbb\xbfA=1"}, "\r\n", ""},
		"long line":          {"A:1\n" + strings.Repeat("x", 2000) + ":\n", []string{"A=1"}, "", strings.Repeat("x", 2000) + ":\n"},
		"long value":         {"A:" + strings.Repeat("x", 9000) + "\n\n", []string{"A=" + strings.Repeat("x", 9000)}, "\n", ""},
	} {
		for i, source := range []io.Reader{
			strings.NewReader(test.in),
			iotest.OneByteReader(strings.NewReader(test.in)),
			iotest.DataErrReader(strings.NewReader(test.in)),
		} {
			br := bufio.NewReader(source)
			h, err := ReadHeader(br, 0)
			if err != nil {
				t.Errorf("%s, %d: %v", name, i, err)
				continue
			}
			var fields []string
			for _, f := range h.Fields {
				fields = append(fields, f.Name()+"="+f.Value())
			}
			rest, err := io.ReadAll(br)
			if err != nil || !slices.Equal(fields, test.fields) || string(h.Separator) != test.sep || string(rest) != test.rest {
				t.Errorf("%s, %d: %q, %q, rest %q, %v", name, i, fields, h.Separator, rest, err)
			}
			if (h.Separator == nil) != (test.sep == "") {
				t.Errorf("%s, %d: separator %#v", name, i, h.Separator)
			}
		}
	}
}

func TestReadHeaderLimit(t *testing.T) {
	const in = "A: 1\r\nB: 2\r\n\r\n"
	if _, err := ReadHeader(bufio.NewReader(strings.NewReader(in)), len(in)); err != nil {
		t.Error(err)
	}
	for max := 1; max < len(in); max++ {
		if _, err := ReadHeader(bufio.NewReader(strings.NewReader(in)), max); err != ErrHeaderTooLong {
			t.Errorf("max %d: %v", max, err)
		}
	}
	endless := io.MultiReader(strings.NewReader("A: "), zeros{})
	if _, err := ReadHeader(bufio.NewReader(endless), 0); err != ErrHeaderTooLong {
		t.Errorf("endless line: %v", err)
	}
	for _, start := range []string{"", "\xef\xbb", "F", "From ", "From x", "A", "A: 1", "A: 1\r", "A: 1\r\n", "A: 1\r\n\r"} {
		src := io.MultiReader(strings.NewReader(start), iotest.ErrReader(errSource))
		if _, err := ReadHeader(bufio.NewReader(src), 0); err != errSource {
			t.Errorf("error of the source after %q: %v", start, err)
		}
	}
	src := io.MultiReader(strings.NewReader("\n"), iotest.ErrReader(errSource))
	if _, err := ReadHeader(bufio.NewReader(src), 0); err != nil {
		t.Errorf("error after the header: %v", err)
	}
}

func TestHeader(t *testing.T) {
	const in = "To: a\n b\r\nX: 1\nto : c\nY: 2"
	h, err := ReadHeader(bufio.NewReader(strings.NewReader(in)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := h.Get("TO"); v != "a b" || !ok {
		t.Errorf("Get: %q, %v", v, ok)
	}
	if v, ok := h.Get("T"); v != "" || ok {
		t.Errorf("Get of nothing: %q, %v", v, ok)
	}
	if _, ok := h.Get(""); ok {
		t.Error("Get of the empty name")
	}
	if v := h.Values("to"); !slices.Equal(v, []string{"a b", "c"}) {
		t.Errorf("Values: %q", v)
	}
	if string(h.Bytes()) != in {
		t.Errorf("Bytes: %q", h.Bytes())
	}
	if got := string(h.CRLF(0)); got != "To: a\r\n b\r\nX: 1\r\nto : c\r\nY: 2\r\n" {
		t.Errorf("CRLF: %q", got)
	}
	// Fields do not share room that an append could run into.
	_ = append(h.Fields[0].Raw, "overwritten"...)
	if string(h.Bytes()) != in {
		t.Errorf("Bytes after append: %q", h.Bytes())
	}
}

func TestNewField(t *testing.T) {
	long := strings.Repeat("word ", 60)
	id := "<" + strings.Repeat("i", 70) + "@x>"
	for _, test := range []struct{ name, value, want string }{
		{"Subject", "short", "Subject: short\r\n"},
		{"Subject", "", "Subject:\r\n"},
		{"Subject", " \t", "Subject:\r\n"},
		{"Subject", "  a  b ", "Subject: a  b\r\n"},
		{"In-Reply-To", id, "In-Reply-To:\r\n " + id + "\r\n"},
		{"References", id + " " + id, "References:\r\n " + id + "\r\n " + id + "\r\n"},
		{"X", strings.Repeat("x", 200), "X: " + strings.Repeat("x", 200) + "\r\n"},
	} {
		f, err := NewField(test.name, test.value)
		if err != nil || string(f.Raw) != test.want {
			t.Errorf("got %q, %v, want %q", f.Raw, err, test.want)
		}
	}
	for _, value := range []string{long, "\t" + long, strings.Repeat("a      \t ", 80), strings.Repeat("1234567 ", 200)} {
		f, err := NewField("Name", value)
		if err != nil || f.Value() != strings.Trim(value, " \t") || !f.Is("name") {
			t.Errorf("%q, %v", f.Raw, err)
		}
		lines := strings.SplitAfter(string(f.Raw), "\r\n")
		for _, line := range lines[:len(lines)-1] {
			if len(line) > 80 || strings.TrimSpace(line) == "" {
				t.Errorf("line %q", line)
			}
		}
	}
	for _, bad := range [][2]string{{"", "x"}, {"a b", "x"}, {"a:", "x"}, {"\xe4", "x"}, {strings.Repeat("n", 77), "x"},
		{"a", "x\r\ny"}, {"a", "x\n"}, {"a", "\r"}, {"a", "\x00"}, {"a", strings.Repeat("x", 998)}} {
		if _, err := NewField(bad[0], bad[1]); !errors.Is(err, ErrField) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// checkHeader reads the header of in and compares it with in, octet by octet.
func checkHeader(t *testing.T, in []byte, br *bufio.Reader) *Header {
	t.Helper()
	h, err := ReadHeader(br, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(br)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(h.Bytes(), h.Separator, rest)
	want := bytes.TrimPrefix(in, []byte("\xef\xbb\xbf"))
	if len(all) < len(want) && bytes.HasPrefix(want, []byte("From ")) {
		if i := bytes.IndexByte(want, '\n'); i >= 0 {
			want = want[i+1:]
		} else {
			want = nil
		}
	}
	if !bytes.Equal(all, want) {
		t.Fatalf("got %q, want %q", all, want)
	}
	return h
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("From x\r\nA: 1\r\n 2\r\nB \t: 3\n\nbody"), uint64(1))
	f.Add([]byte("\xef\xbb\xbf: x\r\n\r\r\n\r\n"), uint64(2))
	f.Add([]byte(" first\r\nno colon\r\n\r\n"), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		a := checkHeader(t, in, bufio.NewReader(bytes.NewReader(in)))
		b := checkHeader(t, in, bufio.NewReader(chunked(in, seed, 50)))
		if len(a.Fields) != len(b.Fields) || !bytes.Equal(a.Separator, b.Separator) {
			t.Errorf("%d fields and %q, or %d and %q", len(a.Fields), a.Separator, len(b.Fields), b.Separator)
		}
		for _, field := range a.Fields {
			if strings.ContainsAny(field.Name(), " \t\r\n:") || strings.Contains(field.Value(), "\n") {
				t.Errorf("field %q: name %q, value %q", field.Raw, field.Name(), field.Value())
			}
			if n, err := NewField(field.Name(), field.Value()); err == nil && n.Value() != field.Value() {
				t.Errorf("value %q became %q", field.Value(), n.Value())
			}
		}
		for _, line := range bytes.SplitAfter(a.CRLF(0), []byte("\n")) {
			if len(line) > 0 && !bytes.HasSuffix(line, []byte("\r\n")) {
				t.Errorf("line %q", line)
			}
		}
	})
}

// vectors returns the folder of test vectors that lies beside the module.
func vectors(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no module root")
		}
	}
	dir = filepath.Join(dir, "..", "shared", "vectors")
	if _, err = os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the test vectors are not there: ", err)
	}
	return dir
}

// TestVectors takes the messages of RFC 4134 apart, as they are stored, and puts
// them together again.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors(t), "rfc4134", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	messages, multiparts := 0, 0
	for _, name := range files {
		data, readErr := os.ReadFile(name)
		if readErr != nil {
			t.Fatal(readErr)
		}
		h := checkHeader(t, data, bufio.NewReader(bytes.NewReader(data)))
		value, ok := h.Get("Content-Type")
		if !ok {
			continue
		}
		m, parseErr := ParseMediaType(value)
		if parseErr != nil {
			t.Errorf("%s: %q: %v", name, value, parseErr)
			continue
		}
		messages++
		if boundary := m.Params["boundary"]; strings.HasPrefix(m.Type, "multipart/") {
			body := data[len(h.Bytes())+len(h.Separator):]
			want := modelSplit(string(body), boundary)
			if len(want.parts) != 2 || !want.closed {
				t.Errorf("%s: %d parts", name, len(want.parts))
			}
			multiparts++
		}
	}
	if messages < 3 || multiparts < 1 {
		t.Errorf("%d messages, %d with parts", messages, multiparts)
	}
}

// A field has a name whatever its case is and what blanks stand before the colon,
// and no other.
func TestFieldIs(t *testing.T) {
	for raw, want := range map[string]bool{
		"To: a\r\n": true, "tO : a": true, "TO\t:": true, "To": false, "To a: b": false, "T: o": false, "Too: a": false,
		" To: a": false, ":": false, "": false, "\x74\x4f:": true, "To\x00:": false, "4O: a": false,
	} {
		if got := (Field{Raw: []byte(raw)}).Is("To"); got != want {
			t.Errorf("%q: %v", raw, got)
		}
	}
	if (Field{Raw: []byte(": a")}).Is("") {
		t.Error("a field has an empty name")
	}
}
