package cms

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// perUnit runs f for messages of n units, and reports the time of each.
func perUnit(b *testing.B, n int, what string, f func()) {
	b.Run(fmt.Sprint(n), func(b *testing.B) {
		for b.Loop() {
			f()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/"+what)
	})
}

// BenchmarkLinear shows that the time of each unit does not depend on how many
// there are.
func BenchmarkLinear(b *testing.B) {
	p := person(b, testpki.P256)
	id := NewIdentity(p.Cert, p.Key)
	b.Run("recipients", func(b *testing.B) {
		for _, n := range []int{10, 100, 1000, 10_000} {
			// The last one is the reader: all others are passed over.
			to := make([]Recipient, n)
			for i := range to {
				to[i] = &KEK{ID: fmt.Appendf(nil, "key %d", i), Key: make([]byte, 32)}
			}
			to[n-1] = NewRecipient(p.Cert)
			content := testContent(1000)
			perUnit(b, n, "recipient", func() {
				var message bytes.Buffer
				w, err := Encrypt(&message, to, nil)
				benchWrite(b, w, err, content)
				benchRead(b, message.Bytes(), func(r *Reader) (io.ReadCloser, error) { return r.Decrypt([]Identity{id}, nil) })
			})
		}
	})
	b.Run("signers", func(b *testing.B) {
		for _, n := range []int{1, 10, 100} {
			signers := make([]Signer, n)
			for i := range signers {
				signers[i] = signer(b, testpki.P256)
			}
			content := testContent(1000)
			perUnit(b, n, "signer", func() {
				message := sign(b, content, nil, signers...)
				benchRead(b, message, func(r *Reader) (io.ReadCloser, error) {
					return r.Verify(&VerifyOptions{Trust: InsecureTrustAnySigner})
				})
			})
		}
	})
	b.Run("certificates", func(b *testing.B) {
		s := signer(b, testpki.P256)
		for _, n := range []int{10, 100, 990} {
			opts := &SignOptions{}
			for i := range n {
				other, err := testCA.Issue(testpki.Profile{Name: fmt.Sprint("Other ", i), Email: "other@example.test", Key: testpki.P256})
				if err != nil {
					b.Fatal(err)
				}
				opts.Certificates = append(opts.Certificates, pki.FromX509(other.Cert))
			}
			content := testContent(1000)
			perUnit(b, n, "certificate", func() {
				message := sign(b, content, opts, s)
				benchRead(b, message, func(r *Reader) (io.ReadCloser, error) {
					return r.Verify(&VerifyOptions{Trust: InsecureTrustAnySigner})
				})
			})
		}
	})
	b.Run("size", func(b *testing.B) {
		s := signer(b, testpki.P256)
		for _, n := range []int{1, 16, 256} {
			block := testContent(1 << 20)
			perUnit(b, n, "MiB", func() {
				w, err := Sign(io.Discard, []Signer{s}, nil)
				for range n {
					if err == nil {
						_, err = w.Write(block)
					}
				}
				benchWrite(b, w, err, nil)
			})
		}
	})
}
