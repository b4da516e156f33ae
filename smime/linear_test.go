package smime

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// BenchmarkParts shows that the time of each part of a message does not depend on
// how many there are, beside each other or one within the other.
func BenchmarkParts(b *testing.B) {
	beside := func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nA line.\r\n", n) + "--b--\r\n"
	}
	within := func(n int) string {
		var open, closed strings.Builder
		for i := range n {
			fmt.Fprintf(&open, "Content-Type: multipart/mixed; boundary=\"b%d.\"\r\n\r\n--b%d.\r\n", i, i)
		}
		for i := n - 1; i >= 0; i-- {
			fmt.Fprintf(&closed, "\r\n--b%d.--\r\n", i)
		}
		return open.String() + "\r\nA line." + closed.String()
	}
	for _, c := range []struct {
		name string
		make func(int) string
	}{{"beside", beside}, {"within", within}} {
		for _, n := range []int{10, 100, 1000} {
			message := "From: alice@example.test\r\n" + c.make(n)
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				for b.Loop() {
					m, err := Read(strings.NewReader(protect(b, message, signed(nil))), readOptions())
					if err != nil {
						b.Fatal(err)
					}
					if _, err = m.WriteTo(io.Discard); err != nil {
						b.Fatal(err)
					}
					if err = m.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/part")
			})
		}
	}
}
