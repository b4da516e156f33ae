package pki

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectorsDir returns the folder of test vectors beside the module.
func vectorsDir(t testing.TB) string {
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
			return vectors
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("the folder of test vectors is missing")
	}
	t.Skip("no test vectors here")
	return ""
}

// readCerts reads the certificates of files that match a pattern below the
// vectors, in PEM or DER, by file name.
func readCerts(t testing.TB, pattern string) map[string]*Certificate {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorsDir(t), pattern))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*Certificate)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".pem") || strings.HasPrefix(string(data), "-----") {
			for {
				var block *pem.Block
				if block, data = pem.Decode(data); block == nil {
					break
				}
				if block.Type == "CERTIFICATE" {
					out[filepath.Base(name)] = parseOrFail(t, name, block.Bytes)
				}
			}
			continue
		}
		out[filepath.Base(name)] = parseOrFail(t, name, data)
	}
	return out
}

func parseOrFail(t testing.TB, name string, der []byte) *Certificate {
	t.Helper()
	c, err := ParseCertificate(der)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}
