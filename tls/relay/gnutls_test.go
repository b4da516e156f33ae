package relay_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/postseal/postseal/tls/relay"
)

// TestGnuTLSClient has gnutls-cli rehandshake, which in TLS 1.3 is a key update
// that asks for one in return, and ends without close_notify.
func TestGnuTLSClient(t *testing.T) {
	look(t, "gnutls-cli", "gnutls-bin")
	cert, _ := credentialFiles(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	p := startProgram(t, "gnutls-cli", "--x509cafile", cert, "--port", port, "--rehandshake", "127.0.0.1",
		"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3")
	tcp, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near := tls.Server(relay.NewTransport(tcp), serverConfig(tls.VersionTLS13))
	if err = near.Handshake(); err != nil {
		t.Fatal(err)
	}
	nearB, farB := pair(t, client12)
	done := start(t, t.Context(), near, nearB, &relay.Options{AllowTruncation: true})
	p.exchange(t, farB)
	if !strings.Contains(p.text(), "ReHandshake was completed") {
		t.Error("there was no rehandshake")
	}
	if o := wait(t, done); o.err != nil || o.First != relay.B || !o.AToB.Truncated {
		t.Errorf("%+v", o)
	}
}

// exchange moves 1 MiB each way; gnutls-cli takes a second for it.
func (p *program) exchange(t *testing.T, far net.Conn) {
	t.Helper()
	const size = 1 << 20
	arriving := count(far)
	sent := make(chan error, 2)
	go func() {
		_, err := io.CopyN(struct{ io.Writer }{far}, highNoise(1, size), size)
		sent <- err
	}()
	go func() {
		_, err := io.CopyN(struct{ io.Writer }{p.stdin}, highNoise(2, size), size)
		sent <- err
	}()
	for range 2 {
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	until(t, "content", func() bool { n, _ := p.received(); return n == size && arriving.n.Load() == size })
	if err := far.(halfCloser).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-arriving.done; err != io.EOF {
		t.Errorf("reading: %v", err)
	}
	fromPeer, _ := sumOf(t, highNoise(2, size))
	toPeer, _ := sumOf(t, highNoise(1, size))
	if _, got := p.received(); got != toPeer || !bytes.Equal(arriving.sum.Sum(nil), fromPeer[:]) {
		t.Error("something came with another digest")
	}
}
