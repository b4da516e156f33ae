package aead

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"
)

// FuzzGCMSplit: wherever a message is split, the result is that of one piece.
func FuzzGCMSplit(f *testing.F) {
	f.Add([]byte("nonce"), []byte("additional"), []byte{1, 200, 3, 255, 0, 16, 17}, uint32(3000))
	f.Add([]byte("twelve octet"), []byte{}, []byte{255}, uint32(140_000))
	f.Add([]byte{0}, []byte{1}, []byte{}, uint32(1))
	f.Fuzz(func(t *testing.T, nonce, aad, cuts []byte, size uint32) {
		if len(nonce) == 0 {
			t.Skip("a nonce has an octet at least")
		}
		msg := make([]byte, size%(5*chunk))
		for i := range msg {
			msg[i] = byte(i * i >> 3)
		}
		key := []byte("sixteen octets..")
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		one, err := cipher.NewGCMWithNonceSize(block, len(nonce))
		if err != nil {
			t.Fatal(err)
		}
		// A cut octet means as many octets, or from 128 on as many times 600.
		next := func() cut {
			rest := bytes.Clone(cuts)
			return func(left int) int {
				if len(rest) == 0 {
					return left
				}
				n := int(rest[0])
				if rest = rest[1:]; n >= 128 {
					n = (n - 127) * 600
				}
				return min(n, left)
			}
		}
		want := one.Seal(nil, nonce, msg, aad)
		s, err := NewGCM(key, nonce)
		if err != nil {
			t.Fatal(err)
		}
		ct, tag := seal(t, s, msg, aad, next(), len(cuts)%2 == 0)
		if !bytes.Equal(ct, want[:len(msg)]) || !bytes.Equal(tag, want[len(msg):]) {
			t.Fatal("sealed in parts, the message differs")
		}
		if s, err = NewGCM(key, nonce); err != nil {
			t.Fatal(err)
		}
		if tag = absorb(t, s, ct, aad, next()); !bytes.Equal(tag, want[len(msg):]) {
			t.Fatal("absorbed in parts, the tag differs")
		}
		opened := make([]byte, len(ct))
		drive(t, opened, ct, next(), s.Open)
		if !bytes.Equal(opened, msg) {
			t.Fatal("opened in parts, the message differs")
		}
	})
}
