package rc2

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
)

// The vectors of RFC 2268, Section 5.
var rfc2268 = []struct {
	key, plain, cipher string
	bits               int
}{
	{"0000000000000000", "0000000000000000", "ebb773f993278eff", 63},
	{"ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49", 64},
	{"3000000000000000", "1000000000000001", "30649edf9be7d2c2", 64},
	{"88", "0000000000000000", "61a8a244adacccf0", 64},
	{"88bca90e90875a", "0000000000000000", "6ccf4308974c267f", 64},
	{"88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1", 64},
	{"88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6", 128},
	{"88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e",
		"0000000000000000", "5b78d3a43dfff1f1", 129},
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC2268Section5(t *testing.T) {
	for i, v := range rfc2268 {
		b, err := New(unhex(t, v.key), v.bits)
		if err != nil {
			t.Fatal(err)
		}
		got := unhex(t, v.plain)
		b.Encrypt(got, got)
		if want := unhex(t, v.cipher); !bytes.Equal(got, want) {
			t.Errorf("vector %d: encrypted to %x, want %x", i, got, want)
		}
		b.Decrypt(got, got)
		if want := unhex(t, v.plain); !bytes.Equal(got, want) {
			t.Errorf("vector %d: decrypted to %x, want %x", i, got, want)
		}
	}
}

func TestRoundTripEverySize(t *testing.T) {
	rng := rand.New(rand.NewPCG(2268, 1))
	for n := 1; n <= maxKey; n++ {
		key := make([]byte, n)
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		b, err := New(key, 1+rng.IntN(maxBits))
		if err != nil {
			t.Fatal(err)
		}
		var plain, sealed, opened [BlockSize]byte
		for i := range plain {
			plain[i] = byte(rng.Uint32())
		}
		b.Encrypt(sealed[:], plain[:])
		b.Decrypt(opened[:], sealed[:])
		if opened != plain || sealed == plain {
			t.Errorf("key of %d octets: %x became %x and then %x", n, plain, sealed, opened)
		}
	}
}

// The lowest effective bits alone must matter: keys that agree in what the
// reduction keeps are the same key.
func TestEffectiveBitsReduceTheKey(t *testing.T) {
	seen := make(map[[BlockSize]byte]bool)
	for i := range 256 {
		for _, fill := range []byte{0x00, 0x5a} {
			b, err := New([]byte{byte(i), fill, 1, 2, 3, 4, 5, 6}, 3)
			if err != nil {
				t.Fatal(err)
			}
			var out [BlockSize]byte
			b.Encrypt(out[:], out[:])
			seen[out] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("3 effective bits gave %d different keys, want 8", len(seen))
	}
}

func TestNewRefuses(t *testing.T) {
	for _, v := range []struct {
		octets, bits int
		want         error
	}{
		{0, 64, ErrKeySize}, {129, 64, ErrKeySize},
		{8, 0, ErrEffectiveBits}, {8, -1, ErrEffectiveBits}, {8, 1025, ErrEffectiveBits},
	} {
		if _, err := New(make([]byte, v.octets), v.bits); !errors.Is(err, v.want) {
			t.Errorf("New(%d octets, %d bits) = %v, want %v", v.octets, v.bits, err, v.want)
		}
	}
	if b, err := New(make([]byte, 128), 1024); err != nil || b.BlockSize() != 8 {
		t.Errorf("New(128 octets, 1024 bits) = %v", err)
	}
}

func TestParameterVersion(t *testing.T) {
	for _, v := range [][2]int{{160, 40}, {120, 64}, {58, 128}, {256, 256}, {1024, 1024}} {
		if got, ok := EffectiveBits(v[0]); !ok || got != v[1] {
			t.Errorf("EffectiveBits(%d) = %d, %v, want %d", v[0], got, ok, v[1])
		}
	}
	for n := 1; n <= maxBits; n++ {
		v, ok := ParameterVersion(n)
		if !ok {
			t.Fatalf("ParameterVersion(%d) refused", n)
		}
		if back, known := EffectiveBits(v); !known || back != n {
			t.Errorf("EffectiveBits(ParameterVersion(%d)) = %d, %v", n, back, known)
		}
	}
	for _, v := range []int{-1, 0xbd, 1025} { // 0xbd stands for no bits at all
		if n, ok := EffectiveBits(v); ok {
			t.Errorf("EffectiveBits(%d) = %d, want a refusal", v, n)
		}
	}
	for _, n := range []int{-1, 0, 1025} {
		if v, ok := ParameterVersion(n); ok {
			t.Errorf("ParameterVersion(%d) = %d, want a refusal", n, v)
		}
	}
}
