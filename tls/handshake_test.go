package tls

import (
	cryptotls "crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
)

// TestCutHandshake has the peer vanish after every few octets of the handshake.
func TestCutHandshake(t *testing.T) {
	gone := func(shake step) step {
		return func(a *actor) error {
			if err := shake(a); err == nil {
				return errors.New("the handshake went well")
			}
			return nil
		}
	}
	var handshake *HandshakeError
	count := 0
	for cut := 1; cut < 600; cut += 37 {
		_, err := meet(t, &ClientConfig{Protocol: IMAP, TLS: world(t).clientTLS()}, &actor{cut: cut}, gone(shake))
		if !errors.As(err, &handshake) || Advice(err) == "" {
			t.Errorf("client, after %d: %v", cut, err)
		}
		_, err = host(t, &ServerConfig{Protocol: IMAP, TLS: world(t).serverTLS()}, &actor{cut: cut}, gone(shakeClient))
		if !errors.As(err, &handshake) || Advice(err) == "" {
			t.Errorf("server, after %d: %v", cut, err)
		}
		count++
	}
	if count < 10 {
		t.Errorf("only %d", count)
	}
}

// TestPlaintextPeer meets a server that speaks plaintext where TLS is due.
func TestPlaintextPeer(t *testing.T) {
	for p := SMTP; p.valid(); p++ {
		_, err := meet(t, &ClientConfig{Protocol: p, TLS: world(t).clientTLS()}, &actor{}, send("220 mail.example.test ESMTP\r\n"), drained)
		var record cryptotls.RecordHeaderError
		if !errors.As(err, &record) || !strings.Contains(Advice(err), "STARTTLS") {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// TestAlertAdvice finds the advice for every alert by what crypto/tls says.
func TestAlertAdvice(t *testing.T) {
	texts := make(map[string]bool)
	for number, advice := range alertAdvice {
		alert := cryptotls.AlertError(number)
		if texts[alert.Error()] {
			t.Errorf("two alerts are %q", alert.Error())
		}
		texts[alert.Error()] = true
		if got := Advice(&net.OpError{Op: "remote error", Err: alert}); got != advice {
			t.Errorf("%d: %q", number, got)
		}
	}
	if Advice(nil) != "" || Advice(errors.New("something else")) != "" {
		t.Error("advice about nothing")
	}
}

// TestTicketKeys shares keys between two servers, and takes them away.
func TestTicketKeys(t *testing.T) {
	a, b := newServer(t, guests[3].config(t)), newServer(t, guests[3].config(t))
	shared := [32]byte{1}
	var config *ConfigError
	if err := a.SetSessionTicketKeys(nil); !errors.As(err, &config) {
		t.Errorf("got %v", err)
	}
	for _, s := range []*Server{a, b} {
		if err := s.SetSessionTicketKeys([][32]byte{shared}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := startTLS(t, POP3)
	cfg.TLS.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
	resumed := func(s *Server) bool {
		x, y := pair(t, s, cfg)
		defer func() { _, _ = x.Close(), y.Close() }()
		return x.State().DidResume
	}
	if resumed(a) || !resumed(b) || !resumed(a) {
		t.Error("tickets of one are not good at the other")
	}
	if err := b.SetSessionTicketKeys([][32]byte{{2}, shared}); err != nil {
		t.Fatal(err)
	}
	if !resumed(b) || resumed(a) {
		t.Error("keys do not rotate")
	}
}

// TestExporterUnsafe refuses the exporter of TLS 1.2 without the extended master
// secret, which gnutls-cli can do without, and where renegotiation is allowed.
func TestExporterUnsafe(t *testing.T) {
	cfg := startTLS(t, POP3)
	cfg.TLS.MaxVersion, cfg.TLS.Renegotiation = cryptotls.VersionTLS12, cryptotls.RenegotiateOnceAsClient
	c, s := pair(t, newServer(t, guests[3].config(t)), cfg)
	if _, err := c.ChannelBinding(TLSExporter); !errors.Is(err, ErrUnbindable) {
		t.Errorf("got %v", err)
	}
	_, _ = c.Close(), s.Close()

	l := listen(t, guests[3].config(t), &ListenerOptions{OnError: func(_ net.Addr, err error) { t.Log(err) }})
	seen := serveLines(t, l)
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	p := peers.StartProcess(t, "gnutls-bin", "gnutls-cli", "--starttls-proto", "pop3", "--insecure",
		"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH", "--port", port, "127.0.0.1")
	p.WaitLog(t, "Handshake was completed")
	say(t, p, "hello\n")
	v := next(t, seen, p)
	if v.err != nil {
		t.Fatalf("%v\n%s", v.err, p.Log())
	}
	if _, err := v.session.ChannelBinding(TLSExporter); !errors.Is(err, ErrUnbindable) {
		t.Errorf("got %v\n%s", err, p.Log())
	}
	if _, err := v.session.ChannelBinding(TLSServerEndPoint); err != nil {
		t.Error(err)
	}
}

// TestDuplex sends much both ways at once, over writes of many sizes, which must
// arrive whole, and ends one direction before the other.
func TestDuplex(t *testing.T) {
	c, s := pair(t, newServer(t, guests[3].config(t)), startTLS(t, POP3))
	defer func() { _, _ = c.Close(), s.Close() }()
	const total = 4 << 20
	deadline := time.Now().Add(20 * time.Second)
	done := make(chan error, 4)
	for _, side := range []*Session{c, s} {
		_ = side.Conn.SetDeadline(deadline)
		go func() {
			data := make([]byte, 100_000)
			for sent, size := 0, 1; sent < total; size = size*3%99_991 + 1 {
				n, err := side.Conn.Write(data[:min(size, total-sent)])
				if err != nil {
					done <- err
					return
				}
				sent += n
			}
			done <- side.TLS.CloseWrite()
		}()
		go func() {
			n, err := io.Copy(io.Discard, side.Conn)
			if err == nil && n != total {
				err = io.ErrUnexpectedEOF
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
