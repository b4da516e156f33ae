package imapproxy

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
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/render"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cutting connection ends when so many octets were read of it.
type cutting struct {
	net.Conn
	mu   sync.Mutex
	left int
}

var errCut = errors.New("cut")

func (c *cutting) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		_ = c.Conn.Close()
		return 0, errCut
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// talk is a conversation with every kind of command that is not only passed on. It
// returns whether the message was stored, as far as the client was told.
func talk(c *client, mailbox, message string) (stored bool) {
	step := func(command string, literals ...string) bool {
		untagged, status := c.try(command, literals...)
		for _, line := range untagged {
			if l, ok := literalAt([]byte(strings.SplitN(line, "\n", 2)[0] + "\n")); ok && int64(len(line)) < l.size {
				c.t.Errorf("%s: half a literal counts as a response", command)
			}
		}
		return strings.HasPrefix(status, "OK")
	}
	if !step("LOGIN alice secret") || !step("SELECT INBOX") || !step("FETCH 1:* (RFC822.SIZE BODYSTRUCTURE)") || !step("UID FETCH 1:* (FLAGS BODY[])") {
		return false
	}
	stored = step(fmt.Sprintf("APPEND %s {%d}", mailbox, len(message)), message+"\r\n")
	step("LOGOUT")
	return stored
}

// try is do for connections that may end.
func (c *client) try(command string, literals ...string) (untagged []string, status string) {
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	if _, err := io.WriteString(c.conn, tag+" "+command+"\r\n"); err != nil {
		return nil, "ERROR"
	}
	for {
		line := c.response()
		switch {
		case strings.HasSuffix(line, "EOF") || strings.Contains(line, "ERROR "):
			if strings.Contains(line, "timeout") {
				c.t.Errorf("%s hangs", command)
			}
			return untagged, "ERROR"
		case strings.HasPrefix(line, "+") && len(literals) > 0:
			if _, err := io.WriteString(c.conn, literals[0]); err != nil {
				return untagged, "ERROR"
			}
			literals = literals[1:]
		case strings.HasPrefix(line, tag+" "):
			return untagged, strings.TrimPrefix(line, tag+" ")
		default:
			untagged = append(untagged, line)
		}
	}
}

// TestCut ends the connection to the upstream, or to the client, after any number
// of octets. Nothing hangs, nothing that was cut off counts, and what the client
// was told is stored is there, once.
func TestCut(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecotWith(t, "mail_max_userip_connections = 1000\n")
	direct := login(t, upstream, "")
	direct.ok("CREATE stored")
	for _, m := range w.mixed(t, 8) {
		direct.add("INBOX", m)
	}
	p := w.proxy()
	p.Append = func(string, string, string) *Keeping {
		return &Keeping{Encrypt: true, Self: "alice@example.org", Keys: &aliceKeys{w: w}}
	}
	var upstreamLimit atomic.Int64 // 0: none
	p.Connect = func(context.Context) (net.Conn, bool, error) {
		conn, err := net.Dial("tcp", upstream)
		if limit := upstreamLimit.Load(); err == nil && limit > 0 {
			conn = &cutting{Conn: conn, left: int(limit)}
		}
		return conn, false, err
	}
	addr := serve(t, p, "")
	var whole int
	{ // how much there is to cut
		c := &client{t: t, conn: nil}
		counter := &counting{Conn: dial(t, addr).conn}
		c.conn = counter
		c.br = bufio.NewReader(counter)
		talk(c, "stored", sentMessage)
		whole = counter.n
	}
	stored, n := map[string]bool{}, 0
	for _, side := range []string{"upstream", "client"} {
		points := 24
		if testing.Short() {
			points = 10
		}
		for i := range points {
			limit := 30 + i*whole/points + i%7
			upstreamLimit.Store(0)
			if side == "upstream" {
				upstreamLimit.Store(int64(limit))
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if side == "client" {
				conn = &cutting{Conn: conn, left: limit}
			}
			c := &client{t: t, conn: conn, br: bufio.NewReader(conn)}
			if strings.HasPrefix(c.response(), "* OK") {
				n++
				mark := fmt.Sprintf("mark-%d-%s", i, side)
				if told := talk(c, "stored", strings.Replace(sentMessage, "s@example.org", mark, 1)); told {
					stored[mark] = true
				}
			}
			_ = conn.Close()
		}
	}
	if n < len(stored)+10 {
		t.Errorf("only %d conversations began", n)
	}
	time.Sleep(100 * time.Millisecond) // for what is on its way
	direct.ok("SELECT stored")
	lines := strings.Join(direct.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"), "")
	for _, side := range []string{"upstream", "client"} {
		for i := range 24 {
			mark := fmt.Sprintf("mark-%d-%s", i, side)
			if got := strings.Count(lines, "<"+mark+">"); got > 1 || stored[mark] && got != 1 {
				t.Errorf("%s is there %d times, and the client was told %v", mark, got, stored[mark])
			}
		}
	}
}

type counting struct {
	net.Conn
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}

// TestFlood has an upstream that says much, and a client that reads nothing of it
// for a while: memory does not grow with it, and others are served.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	flood := strings.Repeat("* 23 EXISTS\r\n", 10_000)
	deep := "* 1 FETCH (BODYSTRUCTURE " + strings.Repeat("(", 50_000) + strings.Repeat(")", 50_000) + ")\r\n"
	addr := serve(t, w.proxy(), scripted(t, "* OK hi\r\n", flood+"t1 OK in\r\n", deep+"t2 OK done\r\n", "* BYE\r\nt3 OK bye\r\n"))
	slow := dial(t, addr)
	slow.send("t1 LOGIN alice secret\r\n")
	c := dial(t, addr)
	if lines := c.ok("LOGIN alice secret"); len(lines) != 10_000 {
		t.Errorf("%d responses", len(lines))
	}
	if lines := c.ok("NOOP"); len(lines) != 1 || lines[0] != deep {
		t.Errorf("%d responses", len(lines))
	}
	c.ok("LOGOUT")
	n := 0
	for !strings.HasPrefix(slow.response(), "t1 OK") {
		n++
	}
	if n != 10_000 {
		t.Errorf("%d responses", n)
	}
	// One that sends octet by octet.
	drip := dial(t, addr)
	for _, b := range []byte("t1 LOGIN {5}\r\n") {
		drip.send(string(b))
		time.Sleep(time.Millisecond)
	}
	if line := drip.response(); !strings.HasPrefix(line, "+") {
		t.Error(line)
	}
}

// TestManyConnections has many of one account, which all fetch at once.
func TestManyConnections(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecotWith(t, "mail_max_userip_connections = 1000\n")
	direct := login(t, upstream, "")
	for _, m := range w.mixed(t, 16) {
		direct.add("INBOX", m)
	}
	addr := serve(t, w.proxy(), upstream)
	var mu sync.Mutex
	var first []string
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			c := login(t, addr, "INBOX")
			got := sorted(slices.DeleteFunc(c.ok("UID FETCH 1:* (RFC822.SIZE BODYSTRUCTURE BODY.PEEK[])"), func(l string) bool { return !strings.Contains(l, "BODY[]") }))
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = got
			} else if !slices.Equal(first, got) {
				t.Error("two connections see something else")
			}
		})
	}
	wg.Wait()
	if len(first) != 16 {
		t.Errorf("%d messages", len(first))
	}
}

// TestTooBig shows what is too big to be opened as it is stored, and not at all
// where that would show a verdict that is not ours.
func TestTooBig(t *testing.T) {
	w := newWorld(t)
	options := w.options()
	options.Read.MaxContent = 3000
	p := &Proxy{Open: func(string) (*render.Options, error) { return options, nil }}
	c := login(t, serve(t, p, startDovecot(t)), "")
	big := w.encrypt(t, noteMessage+strings.Repeat("line\r\n", 1000), w.alice)
	for _, m := range []string{big, "X-Postseal-Status: signed/verified\r\n" + big, w.encrypt(t, noteMessage, w.alice)} {
		c.add("INBOX", m)
	}
	c.ok("SELECT INBOX")
	for range 2 {
		if body := literalOf(t, c.one("FETCH 1 (BODY.PEEK[])")); body != big {
			t.Errorf("it is shown as\n%.500s", body)
		}
		if untagged, status := c.do("FETCH 1:3 (RFC822.SIZE BODY.PEEK[HEADER])"); !strings.HasPrefix(status, "NO [LIMIT]") || len(untagged) != 2 || strings.Contains(strings.Join(untagged, ""), "signed/verified") {
			t.Errorf("%s %q", status, untagged)
		}
		if body := literalOf(t, c.one("FETCH 3 (BODY.PEEK[TEXT])")); !strings.Contains(body, "at noon") {
			t.Error(body)
		}
	}
}
