package relay_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"hash"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postseal/postseal/tls/relay"
)

// look skips a test without the program that it needs, and fails it in CI.
func look(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	text := name + " is not installed (Debian package " + debian + ")"
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// A program is a TLS peer with commands on its standard input. Content has the
// highest bit of every octet set, which tells it from commands and messages.
type program struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}

	mu    sync.Mutex
	texts bytes.Buffer // messages
	sum   hash.Hash    // of the content
	got   int64
}

// startProgram starts a peer that is stopped when the test ends.
func startProgram(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(name, args...), sum: sha256.New(), done: make(chan struct{})}
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err = p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	go p.collect(reader)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		<-p.done
		_ = reader.Close()
		if t.Failed() {
			text := p.text()
			t.Logf("%s: %s", name, text[max(0, len(text)-3000):])
		}
	})
	return p
}

func (p *program) collect(r io.Reader) {
	defer close(p.done)
	buf := make([]byte, 64<<10)
	content := make([]byte, 0, len(buf))
	for {
		n, err := r.Read(buf)
		p.mu.Lock()
		content = content[:0]
		for _, octet := range buf[:n] {
			if octet >= 0x80 {
				content = append(content, octet)
			} else {
				p.texts.WriteByte(octet)
			}
		}
		p.sum.Write(content)
		p.got += int64(len(content))
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.texts.String()
}

func (p *program) received() (int64, sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got, sum(p.sum.Sum(nil))
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// highNoise is as noise, with the highest bit of every octet set.
func highNoise(seed uint64, n int64) io.Reader { return highReader{noise(seed, n)} }

type highReader struct{ r io.Reader }

func (h highReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	for i := range p[:n] {
		p[i] |= 0x80
	}
	return n, err
}

const parts = 8

// partSize makes 64 MiB of all parts.
var partSize = int64(ifRace(1<<20, 8<<20))

// A counter hashes what comes through a relay.
type counter struct {
	n    atomic.Int64
	sum  hash.Hash
	done chan error
}

func count(r io.Reader) *counter {
	c := &counter{sum: sha256.New(), done: make(chan error, 1)}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			c.sum.Write(buf[:n])
			c.n.Add(int64(n))
			if err != nil {
				c.done <- err
				return
			}
		}
	}()
	return c
}

// command has a peer, between parts of its content, do what a letter says, while
// content flows to it: 64 MiB each way and as many commands as parts.
func (p *program) command(t *testing.T, letter string, far net.Conn, handled func(times int) bool) {
	t.Helper()
	arriving := count(far)
	toPeer, fromPeer := highNoise(1, parts*partSize), highNoise(2, parts*partSize)
	for i := range parts {
		sent := make(chan error, 1)
		go func() {
			_, err := io.CopyN(struct{ io.Writer }{far}, toPeer, partSize/2)
			sent <- err
		}()
		if _, err := io.CopyN(struct{ io.Writer }{p.stdin}, fromPeer, partSize); err != nil {
			t.Fatal(err)
		}
		// The peer takes a letter for a command at the start of what it reads.
		until(t, "content", func() bool { return arriving.n.Load() == int64(i+1)*partSize })
		err := <-sent
		go func() {
			_, copyErr := io.CopyN(struct{ io.Writer }{far}, toPeer, partSize/2)
			sent <- copyErr
		}()
		if _, writeErr := io.WriteString(p.stdin, letter+"\n"); writeErr != nil || err != nil {
			t.Fatal(writeErr, err)
		}
		if err = <-sent; err != nil {
			t.Fatal(err)
		}
		until(t, "the answer to "+letter, func() bool { return handled(i + 1) })
	}
	until(t, "content at the peer", func() bool { n, _ := p.received(); return n == parts*partSize })
	if err := far.(halfCloser).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-arriving.done; err != io.EOF {
		t.Errorf("reading: %v", err)
	}
	if want, _ := sumOf(t, highNoise(2, parts*partSize)); sum(arriving.sum.Sum(nil)) != want {
		t.Error("what the peer sent came with another digest")
	}
	want, _ := sumOf(t, highNoise(1, parts*partSize))
	if _, got := p.received(); got != want {
		t.Error("what the peer got has another digest")
	}
}

// handshakes tells how often the peer said that it had begun what was asked for.
func (p *program) handshakes() int { return strings.Count(p.text(), "SSL_do_handshake -> 1") }

// TestOpenSSLServer has openssl s_server ask for key updates (K, and k without
// asking for one in return) and renegotiation (r, and R with a request for a
// certificate), with 64 MiB in each direction.
func TestOpenSSLServer(t *testing.T) {
	look(t, "openssl", "openssl")
	for _, c := range []struct {
		letter  string
		version uint16
		flag    string
	}{
		{"K", tls.VersionTLS13, "-tls1_3"}, {"k", tls.VersionTLS13, "-tls1_3"},
		{"r", tls.VersionTLS12, "-tls1_2"}, {"R", tls.VersionTLS12, "-tls1_2"},
	} {
		t.Run(c.flag+" "+c.letter, func(t *testing.T) {
			cert, key := credentialFiles(t)
			p := startProgram(t, "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-CAfile", cert, c.flag)
			var addr string
			until(t, "the server", func() bool {
				_, rest, _ := strings.Cut(p.text(), "ACCEPT ")
				line, _, whole := strings.Cut(rest, "\n")
				addr = line
				return whole
			})
			tcp, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			var handshakes atomic.Int64
			config := clientConfig(c.version)
			config.Renegotiation = tls.RenegotiateFreelyAsClient
			config.Certificates = []tls.Certificate{credentials()}
			config.KeyLogWriter = writerFunc(func([]byte) { handshakes.Add(1) }) // once in each handshake of TLS 1.2
			near := tls.Client(relay.NewTransport(tcp), config)
			if err = near.Handshake(); err != nil {
				t.Fatal(err)
			}
			nearB, farB := pair(t, server13)
			done := start(t, t.Context(), near, nearB, nil)
			p.command(t, c.letter, farB, func(times int) bool {
				return p.handshakes() == times && (c.version == tls.VersionTLS13 || handshakes.Load() == int64(times)+1)
			})
			if o := wait(t, done); o.err != nil || o.AToB.Bytes != parts*partSize || o.BToA.Bytes != parts*partSize {
				t.Errorf("%+v", o)
			}
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// TestOpenSSLClient has openssl s_client update keys.
func TestOpenSSLClient(t *testing.T) {
	look(t, "openssl", "openssl")
	for _, letter := range []string{"K", "k"} {
		t.Run(letter, func(t *testing.T) {
			p, near := acceptProgram(t, "-tls1_3", tls.VersionTLS13)
			nearB, farB := pair(t, plain)
			done := start(t, t.Context(), near, nearB, nil)
			p.command(t, letter, farB, func(times int) bool {
				return strings.Count(p.text(), "KEYUPDATE") == times
			})
			if o := wait(t, done); o.err != nil || o.First != relay.B {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestOpenSSLClientRenegotiates has openssl s_client renegotiate, which crypto/tls
// refuses as server: the relay ends, and says on which side.
func TestOpenSSLClientRenegotiates(t *testing.T) {
	look(t, "openssl", "openssl")
	p, near := acceptProgram(t, "-tls1_2", tls.VersionTLS12)
	nearB, farB := pair(t, plain)
	done := start(t, t.Context(), near, nearB, nil)
	write(t, farB, "\x80\x81")
	until(t, "content at the peer", func() bool { n, _ := p.received(); return n == 2 })
	if _, err := io.WriteString(p.stdin, "R\n"); err != nil {
		t.Fatal(err)
	}
	o := wait(t, done)
	if e := (*relay.Error)(nil); !errors.As(o.err, &e) || e.Side != relay.A || e.Op != relay.OpRead || o.First != relay.A {
		t.Errorf("%+v", o)
	}
}

// acceptProgram starts openssl s_client and returns our end of its connection.
func acceptProgram(t *testing.T, flag string, version uint16) (*program, *tls.Conn) {
	t.Helper()
	cert, _ := credentialFiles(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := startProgram(t, "openssl", "s_client", "-connect", ln.Addr().String(), "-CAfile", cert, flag)
	tcp, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near := tls.Server(relay.NewTransport(tcp), serverConfig(version))
	if err = near.Handshake(); err != nil {
		t.Fatal(err)
	}
	return p, near
}
