package smime

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
)

// FuzzRead: whatever comes, nothing panics, a good verdict is on what alice
// signed alone, and what can be shown can be read twice. The keys of alice and
// bob are new in every process, so that the seeds are made by it, and inputs of
// an earlier one say nothing of signatures.
func FuzzRead(f *testing.F) {
	for _, c := range combinations {
		f.Add([]byte(protect(f, simple, c.forms...)))
	}
	f.Add([]byte(mixed))
	f.Add([]byte("Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=a\n\n--a\n\n--a\n\n--a--"))
	if dir := filepath.Join("..", "..", "shared", "vectors", "rfc4134"); folder(dir) {
		for _, name := range []string{"4.8.eml", "4.9.eml", "5.3.eml"} {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := readOptions()
		o.Allow = []cms.Allowance{cms.AllowSHA1, cms.AllowDSA, cms.Allow3DES, cms.AllowRC2}
		o.CMS = &cms.Limits{Expanded: 1 << 20}
		m, err := Read(bytes.NewReader(raw), o)
		if m == nil {
			t.Fatalf("no message: %v", err)
		}
		defer func() { _ = m.Close() }()
		sameAt(t, string(raw), o, m, err)
		sameStaged(t, string(raw), o, m, err)
		content := text(t, m.Content())
		if again := text(t, m.Content()); again != content {
			t.Fatal("the content differs when read again")
		}
		if !strings.HasSuffix(content, text(t, m.Body())) {
			t.Fatal("the body is not the end of the content")
		}
		verified := m.Status == StatusSignedVerified || m.Status == StatusEncryptedSignedVerified
		if verified && content != simpleContent && !strings.HasPrefix(content, "Content-Type: application/pkcs7-mime") {
			t.Fatalf("verified: %q", content)
		}
		if verified != m.Trusted || (m.Trusted && (err != nil || !m.Signed)) {
			t.Fatalf("%v, %+v", err, m)
		}
		if len(m.Layers) == 0 && !bytes.HasSuffix(raw, []byte(content)) {
			t.Fatalf("plain content has changed: %q", content)
		}
		if _, err = m.WriteTo(io.Discard); err != nil {
			t.Fatal(err)
		}
		_ = m.Header()
	})
}

func folder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// FuzzClean: how a message is cut does not matter for what goes inside, and
// what is clean stays as it is.
func FuzzClean(f *testing.F) {
	f.Add([]byte(simple), true, 7)
	f.Add([]byte("From: x\n"+mixed), false, 1)
	f.Add([]byte(mixedClean), true, 100)
	f.Add([]byte("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nFrom =\xff \n=\r"), false, 3)
	f.Add([]byte("Content-Transfer-Encoding: base64\n\nYQ== \n\xff"), false, 3)
	f.Fuzz(func(t *testing.T, raw []byte, keepBinary bool, step int) {
		once := inside(t, raw, keepBinary, len(raw)+1)
		if cut := inside(t, raw, keepBinary, max(1, step)); cut != once {
			t.Fatalf("%q\nin pieces of %d becomes\n%q", once, step, cut)
		}
		if again := inside(t, []byte(once), keepBinary, len(once)+1); again != once {
			t.Fatalf("%q\nchanges to\n%q", once, again)
		}
	})
}

// inside returns what of a message goes into its signature, when it is written
// in pieces.
func inside(t *testing.T, raw []byte, keepBinary bool, step int) string {
	var out bytes.Buffer
	layer := &entityWriter{nil, &chain{Writer: &out}}
	w := newMessageWriter(&gate{dst: io.Discard}, layer, &cleanOptions{encode: true, keepBinary: keepBinary})
	for rest := raw; len(rest) > 0; {
		n := min(step, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
