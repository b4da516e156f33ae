package smime

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
)

// TestRareTypes reads the CMS types that mail hardly has.
func TestRareTypes(t *testing.T) {
	to := recipientsOf(people().bob)
	for _, tc := range []struct {
		layer string
		open  func(w io.Writer) (io.WriteCloser, error)
	}{
		{TypeAuthenticated, func(w io.Writer) (io.WriteCloser, error) { return cms.Authenticate(w, to, nil) }},
		{TypeDigested, func(w io.Writer) (io.WriteCloser, error) { return cms.Digest(w, 0, cms.TypeData) }},
		{TypeEncrypted, func(w io.Writer) (io.WriteCloser, error) {
			return cms.EncryptWithKey(w, make([]byte, 16), &cms.EncryptOptions{Cipher: cms.AES128CBC})
		}},
	} {
		var out bytes.Buffer
		w, err := tc.open(&out)
		if err == nil {
			_, err = io.WriteString(w, simpleContent)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatalf("%s: %v", tc.layer, err)
		}
		const head = "From: alice@example.test\r\nContent-Type: application/pkcs7-mime\r\n\r\n"
		m, err := read(t, head+out.String(), readOptions())
		if tc.layer == TypeEncrypted {
			if _, ok := errors.AsType[*cms.UnsupportedError](err); !ok || !m.Layers[0].Encrypted || m.Encrypted || text(t, m.Content()) != head+out.String() {
				t.Errorf("%s: %v", tc.layer, err)
			}
			continue
		}
		if err != nil || layerTypes(m) != tc.layer || m.Status != StatusUnknown || m.Signed || text(t, m.Content()) != simpleContent {
			t.Errorf("%s: %v", tc.layer, err)
		}
		if m.Layers[0].Authenticated != (tc.layer == TypeAuthenticated) {
			t.Errorf("%s: authenticated: %v", tc.layer, m.Layers[0].Authenticated)
		}
		changed := strings.Replace(out.String(), "Hello", "Jello", 1)
		m, err = read(t, head+changed, readOptions())
		if r := reason(err); (r != cms.ReasonMAC && r != cms.ReasonDigest) || m.Layers[0].Authenticated {
			t.Errorf("%s: %v", tc.layer, err)
		}
		if tc.layer != TypeAuthenticated {
			continue
		}
		o := readOptions()
		o.Identities = nil
		m, err = read(t, head+out.String(), o)
		if _, ok := errors.AsType[*cms.NoMatchError](err); !ok || text(t, m.Content()) != head+out.String() {
			t.Errorf("%s: %v", tc.layer, err)
		}
	}
}

// TestErrorTexts: errors say what they are about, without control characters.
func TestErrorTexts(t *testing.T) {
	seen := map[string]bool{}
	for _, err := range []error{
		&StructureError{What: "odd"},
		&SenderError{From: []string{"a\n@b"}, Addresses: []string{"c\x1b@d"}},
		&SenderError{},
		&UncheckedSenderError{What: "no From"},
		&DisplayNameError{Name: "x\r\ny", Address: "\x00"},
		&ClosedPartError{Path: []int{1, 2}, Type: "application/pkcs7-mime"},
		&OuterSignatureError{},
		&UnauthenticatedError{},
	} {
		s := err.Error()
		if s == "" || seen[s] || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%T: %q", err, s)
		}
		seen[s] = true
	}
}

// TestGivenUp: a message that is given up leaves no file behind, and Close says
// why.
func TestGivenUp(t *testing.T) {
	for _, head := range []string{"", "Content-Type: text/plain\r\n\r\n", "Content-Type: x/y\r\nContent-Transfer-Encoding: binary\r\n\r\n"} {
		dst := &limited{n: 20 << 10}
		w, err := Sign(dst, []cms.Signer{signerOf(people().alice)}, &SignOptions{SpoolMemory: -1, SpoolDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(w, head+strings.Repeat("ä line\r\n", 10000))
		if cerr := w.Close(); !errors.Is(cerr, errFailing) || (err != nil && !errors.Is(err, errFailing)) {
			t.Errorf("%q: %v, %v", head, err, cerr)
		}
	}
	w, err := Sign(io.Discard, []cms.Signer{signerOf(people().alice)}, &SignOptions{SpoolMemory: -1, SpoolDir: "/nonexistent"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, "From: a@b\r\n\r\nbody")
	if cerr := w.Close(); cerr == nil || (err != nil && !errors.Is(cerr, err)) {
		t.Errorf("%v, %v", err, cerr)
	}
}

// limited takes n octets.
type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if l.n -= len(p); l.n < 0 {
		return 0, errFailing
	}
	return len(p), nil
}
