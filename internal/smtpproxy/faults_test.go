package smtpproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/policy"
)

// A cutter stands before a server and ends a connection after a number of lines,
// counting both directions.
type cutter struct {
	addr string
	l    net.Listener

	mu      sync.Mutex
	at      int  // the line, the first is 0; negative for never
	forward bool // the line itself still gets through
	n       int  // lines so far
	cut     bool
	active  int // connections
}

func newCutter(t testing.TB, addr string) *cutter {
	t.Helper()
	c := &cutter{addr: addr, l: mailtest.Listen(t), at: -1}
	go func() {
		for {
			conn, err := c.l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = conn.Close()
				continue
			}
			c.begin(1)
			go func() {
				defer c.begin(-1)
				c.pass(conn.(*net.TCPConn), server.(*net.TCPConn))
			}()
		}
	}()
	return c
}

// set says where to cut.
func (c *cutter) set(at int, forward bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.forward, c.n, c.cut = at, forward, 0, false
}

// wait waits until the server has done with what it got, and reports whether a
// connection was cut.
func (c *cutter) wait() bool {
	for {
		c.mu.Lock()
		active, cut := c.active, c.cut
		c.mu.Unlock()
		if active == 0 {
			return cut
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// begin counts connections.
func (c *cutter) begin(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active += n
}

// count counts a line: whether it gets through, and whether more does.
func (c *cutter) count() (through, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return false, false
	}
	if c.n == c.at {
		c.cut = true
		return c.forward, false
	}
	c.n++
	return true, true
}

func (c *cutter) pass(client, server *net.TCPConn) {
	var both sync.WaitGroup
	half := func(dst, src *net.TCPConn) {
		in := bufio.NewReader(src)
		for {
			line, err := in.ReadString('\n')
			through, more := true, err == nil
			if line != "" {
				through, more = c.count()
				more = more && err == nil
			}
			if through && line != "" {
				_, _ = io.WriteString(dst, line)
			}
			if !more {
				break
			}
		}
		// The server does with what it has got what it would do; the proxy is left.
		_ = client.Close()
		_ = server.CloseWrite()
		_, _ = io.Copy(io.Discard, server)
	}
	both.Go(func() { half(server, client) })
	both.Go(func() { half(client, server) })
	both.Wait()
	_ = server.Close()
}

// TestUpstreamKilled ends the connection to the upstream at every line of a
// conversation, before and after it got through. What the client was told has is
// with the upstream once, for everybody; when it was told that it has not, it is
// not, unless it was told that this is not known.
func TestUpstreamKilled(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	for _, forms := range []int{1, 2} {
		for _, hide := range []string{"", "CHUNKING", "PIPELINING"} {
			t.Run(fmt.Sprintf("%d forms without %s", forms, hide), func(t *testing.T) {
				up := mailtest.NewServer(t, nil)
				up.Hide = hide
				cut := newCutter(t, up.Front(t))
				r, to := mailtest.Rules(t), []string{"bob@example.org"}
				if forms == 2 {
					r, to = mailtest.Everything(t), []string{"bob@example.org", "dave@elsewhere.test"}
				}
				addr := serve(t, proxyOf(t, w, r), cut.l.Addr().String())
				points := 0
				for _, forward := range []bool{false, true} {
					for at := 0; ; at++ {
						cut.set(at, forward)
						before := len(up.Got())
						code, text := attempt(t, addr, note, to...)
						if !cut.wait() {
							break
						}
						points++
						judge(t, fmt.Sprintf("cut at %d (%v)", at, forward), code, text, up.Got()[before:], to)
						if t.Failed() {
							return
						}
					}
				}
				if points < 40 {
					t.Errorf("only %d points", points)
				}
				t.Logf("%d points", points)
				// Afterwards everything is as it was.
				cut.set(-1, false)
				if code, text := attempt(t, addr, note, to...); code != 250 {
					t.Errorf("%d %s", code, text)
				}
			})
		}
	}
}

// attempt sends a message, and returns the last reply, 0 when there was none.
func attempt(t testing.TB, addr, message string, to ...string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c := &client{t, conn, bufio.NewReader(conn)}
	code, text := c.reply()
	lines := []string{"EHLO client.test", "MAIL FROM:<alice@example.org>"}
	for _, address := range to {
		lines = append(lines, "RCPT TO:<"+address+">")
	}
	for _, line := range append(lines, "DATA", strings.ReplaceAll(message, "\r\n.", "\r\n..")+".") {
		if code < 200 || code >= 400 {
			return code, text
		}
		if _, err = io.WriteString(conn, line+"\r\n"); err != nil {
			return 0, err.Error()
		}
		code, text = c.reply()
	}
	if code == 250 {
		_, _ = io.WriteString(conn, "QUIT\r\n")
		c.reply()
	}
	return code, text
}

// judge compares what a client was told with what the upstream has.
func judge(t *testing.T, name string, code int, text string, got []mailtest.Received, to []string) {
	t.Helper()
	has := make(map[string]int)
	notified := ""
	for _, m := range got {
		if len(m.To) == 1 && m.To[0] == "alice@example.org" {
			notified += m.Data
			continue
		}
		for _, address := range m.To {
			has[address]++
		}
	}
	for _, address := range to {
		switch n := has[address]; {
		case n > 1:
			t.Errorf("%s: %s has it %d times", name, address, n)
		case code == 250 && n == 0 && !strings.Contains(notified, "Final-Recipient: rfc822; "+address):
			t.Errorf("%s: the client was told that %s has it", name, address)
		case code != 250 && n == 1 && !strings.Contains(text, "not known") && !strings.Contains(text, "The others have it"):
			t.Errorf("%s: the client was told that nobody has it, and %s does: %d %s", name, address, code, text)
		case code != 250 && n == 1 && strings.Contains(text, address+" did not get"):
			t.Errorf("%s: the client was told that %s does not have it: %s", name, address, text)
		case code != 250 && n == 0 && strings.Contains(text, "The others have it") && !strings.Contains(text, address):
			t.Errorf("%s: the client was told that %s has it: %s", name, address, text)
		}
	}
}

// TestClientKilled ends the connection of the client after every octet of a
// conversation: the message goes out when all of it was there, and not before.
func TestClientKilled(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	addr := serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr)
	short := "From: a@b\r\n\r\nx\r\n..\r\n"
	head := "EHLO x\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
	for name, talk := range map[string]string{
		"DATA": head + "DATA\r\n" + short + ".\r\n",
		"BDAT": head + fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", 9, short[:9], len(short)-9, short[9:]),
	} {
		for n := range len(talk) {
			before := len(up.Got())
			c := dial(t, addr)
			c.send(talk[:n])
			if n%2 == 0 {
				_ = c.conn.(*net.TCPConn).CloseWrite()
			} else {
				// Replies that nobody reads make it a reset.
				_ = c.conn.(*net.TCPConn).SetLinger(0)
				_ = c.conn.Close()
			}
			if n%2 == 0 {
				_, _ = io.ReadAll(c.br)
			}
			if len(up.Got()) != before {
				t.Fatalf("%s: after %d of %d octets there is a message", name, n, len(talk))
			}
			_ = c.conn.Close()
		}
		c := dial(t, addr)
		before := len(up.Got())
		c.send(talk)
		for end := time.Now().Add(10 * time.Second); len(up.Got()) == before && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		if got := up.Got(); len(got) != before+1 {
			t.Errorf("%s: %d messages", name, len(got)-before)
		}
	}
}

// TestDiskFull has no room for a message: while it comes, and when it is made.
func TestDiskFull(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	dir := t.TempDir()
	size := tinyDisk(t, dir, 3<<20)
	p := proxyOf(t, w, mailtest.Everything(t))
	p.SpoolDir = dir
	addr := serve(t, p, up.Addr)
	small := note + strings.Repeat("0123456789\r\n", 1000)
	for _, octets := range []int{6 << 20, 3 << 20} { // the second one fits once, and not twice
		if size == 0 && octets == 3<<20 {
			continue
		}
		code, text := attempt(t, addr, note+strings.Repeat("0123456789\r\n", octets/12), "bob@example.org")
		if code != 451 || !strings.Contains(text, "4.") {
			t.Errorf("%d octets: %d %s", octets, code, text)
		}
		if code, text = attempt(t, addr, small, "bob@example.org"); code != 250 {
			t.Errorf("after %d octets: %d %s", octets, code, text)
		}
	}
	for _, m := range up.Got() {
		if len(m.Data) > 100000 {
			t.Error("half a message was sent")
		}
	}
}

// TestClock is wrong: nothing is sent that was not to be, and people are told.
func TestClock(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	for _, tc := range []struct {
		name    string
		now     time.Time
		encrypt policy.Encrypt
		sign    policy.Sign
		code    int
		text    string
	}{
		{"long ago", time.Unix(0, 0), policy.EncryptRequire, policy.SignAlways, 451, "certificate"},
		{"long ago, if possible", time.Unix(0, 0), policy.EncryptIfPossible, policy.SignIfPossible, 451, "certificate"},
		{"long ago, nothing is asked for", time.Unix(0, 0), policy.EncryptNever, policy.SignNever, 250, ""},
		{"far ahead", time.Now().AddDate(50, 0, 0), policy.EncryptRequire, policy.SignAlways, 550, "not valid at this time"},
		{"far ahead, signed", time.Now().AddDate(50, 0, 0), policy.EncryptNever, policy.SignAlways, 550, "not valid at this time"},
	} {
		p := proxyOf(t, w, mailtest.Rules(t, policy.Rule{Encrypt: &tc.encrypt, Sign: &tc.sign}))
		p.Now = func() time.Time { return tc.now }
		before := len(up.Got())
		code, text := attempt(t, serve(t, p, up.Addr), note, "bob@example.org")
		if code != tc.code || !strings.Contains(text, tc.text) || (len(up.Got()) > before) != (tc.code == 250) {
			t.Errorf("%s: %d %s", tc.name, code, text)
		}
	}
}

// cameFrom is a memory of replies.
type cameFrom struct {
	ids  []string
	down bool
}

func (c cameFrom) CameEncrypted(_ context.Context, account string, ids []string) (bool, error) {
	if c.down {
		return false, errors.New("the disk is gone")
	}
	return account == "" && slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(c.ids, id) }), nil
}

// TestClearReply answers a message that came encrypted.
func TestClearReply(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	secret := cameFrom{ids: []string{"secret@example.org"}}
	answer := func(fields string) string { return strings.Replace(note, "Subject:", fields+"Subject:", 1) }
	direct, far := answer("In-Reply-To: <secret@example.org>\r\n"), answer("In-Reply-To: <other@x>\r\nReferences: <a@b>\r\n <secret@example.org>\r\n <other@x>\r\n")
	for _, tc := range []struct {
		name    string
		replies policy.Replies
		memory  cameFrom
		message string
		to      string
		code    int
		clear   bool // when it is sent
	}{
		{"free", policy.RepliesFree, secret, direct, "bob@example.org", 250, true},
		{"encrypted", policy.RepliesEncrypt, secret, direct, "bob@example.org", 250, false},
		{"encrypted, by References", policy.RepliesEncrypt, secret, far, "bob@example.org", 250, false},
		{"encrypted to whom it is not possible", policy.RepliesEncrypt, secret, direct, "dave@elsewhere.test", 550, false},
		{"refused", policy.RepliesRefuse, secret, direct, "bob@example.org", 550, false},
		{"encrypted by the sender", policy.RepliesRefuse, secret, strings.Replace(sealed(t, w, true, true), "Subject:", "In-Reply-To: <secret@example.org>\r\nSubject:", 1), "bob@example.org", 250, false},
		{"asked for by a tag", policy.RepliesRefuse, secret, strings.Replace(direct, "Lunch", "[encrypt] Lunch", 1), "bob@example.org", 250, false},
		{"another message", policy.RepliesRefuse, secret, answer("In-Reply-To: <clear@example.org>\r\n"), "bob@example.org", 250, true},
		{"no reply", policy.RepliesRefuse, secret, note, "bob@example.org", 250, true},
		{"not known", policy.RepliesRefuse, cameFrom{down: true}, direct, "bob@example.org", 451, false},
	} {
		p := proxyOf(t, w, mailtest.Rules(t))
		p.Replies, p.Memory = tc.replies, tc.memory
		before := len(up.Got())
		code, text := attempt(t, serve(t, p, up.Addr), tc.message, tc.to)
		got := up.Got()[before:]
		if code != tc.code || (len(got) == 1) != (code == 250) {
			t.Errorf("%s: %d %s", tc.name, code, text)
			continue
		}
		if code == 250 && strings.Contains(got[0].Data, "noon") != tc.clear {
			t.Errorf("%s:\n%s", tc.name, got[0].Data)
		}
		if code == 550 && !strings.Contains(text, "5.7.5") {
			t.Errorf("%s: %s", tc.name, text)
		}
	}
}

// TestRefusedWhileSending has an upstream that says no before it has read all.
func TestRefusedWhileSending(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	l := mailtest.Listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			br := bufio.NewReader(conn)
			_, _ = io.WriteString(conn, "220 up.test\r\n")
			for _, reply := range []string{"250 up.test\r\n", "250 2.1.0 yes\r\n", "250 2.1.5 yes\r\n", "354 go on\r\n"} {
				if _, err = br.ReadString('\n'); err != nil {
					break
				}
				_, _ = io.WriteString(conn, reply)
			}
			_, _ = io.CopyN(io.Discard, br, 100000)
			_, _ = io.WriteString(conn, "552 5.3.4 enough\r\n")
			time.Sleep(20 * time.Millisecond)
			_ = conn.Close()
		}
	}()
	code, text := attempt(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), l.Addr().String()), note+strings.Repeat("0123456789\r\n", 3e5), "bob@example.org")
	if code != 552 && code != 421 { // the reply may be lost with the connection
		t.Errorf("%d %s", code, text)
	}
}

// TestNonsense has upstreams that do not speak SMTP.
func TestNonsense(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	for name, replies := range map[string][]string{
		"a success where text was to come": {"220 a", "250 a", "250 a", "250 a", "250 2.0.0 taken already"},
		"another code in a reply":          {"220 a", "250-a\r\n350 b"},
		"no code":                          {"220 a", "hello"},
		"a long line":                      {"220 a", "250 " + strings.Repeat("x", 10000)},
		"many lines":                       {"220 a", strings.Repeat("250-x\r\n", 1000) + "250 x"},
		"a greeting that is none":          {"* OK IMAP4rev1"},
		"replies ahead":                    {"220 a", "250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 2.0.0 e"},
	} {
		l := mailtest.Listen(t)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				br := bufio.NewReader(conn)
				for i, reply := range replies {
					if i > 0 {
						if _, err = br.ReadString('\n'); err != nil {
							break
						}
					}
					_, _ = io.WriteString(conn, reply+"\r\n")
				}
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, br)
				_ = conn.Close()
			}
		}()
		p := proxyOf(t, w, mailtest.Rules(t))
		code, text := attempt(t, serve(t, p, l.Addr().String()), note, "bob@example.org")
		if code < 400 {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
}
