package keywrap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everyFlip calls unwrap with every single bit of wrapped turned over, and with
// every other length, and wants ErrIntegrity and no key.
func everyFlip(t *testing.T, wrapped []byte, unwrap func([]byte) ([]byte, error)) {
	t.Helper()
	check := func(what string, n int, p []byte) {
		if key, err := unwrap(p); !errors.Is(err, ErrIntegrity) || key != nil {
			t.Errorf("%s %d: %x, %v, want ErrIntegrity", what, n, key, err)
		}
	}
	for bit := range 8 * len(wrapped) {
		p := bytes.Clone(wrapped)
		p[bit/8] ^= 1 << (bit % 8)
		check("bit", bit, p)
	}
	for n := range len(wrapped) {
		check("cut to", n, wrapped[:n])
	}
	for n := 1; n <= 40; n++ {
		check("longer by", n, append(bytes.Clone(wrapped), make([]byte, n)...))
	}
}

// The examples of RFC 3394, Section 4.
var rfc3394 = []struct{ kek, key, wrapped string }{
	{"000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF",
		"1FA68B0A8112B447 AEF34BD8FB5A7B82 9D3E862371D2CFE5"},
	{"000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF",
		"96778B25AE6CA435 F92B5B97C050AED2 468AB8A17AD84E5D"},
	{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF",
		"64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7"},
	{"000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF0001020304050607",
		"031D33264E15D332 68F24EC260743EDC E1C6C7DDEE725A93 6BA814915C6762D2"},
	{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF0001020304050607",
		"A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1"},
	{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
		"00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
		"28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21"},
}

func TestRFC3394Section4(t *testing.T) {
	for i, v := range rfc3394 {
		kek, key, want := unhex(t, v.kek), unhex(t, v.key), unhex(t, v.wrapped)
		wrapped, err := Wrap(kek, key)
		if err != nil || !bytes.Equal(wrapped, want) {
			t.Errorf("4.%d: wrapped to %x, %v, want %x", i+1, wrapped, err, want)
		}
		got, err := Unwrap(kek, want)
		if err != nil || !bytes.Equal(got, key) {
			t.Errorf("4.%d: unwrapped to %x, %v, want %x", i+1, got, err, key)
		}
		everyFlip(t, want, func(p []byte) ([]byte, error) { return Unwrap(kek, p) })
	}
}

func TestWrapSizes(t *testing.T) {
	for n := range maxAESKey + 9 {
		wrapped, err := Wrap(make([]byte, 16), make([]byte, n))
		if good := n%8 == 0 && n >= 16 && n <= maxAESKey; good != (err == nil) || err != nil && !errors.Is(err, ErrKeySize) {
			t.Fatalf("Wrap of %d octets: %v", n, err)
		}
		if err == nil {
			if key, back := Unwrap(make([]byte, 16), wrapped); back != nil || len(key) != n {
				t.Fatalf("Unwrap of %d octets: %d, %v", n, len(key), back)
			}
		}
	}
	for _, n := range []int{0, 8, 15, 17, 33} {
		if _, err := Wrap(make([]byte, n), make([]byte, 16)); !errors.Is(err, ErrKeySize) {
			t.Errorf("Wrap under %d octets: %v, want ErrKeySize", n, err)
		}
		if _, err := Unwrap(make([]byte, n), make([]byte, 24)); !errors.Is(err, ErrIntegrity) {
			t.Errorf("Unwrap under %d octets: %v, want ErrIntegrity", n, err)
		}
	}
	if _, err := Unwrap(make([]byte, 16), make([]byte, maxAESKey+16)); !errors.Is(err, ErrIntegrity) {
		t.Errorf("Unwrap of too much: %v, want ErrIntegrity", err)
	}
}

// Key wrap is deterministic and must not write to its arguments.
func TestArgumentsAreNotChanged(t *testing.T) {
	kek, key := unhex(t, rfc3394[5].kek), unhex(t, rfc3394[5].key)
	wrapped, err := Wrap(kek, key)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(wrapped)
	if _, err = Unwrap(kek, wrapped); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(wrapped, before) || !bytes.Equal(key, unhex(t, rfc3394[5].key)) {
		t.Error("an argument was changed")
	}
}
