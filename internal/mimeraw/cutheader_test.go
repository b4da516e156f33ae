package mimeraw

import (
	"bufio"
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// sameCut compares CutHeader with ReadHeader.
func sameCut(t *testing.T, raw []byte, max int) {
	t.Helper()
	src := bytes.NewReader(raw)
	br := bufio.NewReaderSize(src, 4<<10)
	want, wantErr := ReadHeader(br, max)
	got, n, err := CutHeader(raw, max)
	if !errors.Is(err, wantErr) {
		t.Fatalf("%.200q, at most %d: %v; want %v", raw, max, err, wantErr)
	}
	if err != nil {
		return
	}
	if at := len(raw) - src.Len() - br.Buffered(); n != at {
		t.Fatalf("%.200q: the body is at %d, not at %d", raw, n, at)
	}
	if len(got.Fields) != len(want.Fields) || (got.Separator == nil) != (want.Separator == nil) || !bytes.Equal(got.Separator, want.Separator) {
		t.Fatalf("%.200q: %q, %q; want %q, %q", raw, got.Fields, got.Separator, want.Fields, want.Separator)
	}
	for i, f := range got.Fields {
		if !reflect.DeepEqual(f.Raw, want.Fields[i].Raw) {
			t.Fatalf("%.200q: field %d is %q; want %q", raw, i, f.Raw, want.Fields[i].Raw)
		}
		if cap(f.Raw) != len(f.Raw) {
			t.Fatal("what is appended to a field overwrites the next one")
		}
	}
}

var cutCases = []string{
	"", "\r\n", "\n", "\r", "A: b", "A: b\r\n", "A: b\r\n\r\nbody", "A: b\n\nbody", "A: b\nno field\n", " continued\nA: b\n\n",
	" a\n\nb", "\xef\xbb\xbfA: b\n\n", "From x\nA: b\n\n", "From : b\n\n", "From \t :b\nC: d\n\n", "From", "From ", "From \n", "\xef\xbb\xbfFrom a\nB: c\n\n",
	"\xef\xbb", "\xef\xbb\xbf", "A: b\r\n\rc", "A: b\r", ":\n\n", "A\x00: b\n\n", "A: b\n c\n\td\nE: f\n\nbody\n\n",
	strings.Repeat("x", 997) + ":\n\nbody", strings.Repeat("x", 998) + ":\n\nbody", "A: " + strings.Repeat("y", 9000) + "\nB: c\n\n",
	"From " + strings.Repeat(" ", 100) + ": a\n\n",
}

func TestCutHeader(t *testing.T) {
	for _, c := range cutCases {
		for end := range min(len(c), 2000) + 1 {
			sameCut(t, []byte(c[:end]), 0)
		}
		for max := range min(len(c), 1100) + 4 {
			sameCut(t, []byte(c), max+1)
		}
	}
}

func FuzzCutHeader(f *testing.F) {
	for _, c := range cutCases {
		f.Add([]byte(c), 50)
	}
	f.Fuzz(func(t *testing.T, raw []byte, max int) {
		if len(raw) > 4000 { // the reader looks no further for the colon of a "From :"
			return
		}
		sameCut(t, raw, max)
	})
}
