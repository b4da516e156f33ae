package cms

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// vectorDir returns the folder of test data of others. It is beside the
// project; where it is missing the test is skipped, and fails in CI.
func vectorDir(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "vectors", name)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the vectors are missing: %v", err)
		}
		t.Skipf("the vectors are missing: %v", err)
	}
	return dir
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(data); block != nil {
		return block.Bytes
	}
	return data
}

func readCert(t testing.TB, elem ...string) *pki.Certificate {
	t.Helper()
	c, err := pki.ParseCertificate(readFile(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var testCA = func() *testpki.CA {
	ca, err := testpki.NewCA("Postseal Test CA")
	if err != nil {
		panic(err)
	}
	return ca
}()

func person(t testing.TB, kind testpki.KeyType) *testpki.Person {
	t.Helper()
	p, err := testCA.Issue(testpki.Profile{Name: kind.String(), Email: "test@example.test", Key: kind})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func signer(t testing.TB, kind testpki.KeyType) Signer {
	t.Helper()
	p := person(t, kind)
	return NewSigner(p.Cert, p.Key.(crypto.Signer))
}

// write writes content to w in pieces and closes it.
func write(t testing.TB, w io.WriteCloser, err error, content []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for step := 1; len(content) > 0; step = step*7 + 1 {
		n := min(step, len(content))
		if _, err = w.Write(content[:n]); err != nil {
			t.Fatal(err)
		}
		content = content[n:]
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func newReader(t testing.TB, message []byte) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(message), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readAll reads content up to its verdict.
func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return content, err
}

// testSizes are sizes of content around the borders that the code knows.
var testSizes = []int{0, 1, 15, 16, 17, 10 << 10, smallContent - 1, smallContent, smallContent + 1, 3*chunkSize - 1, 300_001}

func testContent(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i*7 + i>>8)
	}
	return out
}

func trustCA() Trust { return TrustRoots(testCA.Cert) }
