package relay_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/tls/relay"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(proxyVariable); args != "" {
		runProxy(args)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what should come at once.
const patience = 20 * time.Second

// credentials are a certificate for 127.0.0.1 that is its own root.
var credentials = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"relay.example"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func serverConfig(version uint16) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{credentials()}, MinVersion: version, MaxVersion: version}
}

func clientConfig(version uint16) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(credentials().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: version, MaxVersion: version}
}

// credentialFiles writes the certificate and its key.
func credentialFiles(tb testing.TB) (certFile, keyFile string) {
	tb.Helper()
	dir := tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	key, err := x509.MarshalPKCS8PrivateKey(credentials().PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: credentials().Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err = os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return certFile, keyFile
}

// listener is for the pairs of connections, which are made one after the other.
var (
	listener = sync.OnceValues(func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") })
	pairing  sync.Mutex
)

// tcpPair returns both ends of a TCP connection.
func tcpPair(tb testing.TB) (near, far net.Conn) {
	tb.Helper()
	ln, err := listener()
	if err != nil {
		tb.Fatal(err)
	}
	pairing.Lock()
	defer pairing.Unlock()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// A kind is what a side of a relay is made of.
type kind struct {
	name    string
	version uint16 // of TLS; 0 is plain
	server  bool   // the relay is the server
}

var (
	plain    = kind{name: "plain"}
	client12 = kind{"tls12-client", tls.VersionTLS12, false}
	server12 = kind{"tls12-server", tls.VersionTLS12, true}
	client13 = kind{"tls13-client", tls.VersionTLS13, false}
	server13 = kind{"tls13-server", tls.VersionTLS13, true}
)

// pair returns the end of a connection that goes into a relay, and the peer's.
func pair(tb testing.TB, k kind) (near, far net.Conn) {
	tb.Helper()
	near, far = tcpPair(tb)
	if k.version == 0 {
		return near, far
	}
	return handshake(tb, k, near, far)
}

func handshake(tb testing.TB, k kind, nearConn, farConn net.Conn) (near, far *tls.Conn) {
	tb.Helper()
	if k.server {
		near, far = tls.Server(relay.NewTransport(nearConn), serverConfig(k.version)), tls.Client(farConn, clientConfig(k.version))
	} else {
		near, far = tls.Client(relay.NewTransport(nearConn), clientConfig(k.version)), tls.Server(farConn, serverConfig(k.version))
	}
	done := make(chan error, 1)
	go func() { done <- far.Handshake() }()
	if err := near.Handshake(); err != nil {
		tb.Fatal(err)
	}
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
	return near, far
}

// An outcome is what Run returned.
type outcome struct {
	relay.Result
	err error
}

// start runs a relay.
func start(tb testing.TB, ctx context.Context, a, b net.Conn, opts *relay.Options) <-chan outcome {
	tb.Helper()
	done := make(chan outcome, 1)
	go func() {
		result, err := relay.Run(ctx, a, b, opts)
		done <- outcome{result, err}
	}()
	return done
}

// wait waits for the end of a relay.
func wait(tb testing.TB, done <-chan outcome) outcome {
	tb.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(patience):
		tb.Fatal("the relay does not end")
		return outcome{}
	}
}

// wantError checks the error of a relay.
func wantError(tb testing.TB, err error, side relay.Side, op relay.Op, cause error) {
	tb.Helper()
	var e *relay.Error
	switch {
	case !errors.As(err, &e):
		tb.Errorf("error is %v, want an *Error", err)
	case e.Side != side || e.Op != op || !errors.Is(err, cause):
		tb.Errorf("error is %v (%v %v), want %v %v %v", err, e.Side, e.Op, side, op, cause)
	}
}

// noise returns a stream of n octets that a seed determines.
func noise(seed uint64, n int64) io.Reader {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	return io.LimitReader(mrand.NewChaCha8(key), n)
}

type sum [sha256.Size]byte

// sumOf returns the digest of a stream, and its length.
func sumOf(tb testing.TB, r io.Reader) (sum, int64) {
	tb.Helper()
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 64<<10))
	if err != nil {
		tb.Errorf("after %d octets: %v", n, err)
	}
	return sum(h.Sum(nil)), n
}

type halfCloser interface{ CloseWrite() error }

// sendAll writes a stream and closes the connection for writing.
func sendAll(tb testing.TB, w net.Conn, r io.Reader) {
	tb.Helper()
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 64<<10)); err != nil {
		tb.Errorf("writing: %v", err)
	}
	if err := w.(halfCloser).CloseWrite(); err != nil {
		tb.Errorf("closing for writing: %v", err)
	}
}

// writePlenty writes 64 MiB, more than buffers take, in pieces: one slice of that size
// can hold all goroutines up for a second with the race detector, and with them what
// other tests time.
func writePlenty(w io.Writer) (n int, err error) {
	part := make([]byte, 64<<10)
	for n < 64<<20 && err == nil {
		var m int
		m, err = w.Write(part)
		n += m
	}
	return n, err
}

// exchange sends n octets each way at once and checks that they arrive.
func exchange(tb testing.TB, x, y net.Conn, n int64) {
	tb.Helper()
	var group sync.WaitGroup
	for i, c := range [][2]net.Conn{{x, y}, {y, x}} {
		seed := uint64(i)
		group.Go(func() { sendAll(tb, c[0], noise(seed, n)) })
		group.Go(func() {
			got, size := sumOf(tb, c[1])
			if want, _ := sumOf(tb, noise(seed, n)); got != want || size != n {
				tb.Errorf("direction %d: %d octets with another digest, want %d", seed, size, n)
			}
		})
	}
	group.Wait()
}

// ifRace returns the first value under the race detector, which is slow.
func ifRace(race, normal int) int {
	if raceEnabled {
		return race
	}
	return normal
}
