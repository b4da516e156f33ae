package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

func mustGCM(b *testing.B) Stream {
	s, err := NewGCM(make([]byte, 16), make([]byte, 12))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func mustChaCha(b *testing.B) Stream {
	s, err := NewChaCha20Poly1305(make([]byte, 32), make([]byte, 12), nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkStream measures one call on a long message, by the size of the call.
func BenchmarkStream(b *testing.B) {
	for _, c := range []struct {
		name string
		new  func(*testing.B) Stream
	}{{"GCM", mustGCM}, {"ChaCha20Poly1305", mustChaCha}} {
		for _, size := range []int{1 << 10, 10 << 10, 32 << 10, 64 << 10} {
			buf := make([]byte, size)
			run := func(what string, f func(Stream) error) {
				b.Run(fmt.Sprintf("%s/%s/%d", c.name, what, size), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					s, left := c.new(b), int64(16<<30)
					for b.Loop() {
						if left -= int64(size); left < 0 {
							s, left = c.new(b), 16<<30
						}
						if err := f(s); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			run("Seal", func(s Stream) error { return s.Seal(buf, buf) })
			run("Absorb", func(s Stream) error { return s.Absorb(buf) })
			run("Open", func(s Stream) error { return s.Open(buf, buf) })
		}
	}
}

// BenchmarkMessage measures whole small messages, the construction among it.
func BenchmarkMessage(b *testing.B) {
	aad := make([]byte, 100)
	for _, size := range []int{1 << 10, 10 << 10} {
		buf := make([]byte, size)
		b.Run(fmt.Sprintf("GCM/stream/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s := mustGCM(b)
				if err := s.Seal(buf, buf); err != nil {
					b.Fatal(err)
				}
				if _, err := s.Tag(aad); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("GCM/oneshot/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			out := make([]byte, size+TagSize)
			for b.Loop() {
				block, err := aes.NewCipher(make([]byte, 16))
				if err != nil {
					b.Fatal(err)
				}
				one, err := cipher.NewGCM(block)
				if err != nil {
					b.Fatal(err)
				}
				one.Seal(out[:0], make([]byte, 12), buf, aad)
			}
		})
	}
}

// BenchmarkOneShot is what a stream is measured by.
func BenchmarkOneShot(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	chacha, err := chacha20poly1305.New(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1 << 10, 10 << 10, 64 << 10, 16 << 20} {
		buf, nonce := make([]byte, size, size+TagSize), make([]byte, 12)
		for name, one := range map[string]cipher.AEAD{"GCM": gcm, "ChaCha20Poly1305": chacha} {
			b.Run(fmt.Sprintf("%s/Seal/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					one.Seal(buf[:0], nonce, buf, nil)
				}
			})
		}
	}
}

func BenchmarkField(b *testing.B) {
	x := elem{0x0123456789abcdef, 0xfedcba9876543210}
	b.Run("mul", func(b *testing.B) {
		for b.Loop() {
			x = x.mul(x)
		}
	})
	b.Run("square", func(b *testing.B) {
		for b.Loop() {
			x = x.square()
		}
	})
	b.Run("inverse", func(b *testing.B) {
		for b.Loop() {
			x = x.inverse()
		}
	})
}
