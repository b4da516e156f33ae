package imapproxy

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/render"
)

// TestUndecrypted gives mail as it is stored to who asks for it by the name, by
// every mechanism that lets the name be changed.
func TestUndecrypted(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecotWith(t, "auth_mechanisms = plain login cram-md5\n")
	p := w.proxy()
	p.Undecrypted = "+raw"
	p.Append = func(string, string, string) *Keeping {
		return &Keeping{Encrypt: true, Self: "alice@example.org", Keys: &aliceKeys{w: w}}
	}
	addr := serve(t, p, upstream)
	direct := login(t, upstream, "")
	message := w.encrypt(t, noteMessage, w.alice)
	direct.add("INBOX", message)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		command  string
		literals []string
		raw      bool
	}{
		{`LOGIN alice secret`, nil, false},
		{`LOGIN alice+raw secret`, nil, true},
		{`LOGIN {9}`, []string{"alice+raw {6}\r\n", "secret\r\n"}, true},
		{`AUTHENTICATE PLAIN ` + encode("\x00alice+raw\x00secret"), nil, true},
		{`AUTHENTICATE PLAIN`, []string{encode("\x00alice+raw\x00secret") + "\r\n"}, true},
		{`AUTHENTICATE PLAIN`, []string{encode("\x00alice\x00secret") + "\r\n"}, false},
		{`AUTHENTICATE LOGIN`, []string{encode("alice+raw") + "\r\n", encode("secret") + "\r\n"}, true},
	} {
		c := dial(t, addr)
		c.ok(tc.command, tc.literals...)
		c.ok("SELECT INBOX")
		body := literalOf(t, c.one("FETCH 1 BODY.PEEK[]"))
		if tc.raw != (body == message) || tc.raw == strings.Contains(body, "at noon") {
			t.Errorf("%s %q: raw %v:\n%s", tc.command, tc.literals, tc.raw, body)
		}
		c.ok(fmt.Sprintf("APPEND INBOX {%d}", len(sentMessage)), sentMessage+"\r\n")
		direct.ok("SELECT INBOX")
		if stored := literalOf(t, direct.one("FETCH * BODY.PEEK[]")); tc.raw != (stored == sentMessage) {
			t.Errorf("%s: raw %v: it is stored as\n%s", tc.command, tc.raw, stored)
		}
		// RFC 3501, Section 6.1.1: what it can is what it may see.
		if has := strings.Contains(c.ok("CAPABILITY")[0], " CATENATE "); has != tc.raw {
			t.Errorf("%s: CATENATE is there: %v", tc.command, has)
		}
	}
	addr = serve(t, &Proxy{Undecrypted: "+raw"}, startMemory(t)) // which does not wait after a wrong password
	for _, command := range []string{"LOGIN alice+raw wrong", "LOGIN +raw secret", "LOGIN alice+RAW secret"} {
		if _, status := dial(t, addr).do(command); !strings.HasPrefix(status, "NO") {
			t.Errorf("%s: %s", command, status)
		}
	}
}

// TestLockedKeys refuses a login whose keys cannot be used: mail is not shown as it
// is stored to a client that would keep that.
func TestLockedKeys(t *testing.T) {
	p := &Proxy{Open: func(string) (*render.Options, error) { return nil, errLocked }}
	addr := serve(t, p, startMemory(t))
	c := dial(t, addr)
	untagged, status := c.do("LOGIN alice secret")
	if !strings.HasPrefix(status, "NO [UNAVAILABLE]") || len(untagged) != 0 {
		t.Errorf("%q %s", untagged, status)
	}
	if line := c.response(); !strings.HasPrefix(line, "* BYE") {
		t.Error(line)
	}
	p = &Proxy{Open: func(string) (*render.Options, error) { return nil, nil }}
	dial(t, serve(t, p, startMemory(t))).ok("LOGIN alice secret")
}

// TestCompletionOfLogin tells what an account can from the first moment.
func TestCompletionOfLogin(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	for opens, addr := range map[bool]string{true: serve(t, w.proxy(), upstream), false: serve(t, &Proxy{}, upstream)} {
		_, status := dial(t, addr).do("LOGIN alice secret")
		if !strings.HasPrefix(status, "OK [CAPABILITY IMAP4rev1 ") || strings.Contains(status, " STATUS=SIZE ") == opens || strings.Contains(status, "COMPRESS") ||
			!strings.Contains(status, " QRESYNC ") || !strings.Contains(status, " NOTIFY") {
			t.Errorf("opens %v: %s", opens, status)
		}
	}
}

// TestExtensions has what passes, and what does not where messages are opened.
func TestExtensions(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	c := login(t, serve(t, w.proxy(), upstream), "")
	c.add("INBOX", w.encrypt(t, mixedMessage, w.alice))
	c.add("INBOX", noteMessage)
	c.ok("CREATE other")
	for _, tc := range []struct{ command, status, untagged string }{
		{"ENABLE CONDSTORE", "OK", "* ENABLED CONDSTORE\r\n"},
		{"ENABLE QRESYNC UTF8=ACCEPT", "OK", "* ENABLED QRESYNC\r\n"},
		{"ENABLE UTF8=ACCEPT X-OTHER", "OK", "* ENABLED\r\n"},
		{"COMPRESS DEFLATE", "BAD", ""},
		{"UNAUTHENTICATE", "BAD", ""},
		{"URLFETCH {3+}\r\nabc", "BAD", ""},
		{"UID REPLACE 1 INBOX {3+}\r\nabc", "BAD", ""},
		{"NOTIFY SET (SELECTED (MessageNew (UID BODY.PEEK[]) MessageExpunge))", "NO [CANNOT]", ""},
		{"NOTIFY SET (SELECTED (MessageNew (UID RFC822.SIZE) MessageExpunge))", "NO [CANNOT]", ""},
		{"NOTIFY SET STATUS (MAILBOXES other (MessageNew MessageExpunge))", "OK", "* STATUS other (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "},
		{"NOTIFY NONE", "OK", ""},
		{"ID (\"name\" \"test\")", "OK", "* ID ("},
		{"NAMESPACE", "OK", "* NAMESPACE ("},
		{"SELECT INBOX", "OK", ""},
		{"FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", "OK", "* 2 FETCH ("},
		{"SORT (SUBJECT) UTF-8 ALL", "OK", "* SORT "},
		{"THREAD REFERENCES UTF-8 ALL", "OK", "* THREAD "},
		{"UID SEARCH RETURN (ALL COUNT) ALL", "OK", "* ESEARCH (TAG "},
		{"SEARCH RETURN (SAVE) ALL", "OK", ""},
		{"FETCH $ (UID RFC822.SIZE)", "OK", "* 1 FETCH (UID 1 RFC822.SIZE "},
		{"UID MOVE 2 other", "OK", "* OK [COPYUID "},
		{"UNSELECT", "OK", ""},
		{"LIST (SPECIAL-USE) \"\" * RETURN (STATUS (MESSAGES))", "OK", ""},
	} {
		untagged, status := c.do(tc.command)
		if !strings.HasPrefix(status, tc.status) || tc.untagged != "" && !slices.ContainsFunc(untagged, func(line string) bool { return strings.HasPrefix(line, tc.untagged) }) {
			t.Errorf("%s: %s %q", tc.command, status, untagged)
		}
	}
}

// TestQuickResync has QRESYNC and VANISHED through the proxy: what is told of
// messages that have gone is true for those that are opened, too.
func TestQuickResync(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	addr := serve(t, w.proxy(), upstream)
	a := login(t, addr, "")
	for i := range 6 {
		m := noteMessage
		if i%2 == 0 {
			m = w.encrypt(t, noteMessage, w.alice)
		}
		a.add("INBOX", m)
	}
	a.ok("ENABLE QRESYNC")
	var validity, modseq uint64
	for _, line := range a.ok("SELECT INBOX") {
		_, _ = fmt.Sscanf(line, "* OK [UIDVALIDITY %d]", &validity)
		_, _ = fmt.Sscanf(line, "* OK [HIGHESTMODSEQ %d]", &modseq)
	}
	b := login(t, upstream, "INBOX")
	b.ok(`STORE 1,2 +FLAGS (\Deleted)`)
	b.ok("EXPUNGE")
	b.ok(`STORE 1 +FLAGS (\Flagged)`) // UID 3
	lines := a.ok(fmt.Sprintf("UID FETCH 1:* (FLAGS RFC822.SIZE) (CHANGEDSINCE %d VANISHED)", modseq))
	var vanished, changed bool
	for _, line := range lines {
		vanished = vanished || strings.HasPrefix(line, "* VANISHED 1:2")
		changed = changed || strings.Contains(line, "UID 3 ") && strings.Contains(line, `\Flagged`) && strings.Contains(line, "MODSEQ (") && strings.Contains(line, "RFC822.SIZE ")
		if strings.Contains(line, "UID 4 ") || strings.Contains(line, "UID 5 ") {
			t.Errorf("nothing has changed of %q", line)
		}
	}
	if !vanished || !changed {
		t.Errorf("%q", lines)
	}
	a.ok("NOOP")
	// The numbers are true afterwards.
	for seq, uid := range map[int]int{1: 3, 2: 4, 3: 5, 4: 6} {
		if line := a.one(fmt.Sprintf("FETCH %d (UID BODY.PEEK[TEXT])", seq)); !strings.Contains(line, fmt.Sprintf("UID %d ", uid)) || !strings.Contains(line, "at noon") {
			t.Errorf("message %d: %s", seq, line)
		}
	}
	c := dial(t, addr)
	c.ok("LOGIN alice secret")
	c.ok("ENABLE QRESYNC")
	lines = c.ok(fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d 1:6))", validity, modseq))
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "* VANISHED (EARLIER) 1:2") }) {
		t.Errorf("%q", lines)
	}
	if line := c.one("UID FETCH 5 (BODY.PEEK[TEXT])"); !strings.HasPrefix(line, "* 3 FETCH (") || !strings.Contains(line, "at noon") {
		t.Error(line)
	}
}

// TestPreview is that of what was opened (RFC 8970).
func TestPreview(t *testing.T) {
	w := newWorld(t)
	c := login(t, serve(t, w.proxy(), startDovecot(t)), "")
	page := crlf("From: bob@example.org\nSubject: page\nMIME-Version: 1.0\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n" +
		"<html><head><title>no</title><style>p { color: red }</style></head><body><p>One =E9t=E9</p><p>two &amp; three" + strings.Repeat(" word", 100) + "</p></body></html>\n")
	for _, m := range []string{noteMessage, mixedMessage, page, emptyMessage} {
		c.add("INBOX", w.encrypt(t, m, w.alice))
	}
	c.ok("SELECT INBOX")
	for i, want := range []string{"PREVIEW \"at noon . end\")", "PREVIEW {7}\r\nnaïve", "PREVIEW {202}\r\nOne été two & three word word", "PREVIEW \"\")"} {
		for _, item := range []string{"PREVIEW", "(PREVIEW (LAZY))"} {
			line := c.one(fmt.Sprintf("FETCH %d %s", i+1, item))
			if want = strings.Replace(want, "{7}\r\nnaïve", "{6}\r\nnaïve", 1); !strings.Contains(line, want) {
				t.Errorf("%d: %q, want %q", i+1, line, want)
			}
		}
	}
}
