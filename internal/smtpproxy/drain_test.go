package smtpproxy

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/mailtest"
)

// TestDrain tells clients that wait to go, and lets a message end.
func TestDrain(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	p := proxyOf(t, w, mailtest.Everything(t))
	p.Name = "proxy.test"
	p.Connect = func(context.Context) (net.Conn, bool, error) {
		conn, err := net.Dial("tcp", up.Addr)
		return conn, false, err
	}
	l := mailtest.Listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		for range 2 {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			serving.Go(func() { p.ServeConn(ctx, conn) })
		}
	})
	idle, sending := dial(t, l.Addr().String()), dial(t, l.Addr().String())
	idle.say("EHLO client.test", 250)
	sending.say("EHLO client.test", 250)
	sending.say("MAIL FROM:<alice@example.org>", 250)
	sending.say("RCPT TO:<bob@example.org>", 250)
	sending.say("DATA", 354)
	cancel()
	if text := idle.expect(421); !strings.Contains(text, "4.3.2") {
		t.Error(text)
	}
	sending.send(strings.ReplaceAll(note, "\r\n.", "\r\n..") + ".\r\n")
	sending.expect(250)
	sending.expect(421)
	for _, c := range []*client{idle, sending} {
		if rest, err := io.ReadAll(c.br); len(rest) > 0 {
			t.Errorf("%q %v", rest, err)
		}
	}
	serving.Wait()
	if got := up.Got(); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

// TestNotification has what the client has asked for (RFC 3461), and addresses that
// are not in US-ASCII (RFC 6533).
func TestNotification(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	for name, tc := range map[string]struct {
		rcpt   string
		want   []string
		silent bool
	}{
		"ORCPT": {"RCPT TO:<dave+x@elsewhere.test> ORCPT=rfc822;d+2Bve@elsewhere.test NOTIFY=FAILURE", []string{
			"Original-Envelope-Id: id+1\r\n", "Original-Recipient: RFC822;d+ve@elsewhere.test\r\n", "Final-Recipient: rfc822; dave+x@elsewhere.test\r\n", "Status: 5.1.1\r\n"}, false},
		"silent": {"RCPT TO:<dave@elsewhere.test> NOTIFY=NEVER", nil, true},
		"UTF-8":  {"RCPT TO:<d\u00e4ve@elsewhere.test>", []string{`Final-Recipient: utf-8; d\x{E4}ve@elsewhere.test` + "\r\n"}, false},
	} {
		up := mailtest.NewServer(t, nil)
		up.Refuse = func(n int, to string) error {
			if n == 3 && strings.HasSuffix(to, "@elsewhere.test") {
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
			}
			return nil
		}
		c := dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t)), up.Addr))
		c.say("EHLO client.test", 250)
		c.say("MAIL FROM:<alice@example.org> SMTPUTF8 ENVID=id+2B1", 250)
		c.say("RCPT TO:<bob@example.org>", 250)
		c.say(tc.rcpt, 250)
		c.say("DATA", 354)
		c.send(strings.ReplaceAll(note, "\r\n.", "\r\n..") + ".\r\n")
		c.expect(250)
		got := up.Got()
		if tc.silent != (len(got) == 1) {
			t.Errorf("%s: %d messages", name, len(got))
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(got[1].Data, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, got[1].Data)
			}
		}
	}
}
