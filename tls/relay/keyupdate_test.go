package relay_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/tls/relay"
)

// A keyUpdater is a TLS 1.3 client that writes records of its own making, after
// the handshake of crypto/tls, which cannot ask for key updates.
type keyUpdater struct {
	*tls.Conn
	t      *testing.T
	raw    net.Conn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newKeyUpdater(t *testing.T) (near net.Conn, far *keyUpdater) {
	t.Helper()
	nearConn, farConn := tcpPair(t)
	var keys bytes.Buffer
	config := clientConfig(tls.VersionTLS13)
	config.KeyLogWriter = &keys
	server := tls.Server(relay.NewTransport(nearConn), serverConfig(tls.VersionTLS13))
	far = &keyUpdater{Conn: tls.Client(farConn, config), t: t, raw: farConn}
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(far.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	if far.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("this machine does not prefer AES")
	}
	for line := range strings.Lines(keys.String()) {
		if words := strings.Fields(line); words[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(words[2])
			if err != nil {
				t.Fatal(err)
			}
			far.setSecret(secret)
		}
	}
	if far.aead == nil {
		t.Fatal("the traffic secret was not logged")
	}
	return server, far
}

// expand is HKDF-Expand-Label: RFC 8446, Section 7.1.
func (u *keyUpdater) expand(secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 "+label)))
	info = append(info, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		u.t.Fatal(err)
	}
	return out
}

func (u *keyUpdater) setSecret(secret []byte) {
	block, err := aes.NewCipher(u.expand(secret, "key", 16))
	if err != nil {
		u.t.Fatal(err)
	}
	if u.aead, err = cipher.NewGCM(block); err != nil {
		u.t.Fatal(err)
	}
	u.secret, u.iv, u.seq = secret, u.expand(secret, "iv", 12), 0
}

// record seals one record: RFC 8446, Section 5.2.
func (u *keyUpdater) record(contentType byte, content []byte) []byte {
	inner := append(bytes.Clone(content), contentType)
	nonce := bytes.Clone(u.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(u.seq >> (56 - 8*i))
	}
	u.seq++
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(inner)+u.aead.Overhead()))
	return append(header, u.aead.Seal(nil, nonce, inner, header)...)
}

// Write sends application data.
func (u *keyUpdater) Write(p []byte) (int, error) {
	n := 0
	for part := range chunks(p, 16<<10) {
		if _, err := u.raw.Write(u.record(23, part)); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

func chunks(p []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			n := min(size, len(p))
			if !yield(p[:n]) {
				return
			}
			p = p[n:]
		}
	}
}

// update asks for a key update: RFC 8446, Section 4.6.3.
func (u *keyUpdater) update() error {
	_, err := u.raw.Write(u.record(22, []byte{24, 0, 0, 1, 1}))
	u.setSecret(u.expand(u.secret, "traffic upd", sha256.Size))
	return err
}

// CloseWrite sends close_notify.
func (u *keyUpdater) CloseWrite() error {
	_, err := u.raw.Write(u.record(21, []byte{1, 0}))
	return err
}

// TestKeyUpdateBlocked has a peer ask for key updates while it reads nothing, and
// go on to send. The updates must be answered, and what it sends must arrive,
// though the relay's own writes to it are blocked all the time.
func TestKeyUpdateBlocked(t *testing.T) {
	// crypto/tls, here as the peer, takes at most 16 such answers in a row.
	const size, updates = 16 << 20, 15
	nearA, farA := newKeyUpdater(t)
	nearB, farB := pair(t, plain)
	done := start(t, t.Context(), nearA, nearB, &relay.Options{Idle: 20 * time.Second})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		sendAll(t, farB, noise(1, size))
	}()
	time.Sleep(brief) // until nothing goes to A any more
	received := make(chan sum, 1)
	go func() {
		got, _ := sumOf(t, farB)
		received <- got
	}()
	data := noise(2, size)
	for range updates {
		if _, err := io.CopyN(struct{ io.Writer }{farA}, data, size/updates); err != nil {
			t.Fatal(err)
		}
		if err := farA.update(); err != nil {
			t.Fatal(err)
		}
	}
	sendAll(t, farA, data)
	if want, _ := sumOf(t, noise(2, size)); <-received != want {
		t.Error("another digest arrived at B")
	}
	select {
	case <-sent:
		t.Error("nothing was blocked")
	default:
	}
	// Now A reads: the answers to its updates are among the data.
	got, n := sumOf(t, farA)
	if want, _ := sumOf(t, noise(1, size)); got != want || n != size {
		t.Errorf("%d octets with another digest arrived at A", n)
	}
	<-sent
	if o := wait(t, done); o.err != nil || o.AToB.Bytes != size || o.BToA.Bytes != size {
		t.Errorf("%+v", o)
	}
}

// TestKeyUpdateIdle has a peer ask for a key update while nothing else happens.
func TestKeyUpdateIdle(t *testing.T) {
	nearA, farA := newKeyUpdater(t)
	nearB, farB := pair(t, plain)
	done := start(t, t.Context(), nearA, nearB, nil)
	for range 5 {
		write(t, farB, "before")
		expect(t, farA, "before")
		if err := farA.update(); err != nil {
			t.Fatal(err)
		}
		write(t, farA, "after")
		expect(t, farB, "after")
	}
	_ = farA.CloseWrite()
	expectEnd(t, farB)
	_ = farB.Close()
	expectEnd(t, farA)
	if o := wait(t, done); o.err != nil {
		t.Error(o.err)
	}
}

// TestKeyUpdateFlood has a peer ask for more and more and read nothing.
func TestKeyUpdateFlood(t *testing.T) {
	nearA, farA := newKeyUpdater(t)
	nearB, farB := pair(t, plain)
	done := start(t, t.Context(), nearA, nearB, nil)
	go func() { _, _ = writePlenty(farB) }()
	time.Sleep(brief)
	go func() { _, _ = io.Copy(io.Discard, farB) }()
	updates := 0
	for updates < 1e6 {
		if err := farA.update(); err != nil {
			break
		}
		if _, err := farA.Write([]byte("x")); err != nil {
			break
		}
		updates++
	}
	if updates == 1e6 {
		t.Fatal("it is never enough")
	}
	wantError(t, wait(t, done).err, relay.A, relay.OpWrite, relay.ErrFlood)
}
