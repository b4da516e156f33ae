package tls

import (
	"bufio"
	"bytes"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/testpki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serverName = "mail.example.test"

// A testWorld has a root, a server's certificate and a client's.
type testWorld struct {
	roots          *x509.CertPool
	server, client cryptotls.Certificate
	person         *testpki.Person // the server
	user           *testpki.Person
}

var theWorld = sync.OnceValues(func() (*testWorld, error) {
	ca, err := testpki.NewCA("TLS test root")
	if err != nil {
		return nil, err
	}
	w := &testWorld{roots: x509.NewCertPool()}
	w.roots.AddCert(ca.Cert)
	w.person, err = ca.Issue(testpki.Profile{Name: serverName, NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames = []string{serverName, "localhost"}
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		return nil, err
	}
	w.user, err = ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}})
	if err != nil {
		return nil, err
	}
	w.server, w.client = certificate(w.person), certificate(w.user)
	return w, nil
})

func certificate(p *testpki.Person) cryptotls.Certificate {
	return cryptotls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
}

func world(tb testing.TB) *testWorld {
	tb.Helper()
	w, err := theWorld()
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *testWorld) clientTLS() *cryptotls.Config {
	return &cryptotls.Config{ServerName: serverName, RootCAs: w.roots}
}

func (w *testWorld) serverTLS() *cryptotls.Config {
	return &cryptotls.Config{Certificates: []cryptotls.Certificate{w.server}}
}

// tcpPair returns the two ends of a connection on loopback.
func tcpPair(tb testing.TB) (a, b *net.TCPConn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// A step is what a scripted peer does next.
type step func(*actor) error

// An actor is a scripted peer on one end of a connection.
type actor struct {
	conn  *net.TCPConn
	in    *bufio.Reader // what it reads from; of TLS after the handshake
	out   io.Writer
	cfg   *cryptotls.Config
	slow  bool // one octet at a time
	cut   int  // leave after so many octets of the handshake, if not 0
	heard bytes.Buffer
}

// play runs a script in a goroutine; the function that it returns waits for the
// end and returns the error.
func play(tb testing.TB, a *actor, steps ...step) (wait func() error) {
	tb.Helper()
	_ = a.conn.SetDeadline(time.Now().Add(20 * time.Second))
	_ = a.conn.SetNoDelay(true)
	a.in, a.out = bufio.NewReader(io.TeeReader(a.conn, &a.heard)), a.conn
	done := make(chan error, 1)
	go func() {
		for _, s := range steps {
			if err := s(a); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return func() error { return <-done }
}

// send sends a text in one write, or one octet at a time.
func send(text string) step {
	return func(a *actor) error {
		if !a.slow {
			_, err := io.WriteString(a.out, text)
			return err
		}
		for i := range len(text) {
			if _, err := io.WriteString(a.out, text[i:i+1]); err != nil {
				return err
			}
			if i%16 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
		}
		return nil
	}
}

// flood sends a text again and again until it cannot.
func flood(text string) step {
	return func(a *actor) error {
		for range 1 << 20 {
			if _, err := io.WriteString(a.out, text); err != nil {
				return nil
			}
		}
		return errors.New("the flood was let in")
	}
}

// want reads exactly a text.
func want(text string) step {
	return func(a *actor) error {
		got := make([]byte, len(text))
		if _, err := io.ReadFull(a.in, got); err != nil {
			return err
		}
		if string(got) != text {
			return errors.New("expected " + text + ", got " + string(got))
		}
		return nil
	}
}

// shake does the handshake of a server.
func shake(a *actor) error {
	t := cryptotls.Server(a.wire(), a.cfg)
	if err := t.Handshake(); err != nil {
		return err
	}
	a.in, a.out = bufio.NewReader(t), t
	return nil
}

// shakeClient does the handshake of a client.
func shakeClient(a *actor) error {
	t := cryptotls.Client(a.wire(), a.cfg)
	if err := t.Handshake(); err != nil {
		return err
	}
	a.in, a.out = bufio.NewReader(t), t
	return nil
}

// leave closes the connection.
func leave(a *actor) error { return a.conn.Close() }

// halfClose ends what this side sends, and hears the other out.
func halfClose(a *actor) error {
	if err := a.conn.CloseWrite(); err != nil {
		return err
	}
	return closed(a)
}

// closed fails unless the other side closes without another word.
func closed(a *actor) error {
	rest, err := io.ReadAll(a.in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection was not closed")
	}
	if len(rest) > 0 {
		return errors.New("more was sent: " + string(rest))
	}
	return nil
}

// drained reads until the other side closes.
func drained(a *actor) error {
	if _, err := io.Copy(io.Discard, a.in); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection was not closed")
	}
	return nil
}

// echoes checks that two ends talk to one another.
func echoes(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "ping\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "pong" {
		t.Fatalf("got %q, %v", line, err)
	}
}

// isClosed fails unless a connection has been closed on this side.
func isClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is open: %v", err)
	}
}

// wire is the connection for a handshake, slow or cut.
func (a *actor) wire() net.Conn {
	if a.slow || a.cut > 0 {
		return &limp{TCPConn: a.conn, slow: a.slow, left: a.cut}
	}
	return a.conn
}

// A limp connection writes one octet at a time, or closes after some.
type limp struct {
	*net.TCPConn
	slow bool
	left int // 0 is no limit
}

func (c *limp) Write(p []byte) (n int, err error) {
	if c.left > 0 {
		n, err = c.TCPConn.Write(p[:min(len(p), c.left)])
		if c.left -= n; c.left == 0 {
			_ = c.Close()
			return n, net.ErrClosed
		}
		return n, err
	}
	for i := range p {
		if _, err = c.TCPConn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
