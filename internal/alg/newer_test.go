package alg

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/mldsa"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A vector is a test of wycheproof for what gives a shared secret.
type vector struct {
	ID      int `json:"tcId"`
	Public  string
	Private string
	Shared  string
	Seed    string
	EK      string `json:"ek"`
	C       string `json:"c"`
	K       string
	Result  string
}

func vectors(t *testing.T, name string) []vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "wycheproof", name))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("the vectors are missing: %v", err)
	}
	if err != nil {
		t.Fatalf("the vectors are missing: %v", err)
	}
	var file struct {
		TestGroups []struct{ Tests []vector }
	}
	if err = json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var out []vector
	for _, g := range file.TestGroups {
		out = append(out, g.Tests...)
	}
	return out
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestX448(t *testing.T) {
	list, good := vectors(t, "x448_test.json"), 0
	for _, v := range list {
		key, err := NewX448PrivateKey(fromHex(t, v.Private))
		if err != nil {
			t.Fatal(err)
		}
		var secret []byte
		peer, err := NewX448PublicKey(fromHex(t, v.Public))
		if err == nil {
			secret, err = key.ECDH(peer)
		}
		switch {
		case err == nil && v.Result != "invalid" && bytes.Equal(secret, fromHex(t, v.Shared)):
			good++
		case err != nil && v.Result != "valid":
		default:
			t.Errorf("%d (%s): %x, %v", v.ID, v.Result, secret, err)
		}
	}
	if len(list) != 510 || good < 400 {
		t.Errorf("%d tests, %d good", len(list), good)
	}
}

func TestBrainpoolECDH(t *testing.T) {
	const step = 4 // the arithmetic is slow
	for name, curve := range map[string]oid.OID{"ecdh_brainpoolP256r1_test.json": oid.BrainpoolP256r1, "ecdh_brainpoolP384r1_test.json": oid.BrainpoolP384r1} {
		list, good, refused := vectors(t, name), 0, 0
		c, ok := BrainpoolCurve(curve)
		if !ok {
			t.Fatal(curve)
		}
		for i, v := range list {
			if i%step != 0 {
				continue
			}
			spki := cryptobyte.String(fromHex(t, v.Public))
			var info cryptobyte.String
			var a der.Algorithm
			var bits []byte
			if !spki.ReadASN1(&info, asn1.SEQUENCE) || !spki.Empty() || !der.ReadAlgorithm(&info, &a) || !info.ReadASN1BitStringAsBytes(&bits) || !info.Empty() {
				refused++
				continue
			}
			public, known, err := ParsePublicKey(a, bits)
			if !known || err != nil {
				refused++
				if v.Result == "valid" {
					t.Errorf("%s %d: %v", name, v.ID, err)
				}
				continue
			}
			key, err := NewBrainpoolKey(c, fromHex(t, v.Private))
			if err != nil {
				t.Fatal(err)
			}
			spkiAgain, err := MarshalPublicKey(public)
			if err != nil || len(spkiAgain) == 0 {
				t.Errorf("%s %d: %v", name, v.ID, err)
			}
			if a.OID != oid.EC || curveName(a) != curve {
				continue // on another curve
			}
			secret, err := BrainpoolECDH(key, bits)
			if err != nil || v.Result == "invalid" || !bytes.Equal(secret, fromHex(t, v.Shared)) {
				t.Errorf("%s %d (%s): %x, %v", name, v.ID, v.Result, secret, err)
			}
			good++
		}
		if len(list) < 700 || good < 350/step || refused < 100/step {
			t.Errorf("%s: %d tests, %d good, %d refused", name, len(list), good, refused)
		}
	}
}

// TestMLKEM decapsulates with the key as a seed and in expanded form.
func TestMLKEM(t *testing.T) {
	for name, id := range map[string]oid.OID{"mlkem_512_test.json": oid.MLKEM512, "mlkem_768_test.json": oid.MLKEM768} {
		kem, ok := KEMByOID(id)
		if !ok {
			t.Fatal(id)
		}
		list, good := vectors(t, name), 0
		for _, v := range list {
			seed, ciphertext := fromHex(t, v.Seed), fromHex(t, v.C)
			key, err := kem.NewPrivateKey(seed)
			if err != nil {
				if v.Result == "valid" {
					t.Errorf("%s %d: %v", name, v.ID, err)
				}
				continue
			}
			expanded, err := kem.Expand(seed)
			if err != nil {
				t.Fatal(err)
			}
			other, err := kem.NewExpandedKey(expanded)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []crypto.Decapsulator{key, other} {
				secret, err := d.Decapsulate(ciphertext)
				if (err == nil) != (v.Result == "valid") || err == nil && !bytes.Equal(secret, fromHex(t, v.K)) {
					t.Errorf("%s %d (%s): %v", name, v.ID, v.Result, err)
				}
				if v.EK != "" && !bytes.Equal(d.Encapsulator().Bytes(), fromHex(t, v.EK)) {
					t.Errorf("%s %d: another encapsulation key", name, v.ID)
				}
			}
			good++
		}
		if len(list) != 193 || good < 100 {
			t.Errorf("%s: %d tests, %d good", name, len(list), good)
		}
	}
}

// TestExpandedKeys changes keys in expanded form: what is not a key is refused.
func TestExpandedKeys(t *testing.T) {
	for _, k := range kems {
		seed := bytes.Repeat([]byte{7}, KEMSeedSize)
		good, err := k.Expand(seed)
		if err != nil || len(good) != k.PrivateKeySize {
			t.Fatalf("%s: %d octets, %v", k.Name, len(good), err)
		}
		key, err := k.NewPrivateKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		expanded, err := k.NewExpandedKey(good)
		if err != nil || !bytes.Equal(expanded.Encapsulator().Bytes(), key.Encapsulator().Bytes()) || expanded.Seed() != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
		secret, ciphertext := key.Encapsulator().Encapsulate()
		if got, openErr := expanded.Decapsulate(ciphertext); openErr != nil || !bytes.Equal(got, secret) {
			t.Errorf("%s: %v", k.Name, openErr)
		}
		for _, at := range []int{0, 700, k.PrivateKeySize - 64 - k.PublicKeySize + 5, k.PrivateKeySize - 40} {
			bad := bytes.Clone(good)
			bad[at] ^= 0x11
			if _, err = k.NewExpandedKey(bad); !errors.Is(err, ErrParameters) {
				t.Errorf("%s, octet %d changed: %v", k.Name, at, err)
			}
		}
		for _, bad := range [][]byte{nil, good[:len(good)-1], append(bytes.Clone(good), 0)} {
			if _, err = k.NewExpandedKey(bad); !errors.Is(err, ErrParameters) {
				t.Errorf("%s, %d octets: %v", k.Name, len(bad), err)
			}
		}
	}
	for _, m := range mldsas {
		seed := bytes.Repeat([]byte{7}, MLDSASeedSize)
		good, err := m.Expand(seed)
		if err != nil || len(good) != m.PrivateKeySize {
			t.Fatalf("%s: %d octets, %v", m.Name, len(good), err)
		}
		key, err := mldsa.NewPrivateKey(m.Parameters, seed)
		if err != nil {
			t.Fatal(err)
		}
		expanded, err := m.NewExpandedKey(good)
		if err != nil || !key.PublicKey().Equal(expanded.Public()) {
			t.Fatalf("%s: %v", m.Name, err)
		}
		signature, err := expanded.Sign(nil, []byte("message"), nil)
		if err != nil || mldsa.Verify(key.PublicKey(), []byte("message"), signature, nil) != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if _, err = expanded.Sign(nil, make([]byte, 64), crypto.SHA512); err == nil {
			t.Errorf("%s signs a digest", m.Name)
		}
		for at, value := range map[int]byte{0: 1, 70: 1, 130: 0xff, 128 + m.secretSize - 1: 0xff} {
			bad := bytes.Clone(good)
			bad[at] ^= value
			if _, err = m.NewExpandedKey(bad); !errors.Is(err, ErrParameters) {
				t.Errorf("%s, octet %d changed: %v", m.Name, at, err)
			}
		}
		if _, err = m.NewExpandedKey(bytes.Repeat([]byte{0x55}, m.PrivateKeySize)); !errors.Is(err, ErrParameters) {
			t.Errorf("%s, nonsense: %v", m.Name, err)
		}
	}
}

// TestSHAKE compares with FIPS 202's values for the empty message.
func TestSHAKE(t *testing.T) {
	for name, want := range map[string]string{
		"shake128": "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
		"shake256": "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762fd75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be",
	} {
		d, ok := DigestByName(name)
		h := d.New()
		if got := hex.EncodeToString(h.Sum(nil)); !ok || got != want || d.Size() != len(want)/2 || h.Size() != d.Size() {
			t.Errorf("%s: %s", name, got)
		}
		_, _ = h.Write([]byte("more")) // Sum left the state as it was
		h.Reset()
		if got := hex.EncodeToString(h.Sum([]byte{1})); got != "01"+want {
			t.Errorf("%s: %s", name, got)
		}
	}
	length := der.Algorithm{OID: oid.SHAKE256Len, Parameters: []byte{2, 2, 2, 0}}
	if d, ok := DigestByAlgorithm(length); !ok || d.Hash != SHAKE256 || !d.Algorithm().Equal(length) {
		t.Error("512 bits")
	}
	length.Parameters = []byte{2, 2, 1, 0}
	if _, ok := DigestByAlgorithm(length); ok {
		t.Error("256 bits")
	}
}
