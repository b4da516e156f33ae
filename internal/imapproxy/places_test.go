package imapproxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/facts"
)

// TestPlaces has a mailbox change, of which a part is told, and finds nothing but
// what is there.
func TestPlaces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var p places
	var truth []uint32
	next, found := uint32(1), 0
	for range 20000 {
		switch seq := uint32(random.IntN(len(truth)+1)) + 1; random.IntN(6) {
		case 0:
			truth = append(truth, next)
			next += uint32(random.IntN(3)) + 1
			p.setExists(uint32(len(truth)))
		case 1:
			if int(seq) <= len(truth) && len(truth) > 3 {
				truth = slices.Delete(truth, int(seq)-1, int(seq))
				p.expunge(seq)
			}
		case 2:
			p.rest()
		default:
			for ; int(seq) <= len(truth); seq++ {
				p.learn(seq, truth[seq-1])
			}
		}
		low, high := uint32(random.IntN(len(truth)+2)), uint32(random.IntN(len(truth)+2))
		for _, byUID := range []bool{false, true} {
			set := []string{fmt.Sprintf("%d:%d,%d", low, high, low), fmt.Sprintf("%d:*", low), "*", "1:*"}[random.IntN(4)]
			got, ok := p.find(set, byUID)
			if !ok {
				continue
			}
			found++
			var want []uint32
			last := uint32(len(truth))
			if byUID {
				last = truth[len(truth)-1]
			}
			for i, uid := range truth {
				n := uint32(i + 1)
				if byUID {
					n = uid
				}
				if slices.ContainsFunc(strings.Split(set, ","), func(part string) bool {
					from, to, fine := limits(part, last)
					return fine && from <= n && n <= to
				}) {
					want = append(want, uint32(i+1))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s of %v: %v, not %v", set, truth, got, want)
			}
			for _, seq := range got {
				if p.uids[seq-1] != truth[seq-1] {
					t.Fatalf("message %d is %d, not %d", seq, p.uids[seq-1], truth[seq-1])
				}
			}
		}
	}
	if found < 2000 {
		t.Errorf("only %d sets were found", found)
	}
}

// TestPlacesOdd has a server that contradicts itself, or says what cannot be.
func TestPlacesOdd(t *testing.T) {
	var p places
	full := func() {
		p.clear()
		p.setExists(3)
		for i := range uint32(3) {
			p.learn(i+1, 10+i)
		}
		if _, ok := p.find("1:*", true); !ok {
			t.Fatal("not all is known")
		}
	}
	for name, f := range map[string]func(){
		"another UID":       func() { p.learn(2, 99) },
		"fewer":             func() { p.setExists(2) },
		"no such message":   func() { p.expunge(4) },
		"message 0":         func() { p.expunge(0) },
		"UIDs that descend": func() { p.rest(); p.learn(1, 3); p.learn(2, 2); p.learn(3, 1) },
	} {
		full()
		f()
		if got, ok := p.find("1:*", true); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	full()
	for _, set := range []string{"", "0", "$", "x", "1:", ":2", "4", "1,4", "1:4294967295", "-1", "1:*,99999999999"} {
		if got, ok := p.find(set, false); ok {
			t.Errorf("%q: %v", set, got)
		}
	}
	p.setExists(4000000000)
	p.learn(4000000000, 1) // does not take 16 GB
	if len(p.uids) > 3 {
		t.Errorf("%d places", len(p.uids))
	}
	s := &session{asked: time.Now().Add(-2 * freshTime)}
	full()
	s.places = p
	f, _ := parseFetch("a", false, "1:3 (RFC822.SIZE)")
	if s.knownTargets(f) != nil {
		t.Error("an upstream that was silent for long is not asked")
	}
	s.asked = time.Now()
	if got := s.knownTargets(f); len(got) != 3 || got[2].uid != 12 {
		t.Errorf("%v", got)
	}
}

// A noting connection notes what is written to it.
type noting struct {
	net.Conn
	mu   *sync.Mutex
	text *strings.Builder
}

func (n noting) Write(p []byte) (int, error) {
	n.mu.Lock()
	n.text.Write(p)
	n.mu.Unlock()
	return n.Conn.Write(p)
}

// noted serves a proxy, and returns what it has said to the server since it was last
// asked.
func (w *world) noted(t *testing.T, store facts.Store, upstream string) (addr string, said func() string) {
	var mu sync.Mutex
	var text strings.Builder
	p := w.proxy()
	p.Facts = store
	p.Connect = func(context.Context) (net.Conn, bool, error) {
		conn, err := net.Dial("tcp", upstream)
		return noting{conn, &mu, &text}, false, err
	}
	return serve(t, p, upstream), func() string {
		mu.Lock()
		defer mu.Unlock()
		defer text.Reset()
		return text.String()
	}
}

// TestPlainFetch leaves messages without S/MIME to the server at once, and names
// them: one that comes meanwhile may be another kind of message.
func TestPlainFetch(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	other := login(t, upstream, "")
	for range 3 {
		other.add("INBOX", mixedMessage)
	}
	through, said := w.noted(t, facts.NewMemory(), upstream)
	c := login(t, through, "INBOX")
	said()
	for i, tc := range []struct{ command, want string }{
		{"FETCH 1:* (UID RFC822.SIZE)", ""}, // nothing is known
		{"FETCH 1:* (FLAGS RFC822.SIZE)", "t4 FETCH 1:3 (FLAGS RFC822.SIZE)\r\n"},
		{"UID FETCH 2:* BODY.PEEK[]", "t5 UID FETCH 2:3 BODY.PEEK[]\r\n"},
		{"fetch *,1 full", "t6 FETCH 3,1 full\r\n"},
		{"FETCH 1:2 (BODY[HEADER.FIELDS (\"Subject\")])", "t7 FETCH 1:2 (BODY[HEADER.FIELDS (\"Subject\")])\r\n"},
	} {
		if len(c.ok(tc.command)) == 0 {
			t.Errorf("%s has no answer", tc.command)
		}
		if got := said(); i > 0 && got != tc.want || i == 0 && !strings.HasSuffix(got, " FETCH 1:3 (UID RFC822.SIZE)\r\n") {
			t.Errorf("%s: the server was asked %q", tc.command, got)
		}
	}
	other.add("INBOX", w.encrypt(t, mixedMessage, w.alice))
	c.ok("NOOP")
	for range 2 {
		for _, line := range c.ok("FETCH 1:* (RFC822.SIZE BODYSTRUCTURE)") {
			if strings.Contains(strings.ToLower(line), "pkcs7") {
				t.Errorf("it is shown as it is stored: %s", line)
			}
		}
	}
}

// TestKnownFetch answers what is known without the server, and always as one
// answers that has just connected, whatever has happened to the mailbox.
func TestKnownFetch(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	store := facts.NewMemory()
	through, said := w.noted(t, store, upstream)
	p := w.proxy()
	p.Facts = store
	beside := serve(t, p, upstream)
	other := login(t, upstream, "")
	add := func(n int) {
		m := strings.Replace(mixedMessage, "Subject:", "X-Number: "+strings.Repeat("x", n)+"\r\nSubject:", 1)
		if n%4 != 3 {
			m = w.encrypt(t, m, w.alice)
		}
		other.add("INBOX", m)
	}
	for n := range 12 {
		add(n)
	}
	other.ok("SELECT INBOX")
	c := login(t, through, "INBOX")
	same := func(when string) {
		t.Helper()
		for _, command := range []string{"FETCH 1:* (RFC822.SIZE BODYSTRUCTURE)", "UID FETCH 1:* (RFC822.SIZE)", "FETCH 2,5:3 (UID ENVELOPE)", "FETCH * (BODY UID RFC822.SIZE)", "UID FETCH 4:7,9 ENVELOPE",
			"FETCH 1:* (FLAGS RFC822.SIZE)", "UID FETCH 3:* (FLAGS RFC822.SIZE BODYSTRUCTURE)", "FETCH 1:4 FAST"} {
			fresh := login(t, beside, "INBOX")
			got := sorted(c.ok(command))
			if want := sorted(fresh.ok(command)); !slices.Equal(got, want) {
				t.Errorf("%s, %s:\n%s\n---\n%s", when, command, got, want)
			}
			_ = fresh.conn.Close()
		}
	}
	same("at first")
	c.ok("SELECT INBOX")
	c.ok("FETCH 4 (RFC822.SIZE)")
	same("a part is known")
	other.ok(`STORE 2,5 +FLAGS (\Deleted)`)
	other.ok("EXPUNGE")
	c.ok("NOOP")
	same("two have gone")
	add(1)
	add(5)
	c.ok("NOOP")
	same("two have come")
	c.ok(`STORE 1,12 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	same("the client has removed two")
	other.ok("NOOP")
	c.ok("CREATE Empty")
	c.ok("SELECT Empty")
	if untagged, _ := c.do("FETCH 1:* (RFC822.SIZE)"); len(untagged) != 0 {
		t.Errorf("%q", untagged)
	}
	c.ok("SELECT INBOX")
	// Only encrypted ones are left: the server need not be asked.
	for _, line := range other.ok("UID SEARCH NOT HEADER Content-Type pkcs7") {
		if uids := strings.Fields(strings.TrimPrefix(line, "* SEARCH")); len(uids) > 0 {
			other.ok("UID STORE " + strings.Join(uids, ",") + ` +FLAGS (\Deleted)`)
		}
	}
	other.ok("EXPUNGE")
	c.ok("NOOP")
	c.ok("FETCH 1:* (RFC822.SIZE)")
	said()
	for _, command := range []string{"FETCH 1:* (RFC822.SIZE BODYSTRUCTURE)", "UID FETCH 1:* (UID ENVELOPE)", "FETCH 1 BODY"} {
		if len(c.ok(command)) == 0 {
			t.Errorf("%s has no answer", command)
		}
		if asked := said(); asked != "" {
			t.Errorf("%s: the server was asked %q", command, asked)
		}
	}
	c.ok("FETCH 1:* (FLAGS RFC822.SIZE)")
	if asked := said(); strings.Contains(asked, "UID") || !strings.Contains(asked, "(FLAGS)") {
		t.Errorf("the server was asked %q", asked)
	}
}
