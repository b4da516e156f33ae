package tls

import (
	"bytes"
	cryptotls "crypto/tls"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/peers"
)

// A mailbox is a backend of go-smtp that keeps what it is sent.
type mailbox struct {
	mu   sync.Mutex
	mail []string
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{b}, nil }

type delivery struct{ *mailbox }

func (*delivery) AuthMechanisms() []string { return []string{sasl.Plain} }

func (*delivery) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "alice" || password != "secret" {
			return errors.New("wrong")
		}
		return nil
	}), nil
}

func (*delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (*delivery) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*delivery) Reset()                               {}
func (*delivery) Logout() error                        { return nil }

func (d *delivery) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mail = append(d.mail, string(data))
	return err
}

func (b *mailbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mail)
}

// serveGoSMTP runs go-smtp behind a listener.
func serveGoSMTP(t *testing.T, mode Mode) (*Listener, *mailbox) {
	t.Helper()
	box := &mailbox{}
	server := smtp.NewServer(box)
	server.Domain = serverName
	server.ReadTimeout, server.WriteTimeout = 10*time.Second, 10*time.Second
	server.AllowInsecureAuth = true // TLS is the listener's
	cfg := guests[0].config(t)
	cfg.Mode = mode
	l := listen(t, cfg, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l, box
}

// TestGoSMTP sends mail to a server of go-smtp, by our client and by OpenSSL's.
func TestGoSMTP(t *testing.T) {
	f := serverFiles(t)
	for _, mode := range []Mode{StartTLS, Implicit} {
		t.Run(mode.String(), func(t *testing.T) {
			l, box := serveGoSMTP(t, mode)
			s, err := Dial(t.Context(), "tcp", l.Addr().String(), &ClientConfig{Protocol: SMTP, Mode: mode, TLS: world(t).clientTLS()})
			if err != nil {
				t.Fatal(err)
			}
			dialogue := "EHLO me\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n"
			replies := converse(t, s, mode, dialogue)
			if box.count() != 1 || strings.Contains(replies, "STARTTLS") || !strings.Contains(replies, "235 ") {
				t.Errorf("%d: %s", box.count(), replies)
			}
			args := []string{"-CAfile", f.CA, "-verify_return_error", "-servername", serverName, "-ign_eof", "-crlf"}
			if mode == StartTLS {
				args = append(args, "-starttls", "smtp")
			}
			p := peers.SClient(t, l.Addr().String(), args...)
			say(t, p, strings.ReplaceAll(dialogue, "\r\n", "\n"))
			p.WaitLog(t, "221 ")
			if box.count() != 2 {
				t.Errorf("%d: %s", box.count(), p.Log())
			}
		})
	}
}

// converse sends line by line, each after the last line of the reply before.
func converse(t *testing.T, s *Session, mode Mode, dialogue string) string {
	t.Helper()
	defer func() { _ = s.Close() }()
	_ = s.Conn.SetDeadline(time.Now().Add(10 * time.Second))
	var replies bytes.Buffer
	reply := func() {
		line := ""
		for b := make([]byte, 1); ; {
			if _, err := io.ReadFull(s.Conn, b); err != nil {
				t.Fatalf("%v after %s", err, replies.String())
			}
			replies.WriteByte(b[0])
			if line += string(b); b[0] == '\n' {
				if line[3] == ' ' {
					return
				}
				line = ""
			}
		}
	}
	if mode == Implicit {
		reply()
	}
	inData := false
	for line := range strings.SplitAfterSeq(dialogue, "\r\n") {
		if line == "" {
			continue
		}
		if _, err := io.WriteString(s.Conn, line); err != nil {
			t.Fatal(err)
		}
		if !inData || line == ".\r\n" {
			reply()
		}
		inData = line == "DATA\r\n" || inData && line != ".\r\n"
	}
	return replies.String()
}

// TestGoSMTPFailed shows that a failed handshake leaves nothing to talk to.
func TestGoSMTPFailed(t *testing.T) {
	l, box := serveGoSMTP(t, StartTLS)
	cfg := startTLS(t, SMTP)
	cfg.TLS.MinVersion, cfg.TLS.MaxVersion = cryptotls.VersionTLS10, cryptotls.VersionTLS11
	var handshake *HandshakeError
	if _, err := Dial(t.Context(), "tcp", l.Addr().String(), cfg); !errors.As(err, &handshake) {
		t.Errorf("got %v", err)
	}
	if box.count() != 0 {
		t.Error("mail came")
	}
}
