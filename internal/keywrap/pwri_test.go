package keywrap

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"errors"
	"testing"
)

// The examples of RFC 3211, Section 4, from the password on.
func TestRFC3211(t *testing.T) {
	salt := unhex(t, "1234567878563412")
	for i, v := range []struct {
		password               string
		iterations, size       int
		kek, iv, key, pad, out string
	}{
		{"password", 5, 8, "D1DAA78615F287E6", "EFE598EF21B33D6D", "8C627C897323A2F8", "C436F541",
			"B81B2565EE373CA6DEDCA26A178B0C10"},
		{"All n-entities must communicate with other n-entities via n-1 entiteeheehees", 500, 24,
			"6A8970BF68C92CAEA84A8DF28510858607126380CC47AB2D", "BAF1CA7931213C4E",
			"8C637D887223A2F965B566EB014B0FA5D52300A3F7EA40FFFC577203C71BAF3B", "FA060A45",
			"C03C514ABDB9E2C5AAC038572B5E24553876B377AAFB82ECA5A9D73F8AB143D9EC74E6CAD7DB260C"},
	} {
		kek, err := pbkdf2.Key(sha1.New, v.password, salt, v.iterations, v.size)
		if err != nil || !bytes.Equal(kek, unhex(t, v.kek)) {
			t.Fatalf("example %d: the password gives %x, %v", i, kek, err)
		}
		var block cipher.Block
		if v.size == 8 {
			block, err = des.NewCipher(kek)
		} else {
			block, err = des.NewTripleDESCipher(kek)
		}
		if err != nil {
			t.Fatal(err)
		}
		iv, key, want := unhex(t, v.iv), unhex(t, v.key), unhex(t, v.out)
		if got := sealPWRI(block, iv, key, unhex(t, v.pad)); !bytes.Equal(got, want) {
			t.Errorf("example %d: wrapped to %x, want %x", i, got, want)
		}
		if got, unwrapErr := UnwrapPWRI(block, iv, want); unwrapErr != nil || !bytes.Equal(got, key) {
			t.Errorf("example %d: unwrapped to %x, %v, want %x", i, got, unwrapErr, key)
		}
	}
}

func aesBlock(t *testing.T) cipher.Block {
	t.Helper()
	block, err := aes.NewCipher([]byte("an AES key of 16"))
	if err != nil {
		t.Fatal(err)
	}
	return block
}

func TestPWRISizes(t *testing.T) {
	block, iv := aesBlock(t), make([]byte, 16)
	for n := range 300 {
		key := bytes.Repeat([]byte{0x3c}, n)
		wrapped, err := WrapPWRI(block, iv, key)
		if good := n >= pwriMinKey && n <= pwriMaxKey; good != (err == nil) || err != nil && !errors.Is(err, ErrKeySize) {
			t.Fatalf("WrapPWRI of %d octets: %v", n, err)
		}
		if err != nil {
			continue
		}
		if len(wrapped) < 32 || len(wrapped)%16 != 0 || len(wrapped) >= 4+n+32 {
			t.Errorf("%d octets were wrapped into %d", n, len(wrapped))
		}
		if got, unwrapErr := UnwrapPWRI(block, iv, wrapped); unwrapErr != nil || !bytes.Equal(got, key) {
			t.Errorf("%d octets: unwrapped to %x, %v", n, got, unwrapErr)
		}
	}
	if _, err := WrapPWRI(block, iv[:8], make([]byte, 16)); !errors.Is(err, ErrKeySize) {
		t.Errorf("WrapPWRI with a short initialization vector: %v", err)
	}
	for _, n := range []int{0, 1, 15, 16, 17, 31, 33, 288, 1 << 20} {
		if _, err := UnwrapPWRI(block, iv, make([]byte, n)); !errors.Is(err, ErrIntegrity) {
			t.Errorf("UnwrapPWRI of %d octets: %v, want ErrIntegrity", n, err)
		}
	}
	if _, err := UnwrapPWRI(block, iv[:8], make([]byte, 32)); !errors.Is(err, ErrIntegrity) {
		t.Errorf("UnwrapPWRI with a short initialization vector: %v", err)
	}
}

// The padding and the key behind the check octets are not covered by the check, so
// that only the first blocks are held against changes: there, every bit counts.
func TestPWRIChecks(t *testing.T) {
	block, iv := aesBlock(t), make([]byte, 16)
	key := []byte("a key of sixteen")
	inner := append([]byte{16, ^key[0], ^key[1], ^key[2]}, key...)
	inner = append(inner, make([]byte, 12)...)
	twice := func(plain []byte) []byte {
		out := bytes.Clone(plain)
		chain := cipher.NewCBCEncrypter(block, iv)
		chain.CryptBlocks(out, out)
		chain.CryptBlocks(out, out)
		return out
	}
	if got, err := UnwrapPWRI(block, iv, twice(inner)); err != nil || !bytes.Equal(got, key) {
		t.Fatalf("unwrapped to %x, %v", got, err)
	}
	for i := 1; i < 7; i++ { // the check octets and what they check
		for bit := range 8 {
			plain := bytes.Clone(inner)
			plain[i] ^= 1 << bit
			if _, err := UnwrapPWRI(block, iv, twice(plain)); !errors.Is(err, ErrIntegrity) {
				t.Errorf("octet %d, bit %d: %v, want ErrIntegrity", i, bit, err)
			}
		}
	}
	for n := range 256 { // a length must fit
		plain := bytes.Clone(inner)
		plain[0] = byte(n)
		got, err := UnwrapPWRI(block, iv, twice(plain))
		switch good := n >= pwriMinKey && n <= len(plain)-4; {
		case good && (err != nil || len(got) != n):
			t.Errorf("length %d: %x, %v", n, got, err)
		case !good && !errors.Is(err, ErrIntegrity):
			t.Errorf("length %d: %v, want ErrIntegrity", n, err)
		}
	}
	// Any change of the wrapped octets reaches the check through the chain.
	wrapped := twice(inner)
	everyFlip(t, wrapped, func(p []byte) ([]byte, error) { return UnwrapPWRI(block, iv, p) })
}
