package tlstool

import (
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/tls"
)

func extension(id asn1.ObjectIdentifier, value []byte) pkix.Extension {
	return pkix.Extension{Id: id, Value: value}
}

// A listing is a writer for several goroutines.
type listing struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *listing) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *listing) say(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func (l *listing) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A service is a run of Serve.
type service struct {
	target   *Target
	out, log listing
	done     chan error
}

func startServe(t *testing.T, in io.Reader, opts *ServeOptions) *service {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{target: targetAt(t, ln.Addr(), opts.Protocol, opts.StartTLS), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { s.done <- Serve(ctx, ln, &Streams{In: in, Out: &s.out, Say: s.log.say}, opts) }()
	t.Cleanup(func() {
		cancel()
		if !opts.Once {
			if serveErr := <-s.done; serveErr != nil {
				t.Errorf("Serve: %v", serveErr)
			}
		}
	})
	return s
}

// TestEcho talks to an echo server with every protocol, twice.
func TestEcho(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		protocol tls.Protocol
		startTLS bool
	}{{0, false}, {tls.SMTP, true}, {tls.LMTP, true}, {tls.IMAP, true}, {tls.POP3, true}, {tls.IMAP, false}} {
		s := startServe(t, nil, &ServeOptions{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, Protocol: c.protocol, StartTLS: c.startTLS, Echo: true})
		for range 2 {
			var out, log listing
			text := strings.Repeat("a line\n", 20000)
			err := Connect(t.Context(), s.target, &Streams{In: strings.NewReader(text), Out: &out, Say: log.say, CRLF: true}, &ConnectOptions{Roots: ca.pool()})
			if err != nil || out.String() != strings.ReplaceAll(text, "\n", "\r\n") {
				t.Errorf("%v: %v, %d octets", c, err, len(out.String()))
			}
			if !strings.Contains(log.String(), "TLS 1.3") {
				t.Errorf("%v: %q", c, log.String())
			}
		}
	}
}

// TestServeOnce joins a client with the streams of a server.
func TestServeOnce(t *testing.T) {
	ca := newAuthority(t)
	s := startServe(t, strings.NewReader("from the server"), &ServeOptions{
		Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}, ClientCAs: ca.pool(), Once: true,
	})
	var out, log listing
	err := Connect(t.Context(), s.target, &Streams{In: strings.NewReader("from the client"), Out: &out, Say: log.say},
		&ConnectOptions{Roots: ca.pool(), Certificate: ca.issue(t, nil)})
	if serveErr := <-s.done; err != nil || serveErr != nil {
		t.Error(err, serveErr)
	}
	if out.String() != "from the server" || s.out.String() != "from the client" {
		t.Errorf("%q and %q", out.String(), s.out.String())
	}
	if !strings.Contains(s.log.String(), "mx.example") {
		t.Errorf("the client's certificate is not told: %q", s.log.String())
	}
}

// TestRefused connects to servers to which nothing should be sent, and as a client
// that is not wanted.
func TestRefused(t *testing.T) {
	ca := newAuthority(t)
	certs := []cryptotls.Certificate{*ca.issue(t, nil)}
	open := startServe(t, nil, &ServeOptions{Certificates: certs, Echo: true, MaxVersion: cryptotls.VersionTLS12})
	closed := startServe(t, nil, &ServeOptions{Certificates: certs, Echo: true, ClientCAs: ca.pool()})
	otherName := *open.target
	otherName.ServerName = "other.example"
	for name, c := range map[string]struct {
		target *Target
		opts   ConnectOptions
		want   any
	}{
		"stranger":       {open.target, ConnectOptions{}, new(*UntrustedError)},
		"another name":   {&otherName, ConnectOptions{Roots: ca.pool()}, new(*UntrustedError)},
		"version":        {open.target, ConnectOptions{Roots: ca.pool(), MinVersion: cryptotls.VersionTLS13}, new(*tls.HandshakeError)},
		"no certificate": {closed.target, ConnectOptions{Roots: ca.pool()}, new(*CertificateWantedError)},
	} {
		var out listing
		err := Connect(t.Context(), c.target, &Streams{In: strings.NewReader("secret"), Out: &out, Say: out.say}, &c.opts)
		if !errors.As(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var out, log listing
	err := Connect(t.Context(), open.target, &Streams{In: strings.NewReader("x"), Out: &out, Say: log.say}, &ConnectOptions{NoTrust: true})
	if err != nil || out.String() != "x" || strings.Count(log.String(), "not checked") != 1 {
		t.Errorf("without trust: %v, %q", err, log.String())
	}
}

// TestConnectCancelled ends a conversation from outside, and one with a server
// that does not go.
func TestConnectCancelled(t *testing.T) {
	ca := newAuthority(t)
	target := serveTLS(t, 0, false, &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}})
	in, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	var log listing
	err := Connect(ctx, target, &Streams{In: in, Out: &log, Say: log.say}, &ConnectOptions{Roots: ca.pool()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = writer.Close()

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	accepted := make(chan *cryptotls.Conn, 1)
	go func() {
		c, acceptErr := silent.Accept()
		if acceptErr != nil {
			return
		}
		conn := cryptotls.Server(c, &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}})
		_ = conn.Handshake()
		accepted <- conn
	}()
	start := time.Now()
	err = Connect(t.Context(), targetAt(t, silent.Addr(), 0, false), &Streams{In: strings.NewReader("x"), Out: &log, Say: log.say},
		&ConnectOptions{Roots: ca.pool(), Linger: 100 * time.Millisecond})
	if err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("a silent server: %v after %v", err, time.Since(start))
	}
	_ = (<-accepted).Close()
}

// TestCutOff connects to a server that ends without close_notify.
func TestCutOff(t *testing.T) {
	ca := newAuthority(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, acceptErr := ln.Accept()
		if acceptErr != nil {
			return
		}
		defer c.Close()
		conn := cryptotls.Server(c, &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, nil)}})
		_, _ = conn.Write([]byte("half"))
	}()
	var out, log listing
	in, writer := io.Pipe()
	defer writer.Close()
	err = Connect(t.Context(), targetAt(t, ln.Addr(), 0, false), &Streams{In: in, Out: &out, Say: log.say}, &ConnectOptions{Roots: ca.pool()})
	if err != nil || out.String() != "half" || !strings.Contains(log.String(), "without close_notify") {
		t.Errorf("%v, %q, %q", err, out.String(), log.String())
	}
}

func TestWithCRLF(t *testing.T) {
	for _, c := range []struct {
		last byte
		in   string
		want string
	}{{0, "a\nb\r\nc", "a\r\nb\r\nc"}, {'\r', "\na", "\na"}, {'a', "\n\n", "\r\n\r\n"}, {0, "", ""}} {
		if got := string(withCRLF([]byte(c.in), c.last)); got != c.want {
			t.Errorf("%q after %q: %q", c.in, c.last, got)
		}
	}
}
