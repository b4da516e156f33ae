package inspect

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
)

// vectors returns the folder with the messages of others, or skips.
func vectors(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		found := filepath.Join(dir, "..", "shared", "vectors")
		if _, err = os.Stat(found); err == nil {
			return found
		}
		break
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("the vectors are missing")
	}
	t.Skip("the vectors are missing: ../shared/vectors")
	return ""
}

// TestVectors looks into the messages of RFC 4134.
func TestVectors(t *testing.T) {
	dir := filepath.Join(vectors(t), "rfc4134")
	kinds := make(map[string]int)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || (filepath.Ext(name) != ".bin" && filepath.Ext(name) != ".eml") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		look := CMS
		switch {
		case filepath.Ext(name) == ".eml":
			look = Message
		case !isContentInfo(data):
			return nil
		}
		n, err := look(iotest.OneByteReader(bytes.NewReader(data)))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		count(n, kinds)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Objects 4.1 to 4.11 are signed: 4.6 by two, 4.11 by nobody, and 4.4 has a
	// countersignature. 5.2 has two recipients.
	for kind, want := range map[string]int{
		"data": 2, "signed-data": 11, "signer": 11, "countersigner": 1, "multipart/signed": 1,
		"enveloped-data": 3, "recipient": 4, "digested-data": 1, "encrypted-data": 2,
	} {
		if kinds[kind] != want {
			t.Errorf("%d nodes of kind %s, want %d; all are %v", kinds[kind], kind, want, kinds)
		}
	}
}

func count(n *Node, kinds map[string]int) {
	kinds[n.Kind]++
	for _, c := range n.Children {
		count(c, kinds)
	}
}

// message returns a signed message in a compressed one.
func message(t *testing.T) []byte {
	t.Helper()
	ca, err := testpki.NewCA("CA")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "Alice", Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := p.Key.(crypto.Signer)
	if !ok {
		t.Fatal("the key does not sign")
	}
	var signed, compressed bytes.Buffer
	w, err := cms.Sign(&signed, []cms.Signer{cms.NewSigner(p.Cert, signer)}, nil)
	write(t, w, err, []byte("Content-Type: text/plain\r\n\r\nText.\r\n"))
	w, err = cms.Compress(&compressed, "")
	write(t, w, err, signed.Bytes())
	return compressed.Bytes()
}

func write(t *testing.T, w io.WriteCloser, err error, content []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTree(t *testing.T) {
	n, err := CMS(bytes.NewReader(message(t)))
	if err != nil {
		t.Fatal(err)
	}
	path := []string{"file", "compressed-data", "signed-data", "entity", "text/plain"}
	at := n
	for i, kind := range path {
		if at.Kind != kind {
			t.Fatalf("level %d is %s, want %s", i, at.Kind, kind)
		}
		if i < len(path)-1 {
			at = at.Children[0]
		}
	}
	var b strings.Builder
	if err = n.WriteTree(&b); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(b.String(), "\n"); lines < 20 {
		t.Errorf("the tree has %d lines", lines)
	}
	data, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Type     string
		Children []struct{ Type, Compression string }
	}
	if err = json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	if object.Type != "file" || len(object.Children) != 1 || object.Children[0].Compression != "zlib" {
		t.Errorf("JSON: %+v", object)
	}
}

func TestTruncation(t *testing.T) {
	data := message(t)
	for i := range data {
		n, err := CMS(bytes.NewReader(data[:i]))
		if err == nil {
			t.Fatalf("%d of %d octets make no error", i, len(data))
		}
		if n == nil {
			t.Fatalf("%d octets: there is no tree", i)
		}
	}
}

// TestDepth checks that nesting ends.
func TestDepth(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\n\n", 1000)
	n, err := Message(strings.NewReader(deep))
	if !errors.Is(err, ErrTooMuch) {
		t.Errorf("error %v", err)
	}
	if n == nil || len(n.Children) == 0 {
		t.Error("there is no tree")
	}
}

// TestParts checks that the number of parts is bounded.
func TestParts(t *testing.T) {
	many := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", maxNodes+10) + "--b--\n"
	if _, err := Message(strings.NewReader(many)); !errors.Is(err, ErrTooMuch) {
		t.Errorf("error %v", err)
	}
}

func TestControlCharacters(t *testing.T) {
	text := "Subject: \x1b[31mred\x07 =?utf-8?Q?=1B=0A?=\nContent-Type: application/pdf; name=\"a\x1b\u202eb\"\n\n"
	n, err := Message(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err = n.WriteTree(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x07\u202e") {
		t.Errorf("the tree has control characters: %q", b.String())
	}
}

// TestReadError checks that an error of the source is returned as it is.
func TestReadError(t *testing.T) {
	want := errors.New("broken disk")
	for _, look := range []func(io.Reader) (*Node, error){CMS, Message} {
		if _, err := look(iotest.ErrReader(want)); !errors.Is(err, want) {
			t.Errorf("error %v", err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pkcs7-signature\n\nMIAGCSqGSIb3DQEHAqCA\n--b--\n"))
	f.Add([]byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, look := range []func(io.Reader) (*Node, error){CMS, Message} {
			n, err := look(bytes.NewReader(data))
			if n == nil {
				t.Fatalf("there is no tree: %v", err)
			}
			if err = n.WriteTree(io.Discard); err != nil {
				t.Fatal(err)
			}
			if _, err = json.Marshal(n); err != nil {
				t.Fatal(err)
			}
		}
	})
}
