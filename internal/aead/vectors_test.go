package aead

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
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

type vector struct {
	TcID                       int
	Result                     string
	Key, IV, AAD, Msg, Ct, Tag hexBytes
}

func readVectors(t *testing.T, name string) []vector {
	t.Helper()
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			TagSize int
			Tests   []vector
		}
	}
	if err := json.Unmarshal(vectorFile(t, name), &file); err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, g := range file.TestGroups {
		if g.TagSize != 8*TagSize {
			t.Fatalf("a group has tags of %d bits", g.TagSize)
		}
		all = append(all, g.Tests...)
	}
	if len(all) != file.NumberOfTests {
		t.Fatalf("read %d tests of %d", len(all), file.NumberOfTests)
	}
	return all
}

// A cut tells how many of the octets that are left come in the next call.
type cut func(left int) int

func whole(left int) int  { return left }
func single(left int) int { return min(1, left) }

// splitting returns a cut into random parts, empty ones among them.
func splitting(rng *rand.Rand, most int) cut {
	return func(left int) int { return rng.IntN(min(left, most) + 1) }
}

// drive hands p to f in parts, and its place in dst with it.
func drive(t *testing.T, dst, p []byte, c cut, f func(dst, src []byte) error) {
	t.Helper()
	for {
		n := c(len(p))
		if err := f(dst[:n], p[:n]); err != nil {
			t.Fatal(err)
		}
		if dst, p = dst[n:], p[n:]; len(p) == 0 {
			return
		}
	}
}

// seal returns ciphertext and tag; in place when asked.
func seal(t *testing.T, s Stream, msg, aad []byte, c cut, inPlace bool) (ct, tag []byte) {
	t.Helper()
	ct = make([]byte, len(msg))
	src := msg
	if inPlace {
		copy(ct, msg)
		src = ct
	}
	drive(t, ct, src, c, s.Seal)
	sum, err := s.Tag(aad)
	if err != nil {
		t.Fatal(err)
	}
	return ct, sum[:]
}

// absorb returns the tag.
func absorb(t *testing.T, s Stream, ct, aad []byte, c cut) []byte {
	t.Helper()
	drive(t, ct, ct, c, func(_, p []byte) error { return s.Absorb(p) })
	sum, err := s.Tag(aad)
	if err != nil {
		t.Fatal(err)
	}
	return sum[:]
}

func testVectors(t *testing.T, name string, count, refused int, newStream func(v *vector) (Stream, error)) {
	vectors := readVectors(t, name)
	rng := rand.New(rand.NewPCG(5084, 8103))
	cuts := []cut{whole, single, splitting(rng, 40), splitting(rng, 300)}
	skipped := 0
	for i := range vectors {
		v := &vectors[i]
		if _, err := newStream(v); errors.Is(err, ErrNonceSize) && v.Result == "invalid" {
			skipped++
			continue
		}
		for j, c := range cuts {
			s, err := newStream(v)
			if err != nil {
				t.Fatalf("test %d: %v", v.TcID, err)
			}
			tag := absorb(t, s, v.Ct, v.AAD, c)
			if good := subtle.ConstantTimeCompare(tag, v.Tag) == 1; good != (v.Result == "valid") {
				t.Errorf("test %d, cut %d: the tag is good is %v, want %s", v.TcID, j, good, v.Result)
			}
			if v.Result != "valid" {
				continue
			}
			opened := make([]byte, len(v.Ct))
			drive(t, opened, v.Ct, c, s.Open)
			if !bytes.Equal(opened, v.Msg) {
				t.Errorf("test %d, cut %d: opened to %x, want %x", v.TcID, j, opened, v.Msg)
			}
			if s, err = newStream(v); err != nil {
				t.Fatal(err)
			}
			ct, sealedTag := seal(t, s, v.Msg, v.AAD, c, i%2 == 0)
			if !bytes.Equal(ct, v.Ct) || !bytes.Equal(sealedTag, v.Tag) {
				t.Errorf("test %d, cut %d: sealed to %x, tag %x", v.TcID, j, ct, sealedTag)
			}
		}
	}
	if len(vectors) != count || skipped != refused {
		t.Errorf("saw %d vectors and %d refused nonces, want %d and %d", len(vectors), skipped, count, refused)
	}
}

func TestWycheproofGCM(t *testing.T) {
	testVectors(t, "wycheproof/aes_gcm_test.json", 316, 6, func(v *vector) (Stream, error) {
		return NewGCM(v.Key, v.IV)
	})
}

func TestWycheproofChaCha20Poly1305(t *testing.T) {
	testVectors(t, "wycheproof/chacha20_poly1305_test.json", 325, 9, func(v *vector) (Stream, error) {
		return NewChaCha20Poly1305(v.Key, v.IV, v.AAD)
	})
}
