package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestSniff(t *testing.T) {
	der := append([]byte{0x30, 0x82, 0x10, 0x00, 0x06, 0x09}, bytes.Repeat([]byte{0}, 300)...)
	for _, test := range []struct {
		name string
		in   []byte
		want form
	}{
		{"DER", der, formDER},
		{"BER", []byte{0x30, 0x80, 0x06, 0x09}, formDER},
		{"DER of something else", []byte{0x30, 0x82, 0x10, 0x00, 0x02, 0x01, 0x00}, formDER},
		{"PEM", []byte("-----BEGIN CMS-----\n"), formPEM},
		{"PEM after blank lines", []byte("\r\n \n-----BEGIN PKCS7-----\n"), formPEM},
		{"base64", []byte(base64.StdEncoding.EncodeToString(der)), formBase64},
		{"base64 in lines", []byte("MIIQAAYJ\r\nAAAA\r\n"), formBase64},
		{"base64 with a byte order mark", []byte("\xef\xbb\xbfMIAGCSqGSIb3DQEHAqCA\n"), formBase64},
		{"mail", []byte("From: a@b.example\r\n\r\nMIIQAAYJ\r\n"), formMail},
		{"mail with a strange header", []byte("0: 1\r\n\r\n"), formMail},
		{"mail of an mbox", []byte("From a@b Mon Jan  1\r\nSubject: x\r\n"), formMail},
		{"a word", []byte("MIME\n"), formMail},
		{"nothing", nil, formMail},
	} {
		got, err := sniff(bufio.NewReaderSize(bytes.NewReader(test.in), sniffSize))
		if err != nil || got != test.want {
			t.Errorf("%s: %s, %v; want %s", test.name, got, err, test.want)
		}
	}
	want := errors.New("broken disk")
	if _, err := sniff(bufio.NewReaderSize(iotest.ErrReader(want), sniffSize)); !errors.Is(err, want) {
		t.Errorf("error %v", err)
	}
}

func TestPEMWriter(t *testing.T) {
	for size := range 200 {
		content := bytes.Repeat([]byte{0xa5}, size)
		for _, step := range []int{1, 7, 64, 1000} {
			var b bytes.Buffer
			w, err := newPEMWriter(&b, "CMS")
			if err != nil {
				t.Fatal(err)
			}
			for rest := content; len(rest) > 0; {
				n := min(step, len(rest))
				if _, err = w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err = w.Close(); err != nil {
				t.Fatal(err)
			}
			want := pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: content})
			if !bytes.Equal(b.Bytes(), want) {
				t.Fatalf("%d octets in steps of %d: %q, want %q", size, step, b.Bytes(), want)
			}
		}
	}
}

func TestPairs(t *testing.T) {
	type flags = []string // "i" for --identity, "k" for --key
	for _, test := range []struct {
		in   flags
		want string // keys of the identities; "-" for none
		ok   bool
	}{
		{flags{"i"}, "-", true},
		{flags{"i", "k"}, "1", true},
		{flags{"k", "i"}, "1", true},
		{flags{"i", "i", "k"}, "-1", true},
		{flags{"i", "k", "i"}, "1-", true},
		{flags{"i", "i", "k", "k"}, "12", true},
		{flags{"k", "k", "i", "i"}, "12", true},
		{flags{"i", "k", "i", "k"}, "12", true},
		{flags{"i", "k", "k"}, "", false},
		{flags{"i", "i", "i", "k", "k"}, "", false},
		{flags{"k"}, "", false},
	} {
		var f identityFlag
		for _, flag := range test.in {
			if flag == "i" {
				f.files = append(f.files, "cert")
				continue
			}
			f.keys = append(f.keys, string(rune('1'+len(f.keys))))
			f.after = append(f.after, len(f.files))
		}
		pairs, err := f.pairs()
		got := ""
		for _, p := range pairs {
			if p.key == "" {
				p.key = "-"
			}
			got += p.key
		}
		if (err == nil) != test.ok || (test.ok && got != test.want) {
			t.Errorf("%v: %q, %v; want %q", test.in, got, err, test.want)
		}
		if err != nil && !errors.As(err, new(*usageError)) {
			t.Errorf("%v: error %T", test.in, err)
		}
	}
}

func TestOctets(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 octets", 1023: "1023 octets", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1 << 30: "1.0 GiB", 5 << 40: "5.0 TiB", 1 << 60: "1048576.0 TiB",
	} {
		if got := octets(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	var b strings.Builder
	start := time.Now()
	p := &progress{w: &b, total: 4 << 20, start: start, quit: make(chan struct{})}
	p.add(1 << 20)
	p.show(start.Add(2 * time.Second))
	if want := "\r\x1b[K1.0 MiB of 4.0 MiB (25%), 512.0 KiB/s"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	p.stop()
	p.stop()
	if want := "\r\x1b[K"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	var none *progress
	none.add(1)
	none.clear()
	none.stop()
}

// TestOutputAfterSignal checks that nothing is renamed once the program has
// been told to end.
func TestOutputAfterSignal(t *testing.T) {
	for _, named := range []bool{false, true} {
		testOutputAfterSignal(t, named)
	}
}

func testOutputAfterSignal(t *testing.T, named bool) {
	dir := t.TempDir()
	a := newApp()
	a.temps.named = named
	out, err := a.create(filepath.Join(dir, "out"), streamed, false)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Discard()
	if _, err = io.WriteString(out, "half"); err != nil {
		t.Fatal(err)
	}
	a.temps.removeAll()
	if err = out.Commit(); !errors.As(err, new(*writeError)) {
		t.Errorf("error %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestTime(t *testing.T) {
	for in, want := range map[string]time.Time{
		"":                          {},
		"2026-01-31":                time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00Z":      time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00+02:00": time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC),
	} {
		got, err := (&trustFlags{at: in}).time()
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if _, err := (&trustFlags{at: "yesterday"}).time(); !errors.As(err, new(*usageError)) {
		t.Errorf("error %v", err)
	}
}
