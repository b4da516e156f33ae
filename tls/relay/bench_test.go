package relay_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// BenchmarkRelay moves 64 MiB each way at once through one relay. The peers, in
// the same process, do their own TLS too.
func BenchmarkRelay(b *testing.B) {
	const size = 64 << 20
	for _, c := range []struct {
		name string
		a, b kind
	}{
		{"plain,plain", plain, plain}, {"tls13,plain", server13, plain}, {"tls13,tls13", server13, client13},
		{"tls12,tls12", server12, client12},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(2 * size)
			for b.Loop() {
				nearA, farA := pair(b, c.a)
				nearB, farB := pair(b, c.b)
				done := start(b, context.Background(), nearA, nearB, nil)
				flood(b, farA, farB, size)
				if o := wait(b, done); o.err != nil {
					b.Error(o.err)
				}
			}
		})
	}
}

// flood sends n octets each way at once and counts what arrives.
func flood(tb testing.TB, x, y net.Conn, n int64) {
	tb.Helper()
	var group sync.WaitGroup
	for _, c := range [][2]net.Conn{{x, y}, {y, x}} {
		group.Go(func() {
			p := make([]byte, 128<<10)
			for left := n; left > 0; left -= int64(len(p)) {
				if _, err := c[0].Write(p); err != nil {
					tb.Errorf("writing: %v", err)
					return
				}
			}
			if err := c[0].(halfCloser).CloseWrite(); err != nil {
				tb.Errorf("closing for writing: %v", err)
			}
		})
		group.Go(func() {
			got, p := int64(0), make([]byte, 128<<10)
			for {
				m, err := c[1].Read(p)
				got += int64(m)
				if err == io.EOF {
					break
				}
				if err != nil {
					tb.Errorf("reading: %v", err)
					return
				}
			}
			if got != n {
				tb.Errorf("%d octets arrived, not %d", got, n)
			}
		})
	}
	group.Wait()
}
