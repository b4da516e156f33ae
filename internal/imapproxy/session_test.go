package imapproxy

import (
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/render"
)

type silent struct{}

func (silent) Printf(string, ...any) {}

// startMemory starts an IMAP server in memory, whose user is alice.
func startMemory(t testing.TB) string {
	t.Helper()
	mem := imapmemserver.New()
	user := imapmemserver.NewUser("alice", "secret")
	if err := user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	mem.AddUser(user)
	srv := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
		Caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}}, InsecureAuth: true, Logger: silent{}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

func (w *world) proxy() *Proxy {
	return &Proxy{Open: func(string) (*render.Options, error) { return w.options(), nil }}
}

// TestLogin notes who logs in, whatever the form.
func TestLogin(t *testing.T) {
	w := newWorld(t)
	upstream := startMemory(t)
	logins := make(chan string, 100)
	p := &Proxy{Open: func(account string) (*render.Options, error) {
		logins <- account
		return w.options(), nil
	}}
	addr := serve(t, p, upstream)
	for _, tc := range []struct {
		command  string
		literals []string
		status   string
	}{
		{`LOGIN alice secret`, nil, "OK"},
		{`login "alice" "secret"`, nil, "OK"},
		{`LOGIN {5}`, []string{"alice {6}\r\n", "secret\r\n"}, "OK"},
		{"LOGIN {5+}\r\nalice {6+}\r\nsecret", nil, "OK"},
		{`LOGIN alice wrong`, nil, "NO"},
		{`AUTHENTICATE PLAIN`, []string{"AGFsaWNlAHNlY3JldA==\r\n"}, "OK"},
		{`AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==`, nil, "OK"},
		{`AUTHENTICATE GSSAPI`, nil, "NO"},
		{`LOGIN alice`, nil, "BAD"},
	} {
		c := dial(t, addr)
		_, status := c.do(tc.command, tc.literals...)
		if !strings.HasPrefix(status, tc.status) {
			t.Errorf("%s: %s", tc.command, status)
		}
		if untagged, _ := c.do("LOGOUT"); len(untagged) == 0 || !strings.HasPrefix(untagged[0], "* BYE") {
			t.Errorf("%s: %q", tc.command, untagged)
		}
		want := 0
		if tc.status == "OK" {
			want = 1
		}
		if len(logins) != want || want == 1 && <-logins != "alice" {
			t.Errorf("%s: %d logins", tc.command, len(logins))
		}
	}
}

// TestCapabilities are those that can be kept true, wherever they stand.
func TestCapabilities(t *testing.T) {
	v := view{login: true}
	for line, want := range map[string]string{
		"* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE AUTH=PLAIN AUTH=GSSAPI URLAUTH LOGIN-REFERRALS STARTTLS\r\n": "* CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN\r\n",
		"* OK [CAPABILITY IMAP4rev1 CATENATE UTF8=ACCEPT] hello [CAPABILITY x]\r\n":                                "* OK [CAPABILITY IMAP4rev1] hello [CAPABILITY x]\r\n",
		"a1 OK [CAPABILITY IMAP4rev1 STATUS=SIZE SORT THREAD=REFS] done\r\n":                                       "a1 OK [CAPABILITY IMAP4rev1 SORT THREAD=REFS] done\r\n",
		"* OK still here\r\n":                                                    "* OK still here\r\n",
		"* CAPABILITY AUTH=SCRAM-SHA-256 AUTH=PLAIN\r\n":                         "* CAPABILITY AUTH=SCRAM-SHA-256 AUTH=PLAIN\r\n",
		"* CAPABILITY AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS AUTH=PLAIN\r\n": "* CAPABILITY AUTH=PLAIN\r\n",
	} {
		if got := string(v.filterLine([]byte(line))); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
	stored := view{login: true, asStored: true}
	if got := string(stored.filterLine([]byte("* CAPABILITY IMAP4rev1 CATENATE STATUS=SIZE COMPRESS=DEFLATE X-NEW\r\n"))); got != "* CAPABILITY IMAP4rev1 CATENATE STATUS=SIZE\r\n" {
		t.Errorf("mail as it is stored: %q", got)
	}
	if got := (view{startTLS: true}).filter([]string{"IMAP4rev1", "AUTH=PLAIN"}); !slices.Equal(got, []string{"IMAP4rev1", "STARTTLS", "LOGINDISABLED"}) {
		t.Errorf("in the clear: %q", got)
	}
}

// TestStartTLS protects the connection; nothing but that is possible before.
func TestStartTLS(t *testing.T) {
	w := newWorld(t)
	host := mailtest.NewHost(t)
	server, config := host.Server, host.Client
	p := w.proxy()
	p.TLS, p.RequireTLS = server, true
	addr := serve(t, p, startMemory(t))
	c := dial(t, addr)
	if _, status := c.do("LOGIN alice secret"); !strings.HasPrefix(status, "NO [PRIVACYREQUIRED]") {
		t.Error(status)
	}
	if untagged := c.ok("CAPABILITY"); untagged[0] != "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n" {
		t.Errorf("%q", untagged)
	}
	c.ok("STARTTLS")
	conn := cryptotls.Client(c.conn, config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.conn = conn
	c.br.Reset(conn)
	if untagged := c.ok("CAPABILITY"); strings.Contains(untagged[0], "STARTTLS") || strings.Contains(untagged[0], "LOGINDISABLED") {
		t.Errorf("%q", untagged)
	}
	c.ok("LOGIN alice secret")
	if _, status := c.do("STARTTLS"); !strings.HasPrefix(status, "BAD") {
		t.Error(status)
	}
	// What comes along with STARTTLS is not taken for a part of what follows.
	for _, extra := range []string{"a2 LOGIN alice secret\r\n", "x"} {
		c = dial(t, addr)
		c.send("a1 STARTTLS\r\n" + extra)
		if rest, err := io.ReadAll(c.br); strings.Contains(string(rest), "OK") || err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(string(rest), "BYE") {
			t.Errorf("%q: %q, %v", extra, rest, err)
		}
	}
	// A handshake that fails ends the connection.
	c = dial(t, addr)
	c.ok("STARTTLS")
	c.send("a2 LOGIN alice secret\r\n")
	if rest, _ := io.ReadAll(c.br); strings.Contains(string(rest), "a2") {
		t.Errorf("after the handshake failed: %q", rest)
	}
}

// TestSeen sets \Seen as the server would.
func TestSeen(t *testing.T) {
	w := newWorld(t)
	addr := serve(t, w.proxy(), startDovecot(t))
	c := login(t, addr, "")
	for range 4 {
		c.add("INBOX", w.encrypt(t, noteMessage, w.alice))
	}
	c.ok("SELECT INBOX")
	c.ok("FETCH 1 BODY.PEEK[]")
	c.ok("FETCH 2 BODY[TEXT]")
	c.ok("UID FETCH 3 RFC822")
	c.ok("FETCH 4 (RFC822.HEADER ENVELOPE RFC822.SIZE)")
	for i, want := range []bool{false, true, true, false} {
		if got := strings.Contains(c.one(fmt.Sprintf("FETCH %d FLAGS", i+1)), `\Seen`); got != want {
			t.Errorf("message %d is seen: %v", i+1, got)
		}
	}
	c.ok("EXAMINE INBOX")
	c.ok("FETCH 1 BODY[]")
	if strings.Contains(c.one("FETCH 1 FLAGS"), `\Seen`) {
		t.Error("a mailbox that is examined was changed")
	}
}

// TestRemembered shows a message as it was first, whatever keys and trust have
// become since, on another connection too.
func TestRemembered(t *testing.T) {
	w := newWorld(t)
	remembered := facts.NewMemory()
	options := w.options()
	p := &Proxy{Open: func(string) (*render.Options, error) { return options, nil }, Facts: remembered}
	addr := serve(t, p, startDovecot(t))
	c := login(t, addr, "")
	c.add("INBOX", w.encrypt(t, noteMessage, w.carol)) // nobody here has the key
	c.add("INBOX", w.sign(t, noteMessage, false))
	c.add("INBOX", w.encrypt(t, noteMessage, w.alice))
	c.ok("SELECT INBOX")
	var before []string
	for i := range 3 {
		before = append(before, literalOf(t, c.one(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1))))
	}
	// Now the key is there, and nobody is trusted any more.
	later := *options
	later.Read.Identities = append(later.Read.Identities, cms.NewIdentity(w.carol.Cert, w.carol.Key))
	later.Read.Trust = cms.TrustRoots()
	options = &later
	c = login(t, addr, "INBOX")
	for i := range 3 {
		if got := literalOf(t, c.one(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1))); got != before[i] {
			t.Errorf("message %d has changed:\n%s\n---\n%s", i+1, before[i], got)
		}
		if size := c.one(fmt.Sprintf("FETCH %d RFC822.SIZE", i+1)); !strings.Contains(size, fmt.Sprintf("RFC822.SIZE %d)", len(before[i]))) {
			t.Errorf("message %d: %s, and it has %d octets", i+1, size, len(before[i]))
		}
	}
	// Without its key a message that was opened is not shown as something else.
	later.Read.Identities = nil
	c = login(t, addr, "INBOX")
	if untagged, status := c.do("FETCH 3 BODY.PEEK[]"); !strings.HasPrefix(status, "NO") || len(untagged) != 0 {
		t.Errorf("%s %q", status, untagged)
	}
	if untagged, status := c.do("FETCH 2:3 (UID BODY.PEEK[])"); !strings.HasPrefix(status, "NO") || len(untagged) != 1 {
		t.Errorf("%s %q", status, untagged)
	}
}

// TestTwoClients has one remove messages while another fetches.
func TestTwoClients(t *testing.T) {
	w := newWorld(t)
	addr := serve(t, w.proxy(), startDovecot(t))
	a := login(t, addr, "")
	const messages = 20
	for i := range messages {
		m := strings.Replace(noteMessage, "at noon", fmt.Sprintf("number %d.", i), 1)
		if i%2 == 0 {
			m = w.encrypt(t, m, w.alice)
		}
		a.add("INBOX", m)
	}
	a.ok("SELECT INBOX")
	b := login(t, addr, "INBOX")
	b.ok(`STORE 1,4,5 +FLAGS (\Deleted)`)
	b.ok("EXPUNGE")
	// Everything that is said of a message has to be of the one of its UID.
	seen := 0
	for _, line := range a.ok("UID FETCH 1:* (BODY.PEEK[TEXT])") {
		var seq, uid int
		if n, _ := fmt.Sscanf(line, "* %d FETCH (UID %d", &seq, &uid); n != 2 {
			continue
		}
		seen++
		if !strings.Contains(line, fmt.Sprintf("number %d.", uid-1)) {
			t.Errorf("UID %d: %s", uid, line)
		}
	}
	if seen != messages-3 && seen != messages {
		t.Errorf("%d messages were seen", seen)
	}
	a.ok("NOOP")
	for i, uid := range []int{2, 3, 6, 7} {
		line := a.one(fmt.Sprintf("FETCH %d (UID BODY.PEEK[TEXT])", i+1))
		if !strings.Contains(line, fmt.Sprintf("UID %d", uid)) || !strings.Contains(line, fmt.Sprintf("number %d.", uid-1)) {
			t.Errorf("message %d: %s", i+1, line)
		}
	}
	if line := a.one("UID FETCH 7 (RFC822.SIZE ENVELOPE) (CHANGEDSINCE 1)"); !strings.HasPrefix(line, "* 4 FETCH (") {
		t.Error(line)
	}
}

// TestIdle passes IDLE on, and what happens meanwhile.
func TestIdle(t *testing.T) {
	w := newWorld(t)
	addr := serve(t, w.proxy(), startDovecot(t))
	a := login(t, addr, "INBOX")
	a.send("i1 IDLE\r\n")
	if line := a.response(); !strings.HasPrefix(line, "+") {
		t.Fatal(line)
	}
	b := login(t, addr, "")
	b.add("INBOX", w.encrypt(t, noteMessage, w.alice))
	if line := a.response(); line != "* 1 EXISTS\r\n" {
		t.Errorf("%q", line)
	}
	a.send("DONE\r\n")
	for !strings.HasPrefix(a.response(), "i1 OK") {
		continue
	}
	if body := literalOf(t, a.one("FETCH 1 BODY.PEEK[TEXT]")); !strings.Contains(body, "at noon") {
		t.Error(body)
	}
	// Commands that come at once are carried out one after the other.
	a.send("p1 NOOP\r\np2 FETCH 1 (RFC822.SIZE)\r\np3 UID FETCH 1 (BODY.PEEK[]<0.4>)\r\np4 NOOP\r\n")
	var order []string
	for len(order) < 4 {
		if line := a.response(); line[0] == 'p' {
			order = append(order, line[:2])
		}
	}
	if !slices.Equal(order, []string{"p1", "p2", "p3", "p4"}) {
		t.Errorf("%q", order)
	}
}

// scripted is an upstream that says what it is told to, after the command of
// that number.
func scripted(t *testing.T, answers ...string) string {
	t.Helper()
	return mailtest.Answer(mailtest.Listen(t), func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 4096)
		for i, answer := range answers {
			if i > 0 {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
		time.Sleep(50 * time.Millisecond) // for what was said to be read
	})
}

// TestHostileServers have upstreams that lie. Nothing hangs, and nothing that is
// not IMAP is passed on as such.
func TestHostileServers(t *testing.T) {
	w := newWorld(t)
	ok, selected := "t1 OK in\r\n", "* OK [UIDVALIDITY 1] v\r\nt2 OK [READ-WRITE] selected\r\n"
	fetch := func(item string) string { return "* 1 FETCH (UID 1 " + item + ")\r\nPS2 OK done\r\n" }
	for name, answers := range map[string][]string{
		"preauth":                {"* PREAUTH hello\r\n"},
		"no IMAP":                {"220 hello\r\n"},
		"endless line":           {"* OK hi\r\n", ok, "* " + strings.Repeat("x", maxResponseLine+2*wireBuffer)},
		"a completion too many":  {"* OK hi\r\n", ok, "t2 OK a\r\nt2 OK b\r\n"},
		"a completion not asked": {"* OK hi\r\n", ok, "zz OK a\r\n"},
		"continuations":          {"* OK hi\r\n", ok, "+ a\r\n+ b\r\n+ c\r\n"},
		"a literal cut off":      {"* OK hi\r\n", ok, selected, "* 1 FETCH (UID 1)\r\nPS1 OK\r\n", "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] {99999999999}\r\nabc"},
		"deep":                   {"* OK hi\r\n", ok, selected, "* 1 FETCH (UID 1 X " + strings.Repeat("(", 100000) + "\r\nPS1 OK\r\n"},
		"a lying UID":            {"* OK hi\r\n", ok, selected, "* 1 FETCH (UID 1)\r\nPS1 OK\r\n", fetch("BODY[HEADER.FIELDS (X)] \"Content-Type: application/pkcs7-mime\""), "* 1 FETCH (UID 2 FLAGS () INTERNALDATE \"x\" BODY[] \"a\")\r\nPS3 OK\r\n"},
	} {
		addr := serve(t, w.proxy(), scripted(t, answers...))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(8 * time.Second))
		c := &client{t: t, conn: conn}
		_, _ = io.WriteString(conn, "t1 LOGIN alice secret\r\nt2 SELECT INBOX\r\nt3 FETCH 1 BODY[]\r\nt4 LOGOUT\r\n")
		rest, err := io.ReadAll(conn)
		if ne, isNet := errors.AsType[net.Error](err); isNet && ne.Timeout() {
			t.Errorf("%s: the connection hangs after %.200q", name, rest)
		}
		_ = c.conn.Close()
	}
}

// TestHostileClients say what is not IMAP.
func TestHostileClients(t *testing.T) {
	w := newWorld(t)
	addr := serve(t, w.proxy(), startMemory(t))
	for name, text := range map[string]string{
		"endless line":     strings.Repeat("x", maxCommandLine*2),
		"no tag":           "\r\n* X\r\n+ y\r\n",
		"endless literals": "a LOGIN " + strings.Repeat("{60000+}\r\n"+strings.Repeat("x", 60000), 3),
		"huge literal":     "a LOGIN {999999999999999999+}\r\n",
		"cut off":          "a LOGIN {10}\r\nabc",
		"octets":           "\x00\xff\x16\x03\x01\r\n",
	} {
		c := dial(t, addr)
		c.send(text)
		_ = c.conn.(*net.TCPConn).CloseWrite()
		_ = c.conn.SetReadDeadline(time.Now().Add(8 * time.Second))
		if _, err := io.ReadAll(c.br); err != nil {
			if ne, isNet := errors.AsType[net.Error](err); isNet && ne.Timeout() {
				t.Errorf("%s: the connection hangs", name)
			}
		}
	}
}
