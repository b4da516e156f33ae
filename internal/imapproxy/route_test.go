package imapproxy

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/smime"
)

// TestRoute chooses the upstream by who logs in.
func TestRoute(t *testing.T) {
	w := newWorld(t)
	upstream := startMemory(t)
	var routes, logins []string
	p := w.proxy()
	p.LoggedIn = func(account string, password []byte) { logins = append(logins, account+":"+string(password)) }
	p.Route = func(ctx context.Context, account string) (net.Conn, bool, error) {
		routes = append(routes, account)
		if account != "alice" {
			return nil, false, errors.New("no such domain")
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", upstream)
		return conn, false, err
	}
	addr := serve(t, p, "")
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		command  string
		literals []string
		status   string
		route    string
		login    string
		gone     bool // the connection has ended
	}{
		{`LOGIN alice secret`, nil, "OK", "alice", "alice:secret", false},
		{`LOGIN {5}`, []string{"alice {6}\r\n", "secret\r\n"}, "OK", "alice", "alice:secret", false},
		{`AUTHENTICATE PLAIN`, []string{b64("\x00alice\x00secret") + "\r\n"}, "OK", "alice", "alice:secret", false},
		{`AUTHENTICATE PLAIN ` + b64("\x00alice\x00secret"), nil, "OK", "alice", "alice:secret", false},
		{`AUTHENTICATE PLAIN`, []string{"*\r\n"}, "BAD", "", "", false},
		{`AUTHENTICATE SCRAM-SHA-256`, nil, "NO", "", "", false},
		{`AUTHENTICATE XOAUTH2 ` + b64("user=alice\x01auth=Bearer x\x01\x01"), nil, "NO", "alice", "", true},
		{`LOGIN alice wrong`, nil, "NO", "alice", "", true},
		{`LOGIN carol secret`, nil, "* BYE", "carol", "", true},
		{`SELECT INBOX`, nil, "BAD", "", "", false},
		{`NOOP`, nil, "OK", "", "", false},
	} {
		routes, logins = nil, nil
		c := dial(t, addr)
		if untagged := strings.Join(c.ok("CAPABILITY"), ""); !strings.Contains(untagged, "AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER") {
			t.Errorf("%s", untagged)
		}
		if tc.status == "* BYE" {
			c.send("x " + tc.command + "\r\n")
			if line := c.response(); !strings.HasPrefix(line, "* BYE") {
				t.Errorf("%s: %s", tc.command, line)
			}
		} else if _, status := c.do(tc.command, tc.literals...); !strings.HasPrefix(status, tc.status) {
			t.Errorf("%s: %s", tc.command, status)
		}
		if tc.gone {
			if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			line, err := c.br.ReadString('\n')
			for err == nil && strings.HasPrefix(line, "* BYE") {
				line, err = c.br.ReadString('\n')
			}
			if err == nil {
				t.Errorf("%s: the connection goes on: %q", tc.command, line)
			}
		} else {
			c.ok("NOOP")
		}
		if strings.Join(routes, " ") != tc.route || strings.Join(logins, " ") != tc.login {
			t.Errorf("%s: routes %q, logins %q", tc.command, routes, logins)
		}
		_ = c.conn.Close()
	}
}

// TestHideID keeps what a client says of itself from an upstream that believes it.
func TestHideID(t *testing.T) {
	w := newWorld(t)
	p := w.proxy()
	p.HideID = true
	c := dial(t, serve(t, p, scripted(t, "* OK ready\r\n", "z OK done\r\n")))
	for range 2 {
		c.ok(`ID ("x-originating-ip" "192.0.2.1")`)
	}
	c.send("z NOOP\r\n")
	if line := c.response(); !strings.HasPrefix(line, "z OK") {
		t.Errorf("%q", line)
	}
}

// TestLearn is about who collects certificates: once for each message.
func TestLearn(t *testing.T) {
	w := newWorld(t)
	var learned []string
	p := w.proxy()
	p.Facts = facts.NewMemory()
	p.Learn = func(account string, m *smime.Message, received time.Time) {
		if received.IsZero() || !m.Trusted {
			t.Errorf("%v %v", received, m.Status)
		}
		learned = append(learned, account)
	}
	addr := serve(t, p, startMemory(t))
	for range 2 {
		c := dial(t, addr)
		c.ok("LOGIN alice secret")
		if len(learned) == 0 {
			c.add("INBOX", w.sign(t, noteMessage, true))
			c.add("INBOX", noteMessage)
		}
		c.ok("SELECT INBOX")
		c.ok("FETCH 1:* BODY.PEEK[]")
	}
	if len(learned) != 1 || learned[0] != "alice" {
		t.Errorf("%q", learned)
	}
}
