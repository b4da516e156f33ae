package keywrap

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// vectorFile returns a file of the shared test vectors, which lie beside the
// module. Without them the test is skipped, and fails where CI=true.
func vectorFile(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
	data, err := os.ReadFile(filepath.Join(dir, "..", "shared", "vectors", name))
	if errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("test vectors are missing: %v", err)
		}
		t.Skipf("test vectors are missing: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func TestWycheproofAESWrap(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID         int
				Result       string
				Key, Msg, Ct hexBytes
			}
		}
	}
	if err := json.Unmarshal(vectorFile(t, "wycheproof/aes_wrap_test.json"), &file); err != nil {
		t.Fatal(err)
	}
	verdicts := make(map[string]int)
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			verdicts[v.Result]++
			// The three "acceptable" tests wrap 8 octets, which RFC 3394, Section 2,
			// does not allow.
			good := v.Result == "valid"
			key, err := Unwrap(v.Key, v.Ct)
			switch {
			case good && (err != nil || !bytes.Equal(key, v.Msg)):
				t.Errorf("test %d: unwrapped to %x, %v", v.TcID, key, err)
			case !good && (!errors.Is(err, ErrIntegrity) || key != nil):
				t.Errorf("test %d: unwrapped to %x, %v, want ErrIntegrity", v.TcID, key, err)
			}
			wrapped, err := Wrap(v.Key, v.Msg)
			switch {
			case good && (err != nil || !bytes.Equal(wrapped, v.Ct)):
				t.Errorf("test %d: wrapped to %x, %v", v.TcID, wrapped, err)
			case !good && err == nil && bytes.Equal(wrapped, v.Ct):
				t.Errorf("test %d: wrapped to what is %s", v.TcID, v.Result)
			case err != nil && !errors.Is(err, ErrKeySize):
				t.Errorf("test %d: %v, want ErrKeySize", v.TcID, err)
			}
		}
	}
	if verdicts["valid"] != 36 || verdicts["invalid"] != 126 || verdicts["acceptable"] != 3 || file.NumberOfTests != 165 {
		t.Errorf("saw %v", verdicts)
	}
}
