package keywrap

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	"errors"
	"slices"
	"testing"

	"github.com/postseal/postseal/internal/rc2"
)

// sealLegacy is the wrap of RFC 3217 with a given initialization vector, over what
// its checksum covers.
func sealLegacy(block cipher.Block, iv, covered []byte) []byte {
	sum := sha1.Sum(covered)
	inner := append(bytes.Clone(covered), sum[:8]...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(inner, inner)
	out := append(bytes.Clone(iv), inner...)
	slices.Reverse(out)
	cipher.NewCBCEncrypter(block, outerIV[:]).CryptBlocks(out, out)
	return out
}

// The example of RFC 3217, Section 3.4.
func TestRFC3217TripleDES(t *testing.T) {
	kek := unhex(t, "255e0d1c07b646dfb3134cc843ba8aa71f025b7c0838251f")
	key := unhex(t, "2923bf85e06dd6ae529149f1f1bae9eab3a7da3d860d3e98")
	wrapped := unhex(t, "690107618ef092b3b48ca1796b234ae9fa33ebb4159604037db5d6a84eb3aac2768c632775a467d4")
	got, err := Unwrap3DES(kek, wrapped)
	if err != nil || !bytes.Equal(got, key) {
		t.Errorf("unwrapped to %x, %v, want %x", got, err, key)
	}
	block, err := des.NewTripleDESCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	if again := sealLegacy(block, unhex(t, "5dd4cbfc96f5453b"), key); !bytes.Equal(again, wrapped) {
		t.Errorf("wrapped to %x, want %x", again, wrapped)
	}
	everyFlip(t, wrapped, func(p []byte) ([]byte, error) { return Unwrap3DES(kek, p) })
	for _, n := range []int{0, 8, 16, 32} {
		if _, err = Unwrap3DES(make([]byte, n), wrapped); !errors.Is(err, ErrIntegrity) {
			t.Errorf("a key-encryption key of %d octets: %v, want ErrIntegrity", n, err)
		}
	}
}

// The example of RFC 3217, Section 4.4: 40 effective bits.
func TestRFC3217RC2(t *testing.T) {
	kek := unhex(t, "fd04fd08060707fb0003fefffd02fe05")
	key := unhex(t, "b70a25fbc9d86a86050ce0d711ead4d9")
	wrapped := unhex(t, "70e699fb5701f7833330fb71e87c85a420bdc99af05d22af5a0e48d35f3138986cbaafb4b28d4f35")
	got, err := UnwrapRC2(kek, wrapped, 40)
	if err != nil || !bytes.Equal(got, key) {
		t.Errorf("unwrapped to %x, %v, want %x", got, err, key)
	}
	everyFlip(t, wrapped, func(p []byte) ([]byte, error) { return UnwrapRC2(kek, p, 40) })
	for _, bits := range []int{-1, 0, 39, 41, 128, 1025} {
		if _, err = UnwrapRC2(kek, wrapped, bits); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%d effective bits: %v, want ErrIntegrity", bits, err)
		}
	}
}

// Every length of a key comes back, and none that disagrees with its padding.
func TestUnwrapRC2Lengths(t *testing.T) {
	kek := unhex(t, "fd04fd08060707fb0003fefffd02fe05")
	block, err := rc2.New(kek, 128)
	if err != nil {
		t.Fatal(err)
	}
	for size := 8; size <= 256; size += 8 {
		covered := bytes.Repeat([]byte{0xa5}, size)
		for n := range 256 {
			covered[0] = byte(n)
			key, unwrapErr := UnwrapRC2(kek, sealLegacy(block, make([]byte, 8), covered), 128)
			switch good := n > 0 && n < size && n+8 >= size; {
			case good && (unwrapErr != nil || !bytes.Equal(key, covered[1:1+n])):
				t.Fatalf("%d octets in %d: %x, %v", n, size, key, unwrapErr)
			case !good && !errors.Is(unwrapErr, ErrIntegrity):
				t.Fatalf("%d octets in %d: %v, want ErrIntegrity", n, size, unwrapErr)
			}
		}
	}
}
