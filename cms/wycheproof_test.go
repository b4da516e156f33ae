package cms

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

func wycheproof(t *testing.T, name string, out any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir(t, "wycheproof"), name))
	if err != nil {
		t.Fatal(err)
	}
	if err = json.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCBCPadding decrypts in all splits that io.Reader can bring about.
func TestCBCPadding(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                     int
				Key, Iv, Msg, Ct, Result string
			}
		}
	}
	wycheproof(t, "aes_cbc_pkcs5_test.json", &file)
	seen := 0
	for _, g := range file.TestGroups {
		for _, test := range g.Tests {
			seen++
			block, err := aes.NewCipher(unhex(t, test.Key))
			if err != nil {
				t.Fatal(err)
			}
			for _, src := range []io.Reader{bytes.NewReader(unhex(t, test.Ct)), &oneByte{unhex(t, test.Ct)}} {
				got, err := io.ReadAll(newCBCReader(src, block, unhex(t, test.Iv), func(err error) error { return err }))
				if (err == nil) != (test.Result == "valid") || (err != nil && err != ErrDecrypt) || (err == nil && hex.EncodeToString(got) != test.Msg) {
					t.Errorf("test %d: %x, %v, want %s", test.TcID, got, err, test.Result)
				}
			}
		}
	}
	if seen != file.NumberOfTests {
		t.Errorf("%d of %d tests", seen, file.NumberOfTests)
	}
}

// TestRSAv15 shows that what is wrong with the padding gives a random key of
// the right size, and no error.
func TestRSAv15(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			PrivateKeyPkcs8 string
			Tests           []struct {
				TcID            int
				Msg, Ct, Result string
			}
		}
	}
	wycheproof(t, "rsa_pkcs1_2048_test.json", &file)
	seen := 0
	for _, g := range file.TestGroups {
		key, err := x509.ParsePKCS8PrivateKey(unhex(t, g.PrivateKeyPkcs8))
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range g.Tests {
			seen++
			msg := unhex(t, test.Msg)
			k := &KeyTransRecipientInfo{Algorithm: der.WithNull(oid.RSA), EncryptedKey: unhex(t, test.Ct)}
			for _, size := range []int{len(msg), 16, 32} {
				got, err := k.open(key.(crypto.Decrypter), size)
				if size == 0 {
					continue // any size: what comes is judged below
				}
				if err != nil || len(got) != size {
					t.Errorf("test %d, %d octets: %d, %v", test.TcID, size, len(got), err)
				}
				right := test.Result != "invalid" && size == len(msg)
				if bytes.Equal(got, msg) != right {
					t.Errorf("test %d, %d octets: the key is right: %t, want %t", test.TcID, size, !right, right)
				}
			}
		}
	}
	if seen != file.NumberOfTests {
		t.Errorf("%d of %d tests", seen, file.NumberOfTests)
	}
}
