package smime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/spool"
)

// A memory is a Stage. The race detector sees who uses it when.
type memory struct{ data []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if grow := off + int64(len(p)) - int64(len(m.data)); grow > 0 {
		m.data = append(m.data, make([]byte, grow)...)
	}
	return copy(m.data[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func (m *memory) Truncate(n int64) error {
	m.data = m.data[:n]
	return nil
}

// sameStaged reads a message with a Stage, of a stream and where it is, and
// compares with what came without one.
func sameStaged(t testing.TB, message string, opts *ReadOptions, want *Message, wantErr error) {
	t.Helper()
	defer func(before int64) { leastAgain = before }(leastAgain)
	leastAgain = 0
	for _, form := range []Form{FormMessage, FormContent} {
		for _, inPlace := range []bool{false, true} {
			if inPlace == (len(message)%2 == int(form)) {
				continue // half of the four, for time; which half depends
			}
			o := *opts
			file := &memory{}
			o.Stage, o.Form = file, form
			var got *Message
			var err error
			if inPlace {
				got, err = ReadAt(strings.NewReader(message), int64(len(message)), &o)
			} else {
				got, err = Read(strings.NewReader(message), &o)
			}
			if fmt.Sprintf("%T %v", err, err) != fmt.Sprintf("%T %v", wantErr, wantErr) || (got == nil) != (want == nil) {
				t.Fatalf("form %d, in place %v: %v, want %v", form, inPlace, err, wantErr)
			}
			if got != nil {
				compareStaged(t, got, want, form, file)
			}
			_ = got.Close()
		}
	}
}

func compareStaged(t testing.TB, got, want *Message, form Form, file *memory) {
	t.Helper()
	write := func(m *Message) string {
		var b strings.Builder
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if write(got) != write(want) || text(t, got.Content()) != text(t, want.Content()) || text(t, got.Body()) != text(t, want.Body()) {
		t.Errorf("form %d: with a Stage the message differs: %q, want %q", form, write(got), write(want))
	}
	if got.Status != want.Status || got.Signed != want.Signed || got.Trusted != want.Trusted || got.Encrypted != want.Encrypted ||
		layerTypes(got) != layerTypes(want) || got.HeaderProtection != want.HeaderProtection || len(got.Problems) != len(want.Problems) {
		t.Errorf("form %d: with a Stage %+v, want %+v", form, got, want)
	}
	switch expected := write(want); {
	case !got.Staged():
		for _, l := range got.Layers {
			if l.withheld && string(file.data) != "" {
				t.Errorf("form %d: of what was not authenticated the Stage holds %q", form, string(file.data))
			}
		}
	case form == FormContent:
		expected = text(t, want.Content())
		fallthrough
	default:
		if string(file.data) != expected {
			t.Errorf("form %d: the Stage holds %q, want %q", form, string(file.data), expected)
		}
	}
}

// TestStaged: what can be written while it is judged is.
func TestStaged(t *testing.T) {
	long := simple + strings.Repeat("a line of many\r\n", 80_000)
	opaque := signed(&SignOptions{Opaque: true})
	cbc := encrypted(&EncryptOptions{Cipher: cms.AES256CBC})
	gcm := encrypted(nil)
	for _, tc := range []struct {
		name  string
		forms []writerFunc
		lf    bool
		want  bool
	}{
		{"clear", []writerFunc{signed(nil)}, false, true},
		{"clear, other line ends", []writerFunc{signed(nil)}, true, false},
		{"opaque", []writerFunc{opaque}, false, true},
		{"cbc", []writerFunc{cbc}, false, true},
		{"gcm", []writerFunc{gcm}, false, true},
		{"clear in cbc", []writerFunc{signed(nil), cbc}, false, true},
		{"clear in gcm", []writerFunc{signed(nil), gcm}, false, true},
		{"opaque in gcm in clear", []writerFunc{opaque, gcm, signed(nil)}, false, true},
		{"compressed", []writerFunc{compressed}, false, true},
		{"none", nil, false, false},
		{"protected", []writerFunc{signed(&SignOptions{Headers: HeadersVisible})}, false, true},
		{"hidden", []writerFunc{encrypted(&EncryptOptions{Headers: HeadersBaseline})}, false, false},
	} {
		for _, message := range []string{simple, long} {
			whole := protect(t, message, tc.forms...)
			if tc.lf {
				whole = lf(whole)
			}
			want := mustRead(t, whole, readOptions())
			o := readOptions()
			file := &memory{}
			o.Stage = file
			m, err := ReadAt(strings.NewReader(whole), int64(len(whole)), o)
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			// Of a small message the ciphertext is held where it is not the inmost layer.
			if m.Staged() != tc.want && !strings.Contains(tc.name, "gcm") || len(message) > 1000 && m.Staged() != tc.want {
				t.Errorf("%s, %d octets: staged is %v", tc.name, len(message), m.Staged())
			}
			compareStaged(t, m, want, FormMessage, file)
			if err = m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestStagedBad: what an attacker has changed is never staged as good, and what
// is not authentic leaves nothing.
func TestStagedBad(t *testing.T) {
	whole := protect(t, simple+strings.Repeat("a line of many\r\n", 4000), encrypted(nil))
	start := strings.Index(whole, "\r\n\r\n") + 4
	defer func(before int64) { leastAgain = before }(leastAgain)
	leastAgain = 0
	for i := start; i < len(whole); i += 997 {
		bad := []byte(whole)
		if bad[i] = 'A'; whole[i] == 'A' {
			bad[i] = 'B'
		}
		o := readOptions()
		file := &memory{}
		o.Stage = file
		m, err := ReadAt(bytes.NewReader(bad), int64(len(bad)), o)
		if err == nil || m != nil && (m.Staged() && m.Layers[0].Err == nil) {
			t.Errorf("octet %d: %v", i, err)
		}
		if errors.Is(err, cms.ErrDecrypt) && string(file.data) != "" {
			t.Errorf("octet %d: %d octets are left", i, len(string(file.data)))
		}
		_ = m.Close()
	}
}

// A twice is a file that is another one from the second time on that its start
// is read.
type twice struct {
	first, second []byte
	starts        int
	from          int64
}

func (w *twice) ReadAt(p []byte, off int64) (int, error) {
	if off <= w.from && w.from < off+int64(len(p)) {
		w.starts++
	}
	data := w.first
	if w.starts > 1 {
		data = w.second
	}
	n := copy(p, data[min(off, int64(len(data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestAgainChanged: an encrypted message that is another one when it is read for
// the second time is not opened.
func TestAgainChanged(t *testing.T) {
	defer func(before int64) { leastAgain = before }(leastAgain)
	leastAgain = 0
	// A layer inside has it read twice.
	whole := protect(t, simple+strings.Repeat("a line of many\r\n", 40_000), signed(&SignOptions{Opaque: true}), encrypted(nil))
	middle := len(whole) / 2
	other := []byte(whole)
	if other[middle] = 'A'; whole[middle] == 'A' {
		other[middle] = 'B'
	}
	src := &twice{first: []byte(whole), second: other, from: int64(middle)}
	o := readOptions()
	file := &memory{}
	o.Stage = file
	m, err := ReadAt(src, int64(len(whole)), o)
	defer func() { _ = m.Close() }()
	if !errors.Is(err, spool.ErrChanged) || src.starts < 2 {
		t.Errorf("%v after %d readings", err, src.starts)
	}
	if m != nil && (m.Staged() || text(t, m.Content()) != "") {
		t.Error("there is content")
	}
}

// TestStageLimits: limits hold, and errors of the Stage are told.
func TestStageLimits(t *testing.T) {
	defer func(before int64) { leastAgain = before }(leastAgain)
	leastAgain = 0
	for _, forms := range [][]writerFunc{{signed(nil)}, {signed(&SignOptions{Opaque: true})}, {encrypted(nil)}, {signed(nil), encrypted(nil)}} {
		whole := protect(t, simple+strings.Repeat("a line of many\r\n", 40_000), forms...)
		o := readOptions()
		o.Stage, o.MaxContent = &memory{}, 300_000
		m, err := ReadAt(strings.NewReader(whole), int64(len(whole)), o)
		if !isLimit(err) {
			t.Errorf("%v", err)
		}
		_ = m.Close()
		failure := errors.New("failure")
		o.Stage, o.MaxContent = failingStage{&memory{}, failure}, 0
		m, err = ReadAt(strings.NewReader(whole), int64(len(whole)), o)
		if m != nil || !errors.Is(err, failure) {
			t.Errorf("%v, with a Stage that fails", err)
		}
		_ = m.Close()
	}
}

type failingStage struct {
	*memory
	err error
}

func (f failingStage) WriteAt([]byte, int64) (int, error) { return 0, f.err }
