package smtpproxy

import (
	"context"
	"encoding/base64"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/mailtest"
)

// untilRest waits until go-smtp serves nobody behind a proxy.
func untilRest(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text := string(stacks[:runtime.Stack(stacks, true)])
		if strings.Contains(text, "smtpproxy.(*front).await") && !strings.Contains(text, "smtpproxy.(*front).readLine") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("go-smtp is still there")
		}
	}
}

// TestRest has a client say nothing for a while, again and again: it is the same
// session, with the same connection to the mail server, and the client sees nothing
// of it.
func TestRest(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	p := proxyOf(t, w, mailtest.Everything(t))
	var connections atomic.Int32
	p.Connect = func(context.Context) (net.Conn, bool, error) {
		connections.Add(1)
		conn, err := net.Dial("tcp", up.Addr)
		return conn, false, err
	}
	p.RequireLogin = true
	p.rest = 10 * time.Millisecond
	c := dial(t, serve(t, p, ""))
	login := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00alice@example.org\x00secret"))
	hello := c.say("EHLO client.test", 250)
	untilRest(t)
	if again := c.say("EHLO client.test", 250); again != hello {
		t.Errorf("it offers something else:\n%s\n%s", hello, again)
	}
	// A login whose response is waited for is under way.
	c.say("AUTH PLAIN", 334)
	time.Sleep(3 * p.rest)
	c.say("*", 501)
	c.say("MAIL FROM:<alice@example.org>", 530)
	c.say(login, 235)
	untilRest(t)
	c.say(login, 503)
	for range 2 {
		untilRest(t)
		c.say("MAIL FROM:<alice@example.org>", 250)
		time.Sleep(3 * p.rest) // a message is under way, and goes on
		c.say("RCPT TO:<bob@example.org>", 250)
		c.say("DATA", 354)
		c.send(strings.ReplaceAll(note, "\r\n.", "\r\n..") + ".\r\n")
		c.expect(250)
	}
	untilRest(t)
	// Several commands at once, and half of one.
	c.send("NOOP\r\nMAIL FROM:<alice@example.org>\r\nRSET\r\nNO")
	for range 3 {
		c.expect(250)
	}
	time.Sleep(3 * p.rest)
	c.say("OP", 250)
	untilRest(t)
	c.say("QUIT", 221)
	if n := connections.Load(); n != 1 || len(up.Got()) != 2 {
		t.Errorf("%d connections, %d messages", n, len(up.Got()))
	}
}

// TestRestEnds ends connections while go-smtp is not there, as if it were.
func TestRestEnds(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	for name, tc := range map[string]struct {
		end  func(c *client, cancel func())
		says string
	}{
		"idle":   {func(*client, func()) {}, "421 4.4.2 "},
		"drain":  {func(_ *client, cancel func()) { cancel() }, "421 4.3.2 "},
		"client": {func(c *client, _ func()) { _ = c.conn.Close() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := proxyOf(t, w, mailtest.Everything(t))
			p.Name, p.rest, p.Idle = "proxy.test", time.Millisecond, time.Minute
			if name == "idle" {
				p.Idle = 300 * time.Millisecond
			}
			p.Connect = func(context.Context) (net.Conn, bool, error) {
				conn, err := net.Dial("tcp", up.Addr)
				return conn, false, err
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l, done := mailtest.Listen(t), make(chan struct{})
			go func() {
				defer close(done)
				if conn, err := l.Accept(); err == nil {
					p.ServeConn(ctx, conn)
				}
			}()
			c := dial(t, l.Addr().String())
			c.say("EHLO client.test", 250)
			untilRest(t)
			tc.end(c, cancel)
			if tc.says != "" {
				if text := c.expect(421); !strings.HasPrefix(text, tc.says) {
					t.Error(text)
				}
			}
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("it is still served")
			}
		})
	}
}
