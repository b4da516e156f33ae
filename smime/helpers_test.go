package smime

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
)

// A cast is the people of the tests.
type cast struct {
	ca                 *testpki.CA
	alice, bob, mallet *testpki.Person // mallet's CA is trusted by nobody
}

var people = sync.OnceValue(func() *cast {
	must := func(p *testpki.Person, err error) *testpki.Person {
		if err != nil {
			panic(err)
		}
		return p
	}
	ca, err := testpki.NewCA("Root")
	if err != nil {
		panic(err)
	}
	other, err := testpki.NewCA("Other Root")
	if err != nil {
		panic(err)
	}
	return &cast{ca: ca,
		alice:  must(ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: testpki.P256})),
		bob:    must(ca.Issue(testpki.Profile{Name: "Bob", Email: "bob@example.test", Key: testpki.RSA2048})),
		mallet: must(other.Issue(testpki.Profile{Name: "Mallet", Email: "alice@example.test", Key: testpki.P256})),
	}
})

func signerOf(p *testpki.Person) cms.Signer { return cms.NewSigner(p.Cert, p.Key.(crypto.Signer)) }

func recipientsOf(list ...*testpki.Person) []cms.Recipient {
	out := make([]cms.Recipient, len(list))
	for i, p := range list {
		out[i] = cms.NewRecipient(p.Cert)
	}
	return out
}

// readOptions are those of bob, who trusts the CA.
func readOptions() *ReadOptions {
	c := people()
	return &ReadOptions{
		Trust:      cms.TrustRoots(c.ca.Root()),
		Identities: []cms.Identity{cms.NewIdentity(c.bob.Cert, c.bob.Key)},
	}
}

// A writerFunc starts one of the forms.
type writerFunc func(w io.Writer) (io.WriteCloser, error)

func signed(opts *SignOptions) writerFunc {
	return func(w io.Writer) (io.WriteCloser, error) {
		return Sign(w, []cms.Signer{signerOf(people().alice)}, opts)
	}
}

func encrypted(opts *EncryptOptions) writerFunc {
	return func(w io.Writer) (io.WriteCloser, error) { return Encrypt(w, recipientsOf(people().bob), opts) }
}

func compressed(w io.Writer) (io.WriteCloser, error) { return Compress(w, nil) }

// protect runs a message through the forms, the first one innermost.
func protect(t testing.TB, message string, forms ...writerFunc) string {
	t.Helper()
	for _, form := range forms {
		var out bytes.Buffer
		w, err := form(&out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(w, message); err != nil {
			t.Fatal(err)
		}
		if err = w.Close(); err != nil {
			t.Fatal(err)
		}
		message = out.String()
	}
	return message
}

func read(t testing.TB, message string, opts *ReadOptions) (*Message, error) {
	t.Helper()
	m, err := Read(strings.NewReader(message), opts)
	if m != nil {
		t.Cleanup(func() {
			if cerr := m.Close(); cerr != nil {
				t.Error(cerr)
			}
		})
	}
	if opts != nil && opts.MaxContent == 0 {
		sameAt(t, message, opts, m, err)
		sameStaged(t, message, opts, m, err)
	}
	return m, err
}

// sameAt reads a message where it is, and compares with what came of a stream.
func sameAt(t testing.TB, message string, opts *ReadOptions, want *Message, wantErr error) {
	t.Helper()
	got, err := ReadAt(strings.NewReader(message), int64(len(message)), opts)
	defer func() { _ = got.Close() }()
	if fmt.Sprintf("%T %v", err, err) != fmt.Sprintf("%T %v", wantErr, wantErr) || (got == nil) != (want == nil) {
		t.Fatalf("read where it is: %v, want %v", err, wantErr)
	}
	if got == nil {
		return
	}
	var written, wantWritten strings.Builder
	_, err = got.WriteTo(&written)
	_, wantErr = want.WriteTo(&wantWritten)
	if err != nil || wantErr != nil || written.String() != wantWritten.String() {
		t.Errorf("read where it is, this is written: %v\n%q\nwant: %v\n%q", err, written.String(), wantErr, wantWritten.String())
	}
	if text(t, got.Content()) != text(t, want.Content()) || text(t, got.Body()) != text(t, want.Body()) {
		t.Error("read where it is, the content or its body differs")
	}
	if got.Status != want.Status || got.Signed != want.Signed || got.Trusted != want.Trusted || got.Encrypted != want.Encrypted ||
		layerTypes(got) != layerTypes(want) || got.HeaderProtection != want.HeaderProtection || len(got.Problems) != len(want.Problems) {
		t.Errorf("read where it is: %+v, want %+v", got, want)
	}
}

// mustRead is read of a message in which all is good.
func mustRead(t testing.TB, message string, opts *ReadOptions) *Message {
	t.Helper()
	m, err := read(t, message, opts)
	if err != nil {
		t.Fatalf("%v\n%s", err, message)
	}
	return m
}

func text(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func lf(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// layerTypes returns the types of the layers.
func layerTypes(m *Message) string {
	var out []string
	for _, l := range m.Layers {
		out = append(out, l.Type)
	}
	return strings.Join(out, " ")
}

// vectors finds a folder of the test data of others.
func vectors(t testing.TB, folder string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	path := filepath.Join(dir, "..", "shared", "vectors", folder)
	if _, err = os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the test vectors are missing: %v", err)
		}
		t.Skipf("the test vectors are missing: %v", err)
	}
	return path
}

func certificate(t testing.TB, file string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const simple = "Return-Path: <alice@example.test>\r\n" +
	"From: Alice <alice@example.test>\r\n" +
	"To: bob@example.test\r\n" +
	"Subject: =?utf-8?q?a_long?=\r\n" +
	"\t folded one\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Message-ID: <1@example.test>\r\n" +
	"Content-Transfer-Encoding: 7bit\r\n" +
	"\r\n" +
	"Hello,\r\n\r\nthis is text.\r\n"

const simpleOuter = "Return-Path: <alice@example.test>\r\n" +
	"From: Alice <alice@example.test>\r\n" +
	"To: bob@example.test\r\n" +
	"Subject: =?utf-8?q?a_long?=\r\n" +
	"\t folded one\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Message-ID: <1@example.test>\r\n"

const simpleContent = "Content-Type: text/plain; charset=utf-8\r\n" +
	"Content-Transfer-Encoding: 7bit\r\n" +
	"\r\n" +
	"Hello,\r\n\r\nthis is text.\r\n"

// bobsIdentity is the identity to a PKCS #8 key.
func bobsIdentity(t *testing.T, cert *x509.Certificate, key []byte) cms.Identity {
	t.Helper()
	k, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cms.NewIdentity(cert, k)
}

func isLimit(err error) bool {
	_, ok := errors.AsType[*cms.LimitError](err)
	return ok
}

// repeating is an endless source.
type repeating string

func (r repeating) Read(p []byte) (int, error) {
	n := 0
	for n+len(r) <= len(p) {
		n += copy(p[n:], r)
	}
	if n == 0 {
		n = copy(p, r)
	}
	return n, nil
}
