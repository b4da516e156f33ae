package main

import (
	"bufio"
	"context"
	cryptotls "crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

func TestImplicitTLS(t *testing.T) {
	w := testWorld(t)
	w.edit(t, "protocol = \"imap\"\naddress = \"127.0.0.1:0\"\nmode = \"starttls\"", "protocol = \"imap\"\naddress = \"127.0.0.1:0\"\nmode = \"implicit\"")
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := dialClient(ctx, w.address(config.IMAP4))
	if err != nil {
		t.Fatal(err)
	}
	over := cryptotls.Client(conn, w.client)
	defer func() { _ = over.Close() }()
	line, err := bufio.NewReader(over).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "* OK") || strings.Contains(line, "STARTTLS") {
		t.Errorf("%q %v", line, err)
	}
	plain, err := dialClient(ctx, w.address(config.IMAP4))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if _, err = io.WriteString(plain, "a LOGIN x y\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(plain)
	if err != nil || strings.Contains(string(answer), "OK") {
		t.Errorf("without TLS: %q %v", answer, err)
	}
	if n := w.proxy.metrics.handshakeFailures.Load(); n != 1 {
		t.Errorf("%d failures", n)
	}
}

// TestNoUpstream is about a mail server that is not there.
func TestNoUpstream(t *testing.T) {
	w := testWorld(t)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	w.server.close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.send(ctx, w.address(config.SMTP), demoMessage); err == nil {
		t.Error("a message was taken")
	}
	if _, err := w.fetch(ctx, w.address(config.IMAP4), w.client, 1); err == nil {
		t.Error("a message was found")
	}
	if n := w.proxy.metrics.upstreamFailures.Load(); n != 2 {
		t.Errorf("%d failures", n)
	}
}

// TestReloadFails changes nothing when one of the new addresses is taken.
func TestReloadFails(t *testing.T) {
	w := testWorld(t)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	before, state := w.proxy.addresses(), w.proxy.state
	w.edit(t, "protocol = \"smtp\"\naddress = \"127.0.0.1:0\"", "protocol = \"smtp\"\naddress = \"localhost:0\"")
	w.edit(t, "127.0.0.1:0", taken.Addr().String())
	conf, err := config.Read(w.file(demoConfig))
	if err != nil {
		t.Fatal(err)
	}
	var le *listenError
	if err = w.proxy.load(t.Context(), conf); !errors.As(err, &le) || le.address != taken.Addr().String() {
		t.Fatalf("%v", err)
	}
	for i, address := range w.proxy.addresses() {
		if address.String() != before[i].String() {
			t.Errorf("%s became %s", before[i], address)
		}
	}
	if w.proxy.state != state {
		t.Error("the state is another one")
	}
	if err = w.send(t.Context(), before[0].String(), demoMessage); err != nil {
		t.Error(err)
	}
}

// TestDrainFinishes lets a message be sent that had begun before the end.
func TestDrainFinishes(t *testing.T) {
	w := testWorld(t)
	w.edit(t, `drain = "2s"`, `drain = "20s"`)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	begun, finish := make(chan struct{}), make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		sent <- w.sendFrom(t.Context(), w.address(config.SMTP), &pausing{Reader: strings.NewReader(strings.ReplaceAll(demoMessage, "\n", "\r\n")), begun: begun, finish: finish})
	}()
	<-begun
	cut := make(chan int, 1)
	go func() { cut <- w.proxy.drain() }()
	for w.proxy.ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	close(finish)
	if err := <-sent; err != nil {
		t.Errorf("the message: %v", err)
	}
	if n := <-cut; n != 0 {
		t.Errorf("%d connections were cut off", n)
	}
	w.proxy = nil // it has ended
	if _, err := w.fetch(t.Context(), w.server.imapAddress.String(), w.upstream, 1); err != nil {
		t.Error(err)
	}
}

// A pausing reader waits after its first octets.
type pausing struct {
	io.Reader
	begun, finish chan struct{}
	n             int
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.n++; p.n == 2 {
		close(p.begun)
		<-p.finish
	}
	return p.Reader.Read(b[:min(len(b), 16)])
}
