package smtpproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/policy"
)

// serve starts a proxy and returns its address. It waits for its connections at
// the end.
func serve(t testing.TB, p *Proxy, upstream string) string {
	t.Helper()
	if p.Connect == nil {
		p.Connect = func(context.Context) (net.Conn, bool, error) {
			conn, err := net.Dial("tcp", upstream)
			return conn, false, err
		}
	}
	return serveOn(t, p, mailtest.Listen(t))
}

// serveOn serves the connections of a listener.
func serveOn(t testing.TB, p *Proxy, l net.Listener) string {
	t.Helper()
	if p.Name == "" {
		p.Name = "proxy.test"
	}
	if p.rest == 0 {
		p.rest = time.Millisecond // so that there are visits between most commands
	}
	return mailtest.Serve(t, l, p.ServeConn)
}

// A client speaks SMTP line by line.
type client struct {
	t    testing.TB
	conn net.Conn
	br   *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{t, conn, bufio.NewReader(conn)}
	c.expect(220)
	return c
}

// reply reads a reply.
func (c *client) reply() (int, string) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	text := ""
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return 0, text + err.Error()
		}
		text += line
		if len(line) > 3 && line[3] == ' ' {
			var code int
			if _, err = fmt.Sscanf(line, "%d", &code); err != nil {
				c.t.Fatalf("%q", line)
			}
			return code, text
		}
	}
}

func (c *client) expect(code int) string {
	c.t.Helper()
	got, text := c.reply()
	if got != code {
		c.t.Fatalf("reply %s, want %d", text, code)
	}
	return text
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// say sends a line and expects a reply.
func (c *client) say(line string, code int) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.expect(code)
}

// mail sends a message, and expects a reply to it.
func (c *client) mail(from, message string, code int, to ...string) string {
	c.t.Helper()
	c.say("MAIL FROM:<"+from+">", 250)
	for _, address := range to {
		c.say("RCPT TO:<"+address+">", 250)
	}
	c.say("DATA", 354)
	var b bytes.Buffer
	for line := range strings.Lines(message) {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	c.send(b.String() + ".\r\n")
	return c.expect(code)
}

// requireAll requires encryption to everybody.
func requireAll() policy.Rule { return policy.Rule{Encrypt: mailtest.Level(policy.EncryptRequire)} }
