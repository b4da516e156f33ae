package smime

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
)

// A sink is a Stage that nobody reads from.
type sink struct{ n int64 }

func (s *sink) WriteAt(p []byte, off int64) (int, error) {
	s.n = max(s.n, off+int64(len(p)))
	return len(p), nil
}
func (s *sink) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }
func (s *sink) Truncate(n int64) error            { s.n = n; return nil }

// BenchmarkSize shows that the time of a MiB and the memory for a message do not
// depend on how long it is: it is signed and encrypted, and opened beside that.
func BenchmarkSize(b *testing.B) {
	const head = "From: alice@example.test\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	block := strings.Repeat(strings.Repeat("UG9zdHNlYWwg", 6)+"LiEh\r\n", 14_000)
	form := encrypted(&EncryptOptions{
		Cipher:  cms.AES256CBC, // it is opened as it is read
		Signers: []cms.Signer{signerOf(people().alice)}, Sign: &SignOptions{Opaque: true},
	})
	for _, mib := range []int{1, 16, 256, 1024, 10_240} {
		b.Run(fmt.Sprint(mib, "MiB"), func(b *testing.B) {
			b.ReportAllocs()
			size := int64(mib) << 20
			for b.Loop() {
				pr, pw := io.Pipe()
				go func() {
					w, err := form(pw)
					if err == nil {
						_, err = io.WriteString(w, head)
					}
					if err == nil {
						_, err = io.Copy(struct{ io.Writer }{w}, io.LimitReader(&repeated{text: block}, size))
					}
					if err == nil {
						err = w.Close()
					}
					_ = pw.CloseWithError(err)
				}()
				o, out := readOptions(), &sink{}
				o.Stage = out
				m, err := Read(pr, o)
				if err != nil {
					b.Fatal(err)
				}
				if m.Status != StatusEncryptedSignedVerified || !m.Staged() || out.n < size {
					b.Fatalf("%s: %d octets of %d, staged: %v", m.Status, out.n, size, m.Staged())
				}
				if err = m.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(mib), "ns/MiB")
		})
	}
}

// A repeated is a text without end.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}
