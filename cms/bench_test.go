package cms

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

var benchSizes = []int{10 << 10, 64 << 20}

func BenchmarkSign(b *testing.B) {
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.Ed25519} {
		s := []Signer{signer(b, kind)}
		for _, size := range benchSizes {
			content := testContent(size)
			b.Run(fmt.Sprintf("%v/%d", kind, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					w, err := Sign(io.Discard, s, nil)
					benchWrite(b, w, err, content)
				}
			})
		}
	}
}

func benchWrite(b *testing.B, w io.WriteCloser, err error, content []byte) {
	if err != nil {
		b.Fatal(err)
	}
	if _, err = w.Write(content); err != nil {
		b.Fatal(err)
	}
	if err = w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.Ed25519} {
		for _, size := range benchSizes {
			message := sign(b, testContent(size), nil, signer(b, kind))
			b.Run(fmt.Sprintf("%v/%d", kind, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					benchRead(b, message, func(r *Reader) (io.ReadCloser, error) {
						return r.Verify(&VerifyOptions{Trust: InsecureTrustAnySigner})
					})
				}
			})
		}
	}
}

func benchRead(b *testing.B, message []byte, read func(*Reader) (io.ReadCloser, error)) {
	r, err := NewReader(bytes.NewReader(message), nil)
	if err != nil {
		b.Fatal(err)
	}
	rc, err := read(r)
	if err != nil {
		b.Fatal(err)
	}
	if err = rc.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkEncrypt(b *testing.B) {
	to := []Recipient{NewRecipient(person(b, testpki.P256).Cert)}
	for _, c := range []Cipher{AES256CBC, AES256GCM, ChaCha20Poly1305Encryption} {
		for _, size := range benchSizes {
			content := testContent(size)
			b.Run(fmt.Sprintf("%s/%d", c, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					w, err := Encrypt(io.Discard, to, &EncryptOptions{Cipher: c})
					benchWrite(b, w, err, content)
				}
			})
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	p := person(b, testpki.P256)
	ids := []Identity{NewIdentity(p.Cert, p.Key)}
	for _, c := range []Cipher{AES256CBC, AES256GCM, ChaCha20Poly1305Encryption} {
		for _, size := range benchSizes {
			message := encrypt(b, testContent(size), &EncryptOptions{Cipher: c}, NewRecipient(p.Cert))
			b.Run(fmt.Sprintf("%s/%d", c, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					benchRead(b, message, func(r *Reader) (io.ReadCloser, error) { return r.Decrypt(ids, nil) })
				}
			})
		}
	}
}

// BenchmarkRecipients shows that the cost grows linearly with the recipients.
func BenchmarkRecipients(b *testing.B) {
	p := person(b, testpki.P256)
	ids := []Identity{NewIdentity(p.Cert, p.Key)}
	for _, n := range []int{1, 10, 100, 1000} {
		to := make([]Recipient, n)
		for i := range to {
			to[i] = NewRecipient(p.Cert)
		}
		message := encrypt(b, []byte("content"), nil, to...)
		b.Run(fmt.Sprintf("encrypt/%d", n), func(b *testing.B) {
			for b.Loop() {
				w, err := Encrypt(io.Discard, to, nil)
				benchWrite(b, w, err, []byte("content"))
			}
		})
		b.Run(fmt.Sprintf("decrypt/%d", n), func(b *testing.B) {
			for b.Loop() {
				benchRead(b, message, func(r *Reader) (io.ReadCloser, error) { return r.Decrypt(ids, nil) })
			}
		})
	}
}
