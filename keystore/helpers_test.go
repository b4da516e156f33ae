package keystore

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	//lint:ignore SA1019 old keys are DSA keys (RFC 4134)
	"crypto/dsa"

	"github.com/postseal/postseal/internal/testpki"
)

// vector returns the path of a test vector beside the module.
func vector(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		vectors := filepath.Join(dir, "..", "shared", "vectors")
		if _, err = os.Stat(vectors); err == nil {
			return filepath.Join(vectors, name)
		}
	}
	missing(t, "the folder of test vectors")
	return ""
}

// missing skips a test, or lets it fail where everything has to be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

func readFileT(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a peer and returns its standard output.
func run(t testing.TB, dir, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// answer is a Passphrase that gives secret and counts the questions.
func answer(secret string, count *int) Passphrase {
	return func(string) ([]byte, error) {
		*count++
		return []byte(secret), nil
	}
}

func fixed(secret string) Passphrase {
	return func(string) ([]byte, error) { return []byte(secret), nil }
}

func sameKey(a, b crypto.PrivateKey) bool {
	if k, ok := a.(*dsa.PrivateKey); ok {
		other, isDSA := b.(*dsa.PrivateKey)
		return isDSA && k.X.Cmp(other.X) == 0 && k.Y.Cmp(other.Y) == 0 && k.P.Cmp(other.P) == 0
	}
	k, ok := a.(interface{ Equal(crypto.PrivateKey) bool })
	return ok && k.Equal(b)
}

// wantErr checks that err is a *FileError about name that wraps want.
func wantErr(t *testing.T, what string, err error, name string, want error) {
	t.Helper()
	var fileErr *FileError
	if !errors.As(err, &fileErr) || fileErr.Name != name {
		t.Errorf("%s: %v, want an error about %s", what, err, name)
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// people are identities with keys of several types.
func people(t testing.TB) map[string]*testpki.Person {
	t.Helper()
	root, err := testpki.NewCA("Root")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := root.Intermediate("Intermediate")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*testpki.Person)
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.P521, testpki.Ed25519, testpki.X25519} {
		p, err := ca.Issue(testpki.Profile{Name: "Alice " + kind.String(), Email: "alice@example.test", Key: kind})
		if err != nil {
			t.Fatal(err)
		}
		out[kind.String()] = p
	}
	return out
}

// wantIdentity checks that ids is the one identity of p.
func wantIdentity(t *testing.T, what string, ids []Identity, err error, p *testpki.Person) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if len(ids) != 1 || !bytes.Equal(ids[0].Certificate.Raw, p.Cert.Raw) || !sameKey(p.Key, ids[0].Key) {
		t.Errorf("%s: %d identities, or another one", what, len(ids))
	}
}
