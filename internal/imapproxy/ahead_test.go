package imapproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/render"
)

// A gate is an identity that something else happens before, once.
type gate struct {
	cms.Identity
	once   sync.Once
	before func()
}

func (g *gate) Unwrap(infos []cms.RecipientInfo, size int) ([]byte, error) {
	g.once.Do(g.before)
	return g.Identity.Unwrap(infos, size)
}

// numbered stores n encrypted messages, and returns the server, and a client of it.
func (w *world) numbered(t *testing.T, n int) (upstream string, direct *client) {
	upstream = startDovecotWith(t, "mail_max_userip_connections = 1000\n")
	direct = login(t, upstream, "")
	for i := range n {
		direct.add("INBOX", w.encrypt(t, strings.Replace(noteMessage, "at noon", fmt.Sprintf("number %d.", i+1), 1), w.alice))
	}
	return upstream, direct
}

// gated is a proxy of Alice, at whose first message something else happens before it
// is opened.
func (w *world) gated(upstream string, wrap func(net.Conn) net.Conn, before func()) *Proxy {
	p := w.proxy()
	p.Connect = func(context.Context) (net.Conn, bool, error) {
		conn, err := net.Dial("tcp", upstream)
		if err == nil && wrap != nil {
			conn = wrap(conn)
		}
		return conn, false, err
	}
	g := &gate{Identity: cms.NewIdentity(w.alice.Cert, w.alice.Key), before: before}
	p.Open = func(string) (*render.Options, error) {
		o := w.options()
		o.Read.Identities = []cms.Identity{g}
		return o, nil
	}
	return p
}

// TestAhead asks for the next messages while the first ones are opened, and for no
// more than these; they are shown in their order.
func TestAhead(t *testing.T) {
	w := newWorld(t)
	const n = 3*atOnce + 5
	upstream, _ := w.numbered(t, n)
	var mu sync.Mutex
	var text strings.Builder
	asked := func() int {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(text.String(), " BODY.PEEK[])")
	}
	p := w.gated(upstream, func(conn net.Conn) net.Conn { return noting{conn, &mu, &text} }, func() {
		for end := time.Now().Add(15 * time.Second); asked() < maxAhead; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Error("nothing more was asked for while a message was opened")
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
		if got := asked(); got != maxAhead {
			t.Errorf("%d batches were asked for before the first was shown", got)
		}
	})
	c := login(t, serve(t, p, upstream), "INBOX")
	lines := c.ok("FETCH 1:* (BODY.PEEK[])")
	for i, line := range lines {
		if !strings.HasPrefix(line, fmt.Sprintf("* %d FETCH ", i+1)) || !strings.Contains(line, fmt.Sprintf("number %d.", i+1)) {
			t.Errorf("answer %d:\n%s", i+1, line)
		}
	}
	if got := asked(); len(lines) != n || got != 4 {
		t.Errorf("%d answers, %d batches", len(lines), got)
	}
}

// TestAheadExpunge has another client remove messages while the first ones are
// opened: each answer is about the message that has this number for the client.
func TestAheadExpunge(t *testing.T) {
	w := newWorld(t)
	const n = 2*atOnce + 20
	upstream, direct := w.numbered(t, n)
	direct.ok("SELECT INBOX")
	gone := []uint32{3, atOnce + 9, 2*atOnce + 2}
	p := w.gated(upstream, nil, func() {
		for _, uid := range gone {
			direct.ok(fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, uid))
		}
		direct.ok("EXPUNGE")
	})
	c := login(t, serve(t, p, upstream), "INBOX")
	var view []uint32 // UIDs by their places
	for i := range uint32(n) {
		view = append(view, i+1)
	}
	seen, expunged := make(map[uint32]bool), 0
	for _, line := range append(c.ok("UID FETCH 1:* (BODY.PEEK[])"), c.ok("NOOP")...) {
		var place int
		var word string
		if _, err := fmt.Sscanf(line, "* %d %s", &place, &word); err != nil || place < 1 || place > len(view) {
			continue // it is about the mailbox
		}
		switch word {
		case "EXPUNGE":
			if !slices.Contains(gone, view[place-1]) {
				t.Errorf("message %d has gone", view[place-1])
			}
			view = slices.Delete(view, place-1, place)
			expunged++
		case "FETCH":
			if !strings.Contains(line, "BODY[]") {
				continue // flags
			}
			var uid uint32
			if _, err := fmt.Sscanf(line, "* %d FETCH (UID %d ", &place, &uid); err != nil || view[place-1] != uid || seen[uid] || !strings.Contains(line, fmt.Sprintf("number %d.", uid)) {
				t.Errorf("of %d, at its place: %s (%v)", view[place-1], line, err)
			}
			seen[uid] = true
		}
	}
	for _, uid := range view {
		if !seen[uid] {
			t.Errorf("message %d was not shown", uid)
		}
	}
	if expunged != len(gone) {
		t.Errorf("%d have gone", expunged)
	}
}

// TestAheadCut ends the connection to the upstream, or to the client, anywhere
// in a FETCH of several batches. What was shown is whole and in its order.
func TestAheadCut(t *testing.T) {
	w := newWorld(t)
	const n = 2*atOnce + 20
	upstream, _ := w.numbered(t, n)
	for _, side := range []string{"upstream", "client"} {
		for _, limit := range []int{20_000, 60_000, 110_000, 160_000} {
			p := w.gated(upstream, func(conn net.Conn) net.Conn {
				if side == "upstream" {
					return &cutting{Conn: conn, left: limit}
				}
				return conn
			}, func() {})
			c := login(t, serve(t, p, upstream), "INBOX")
			if side == "client" {
				c.conn = &cutting{Conn: c.conn, left: limit / 4}
				c.br = bufio.NewReader(c.conn)
			}
			lines, status := c.try("UID FETCH 1:* (BODY.PEEK[])")
			if status != "ERROR" || len(lines) >= n {
				t.Errorf("%s, after %d: %q, %d answers", side, limit, status, len(lines))
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, fmt.Sprintf("* %d FETCH (UID %[1]d BODY[] {", i+1)) || !strings.Contains(line, fmt.Sprintf("number %d.", i+1)) {
					t.Errorf("%s, after %d, answer %d: %s", side, limit, i+1, line)
				}
			}
			_ = c.conn.Close()
		}
	}
}
