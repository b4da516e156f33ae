package smtpproxy

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/mailtest"
)

// TestRoute chooses the upstream by who logs in.
func TestRoute(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	one, two := mailtest.NewServer(t, nil), mailtest.NewServer(t, nil)
	p := proxyOf(t, w, mailtest.Rules(t))
	var passwords []string
	p.LoggedIn = func(account string, password []byte) {
		passwords = append(passwords, account+":"+string(password))
	}
	p.Route = func(ctx context.Context, account string) (net.Conn, bool, error) {
		up := map[string]*mailtest.Server{"one.test": one, "two.test": two}[account[strings.IndexByte(account, '@')+1:]]
		if up == nil {
			return nil, false, errors.New("no such domain")
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", up.Addr)
		return conn, false, err
	}
	host := mailtest.NewHost(t)
	server, config := host.Server, host.Client
	p.TLS = server
	addr := serve(t, p, "")
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	plain := func(name, password string) string { return "AUTH PLAIN " + b64("\x00"+name+"\x00"+password) }
	for _, tc := range []struct {
		name  string
		lines []string
		codes []int
		up    *mailtest.Server
		login string // and the password, where it can be seen
	}{
		{"PLAIN", []string{plain("a@one.test", "secret")}, []int{235}, one, "a@one.test:secret"},
		{"PLAIN, later", []string{"AUTH PLAIN", b64("\x00a@two.test\x00secret")}, []int{334, 235}, two, "a@two.test:secret"},
		{"LOGIN", []string{"AUTH LOGIN", b64("b@two.test"), b64("secret")}, []int{334, 334, 235}, two, "b@two.test:secret"},
		{"LOGIN with a name", []string{"AUTH LOGIN " + b64("c@one.test"), b64("secret")}, []int{334, 235}, one, "c@one.test:secret"},
		{"another server after a refusal", []string{plain("a@one.test", "wrong"), plain("a@two.test", "secret")}, []int{535, 235}, two, "a@two.test:secret"},
		{"no server", []string{plain("a@three.test", "secret"), plain("a@one.test", "secret")}, []int{451, 235}, one, "a@one.test:secret"},
		{"a name without a mechanism of the server", []string{"AUTH XOAUTH2 " + b64("user=a@one.test\x01auth=Bearer x\x01\x01"), plain("a@one.test", "secret")}, []int{504, 235}, one, "a@one.test:secret"},
		{"in another's name", []string{"AUTH PLAIN " + b64("d@one.test\x00a@one.test\x00secret")}, []int{235}, one, "a@one.test:secret"},
	} {
		passwords = nil
		before := len(tc.up.Got())
		c := dial(t, addr)
		c.say("EHLO client.test", 250)
		c.startTLS(config)
		if text := c.say("EHLO client.test", 250); !strings.Contains(text, "AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n") {
			t.Errorf("%s", text)
		}
		c.say("MAIL FROM:<alice@example.org>", 530)
		for i, line := range tc.lines {
			c.say(line, tc.codes[i])
		}
		c.say(plain("a@one.test", "secret"), 503) // RFC 4954, Section 4: once
		c.mail("alice@example.org", note, 250, "bob@example.org")
		c.say("QUIT", 221)
		if n := len(tc.up.Got()); n != before+1 {
			t.Errorf("%s: the server has %d messages", tc.name, n-before)
		}
		if len(passwords) != 1 || passwords[0] != tc.login {
			t.Errorf("%s: %q", tc.name, passwords)
		}
	}
}

// TestRequireLogin lets nobody use what the upstream allows this host.
func TestRequireLogin(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	p := proxyOf(t, w, mailtest.Rules(t))
	p.RequireLogin = true
	host := mailtest.NewHost(t)
	server, config := host.Server, host.Client
	p.TLS = server
	c := dial(t, serve(t, p, up.Addr))
	c.say("EHLO client.test", 250)
	c.startTLS(config)
	c.say("EHLO client.test", 250)
	if text := c.say("MAIL FROM:<alice@example.org>", 530); !strings.Contains(text, "5.7.0") {
		t.Errorf("%s", text)
	}
	c.say("RCPT TO:<bob@example.org>", 502)
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice\x00wrong")), 535)
	c.say("MAIL FROM:<alice@example.org>", 530)
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice\x00secret")), 235)
	c.mail("alice@example.org", note, 250, "bob@example.org")
}
