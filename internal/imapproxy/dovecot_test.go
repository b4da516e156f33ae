package imapproxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/render"
)

// startDovecot starts one, whose user is alice.
func startDovecot(t testing.TB) string {
	t.Helper()
	return startDovecotWith(t, "")
}

// startDovecotWith starts one with more lines in its configuration.
func startDovecotWith(t testing.TB, more string) string {
	t.Helper()
	host := mailtest.NewHost(t)
	return peers.StartDovecot(t, host.Cert, host.Key, "disable_plaintext_auth = no\n"+more).IMAP
}

// login logs in, and selects a mailbox.
func login(t testing.TB, addr, mailbox string) *client {
	t.Helper()
	c := dial(t, addr)
	c.ok("LOGIN alice secret")
	if mailbox != "" {
		c.ok("SELECT " + mailbox)
	}
	return c
}

// contentItems are all kinds of items that come from a rendering.
var contentItems = []string{
	"RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822", "RFC822.HEADER", "RFC822.TEXT", "BODY[]", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]",
	"BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]", "BODY.PEEK[HEADER.FIELDS.NOT (Subject)]", "BODY.PEEK[]<0.10>", "BODY.PEEK[]<5.100000>", "BODY.PEEK[]<1000000.5>", "BODY.PEEK[TEXT]<3.4>",
	"BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BODY.PEEK[1.1]", "BODY.PEEK[1.2]", "BODY.PEEK[1.2.MIME]", "BODY.PEEK[2]", "BODY.PEEK[2.MIME]", "BODY.PEEK[3]", "BODY.PEEK[3.HEADER]", "BODY.PEEK[3.TEXT]",
	"BODY.PEEK[3.1]", "BODY.PEEK[3.2]", "BODY.PEEK[3.HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[9]", "BINARY.PEEK[1.1]", "BINARY.PEEK[2]", "BINARY.SIZE[2]", "BINARY.PEEK[2]<1.1>",
}

// oddMessages are at the edges of MIME.
var oddMessages = []string{
	"Subject: no line end in the body\r\n\r\nend",
	"Subject: no body\r\n",
	crlf("\nno header\n"),
	crlf("Subject: folded\n value\n with blanks\nX-Empty:\nx-empty: \n\nbody\n"),
	crlf("Subject: no end\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n"),
	crlf("Subject: empty parts\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\nX: y\n\n--b--\n"),
	crlf("Subject: the same delimiter\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b1\n\n--b1\n\nin\n--b1--\n\n--b\n\nout\n--b--\n"),
	crlf("Subject: digest\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\n1\n--b\nContent-Type: text/plain\n\nSubject: two\n\n2\n--b--\n"),
	crlf("Subject: message in a message\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: message/rfc822\n\nSubject: deeper\n\ndeep\n"),
	crlf("From: a@x, b@y\nTo: undisclosed-recipients:;\nCc: (comment) \"q, s\" <q@x> (more), r@z\nSubject: =?utf-8?b?w7w=?= =?utf-8?b?w7w=?=\nDate: yesterday\nMessage-ID: none\n\nx\n"),
	crlf("Subject: parameters\nContent-Type: text/plain; charset=\"utf-8\"; name=a; x=\"q\\\"uote\"\nContent-Disposition: inline; filename*=utf-8''%C3%BC\nContent-Language: de\nContent-MD5: abc\n\nx\n"),
	crlf("Subject: not base64\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\nAAEC\n--b\nContent-Transfer-Encoding: x-own\n\nx\n--b--\n"),
}

// TestDovecotItems has Dovecot itself say what the items of a rendering are: it
// is given what BODY[] was through the proxy, as a message of its own.
func TestDovecotItems(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	proxied := serve(t, &Proxy{Open: func(string) (*render.Options, error) { return w.options(), nil }}, upstream)
	direct := login(t, upstream, "")
	direct.ok("CREATE rendered")
	var messages []string
	for _, m := range []string{noteMessage, mixedMessage, emptyMessage} {
		messages = append(messages, w.encrypt(t, m, w.alice), w.sign(t, m, false), w.sign(t, m, true), w.encrypt(t, w.sign(t, m, false), w.alice), w.encrypt(t, m, w.carol),
			strings.Replace(w.sign(t, m, false), "example", "exemple", 1), "X-Postseal-Status: forged\r\n"+m)
	}
	messages = append(messages, w.mixed(t, 32)...)
	odd := len(messages)
	for _, m := range oddMessages {
		messages = append(messages, w.encrypt(t, m, w.alice))
	}
	for _, m := range messages {
		direct.add("INBOX", m)
	}
	through := login(t, proxied, "INBOX")
	for i := range messages {
		body := literalOf(t, through.one(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1)))
		direct.ok(fmt.Sprintf("APPEND rendered {%d}", len(body)), body+"\r\n")
	}
	direct.ok("SELECT rendered")
	compared := 0
	for i := range messages {
		for _, item := range contentItems {
			got, status := through.do(fmt.Sprintf("FETCH %d %s", i+1, item))
			want, wantStatus := direct.do(fmt.Sprintf("FETCH %d %s", i+1, item))
			strip := func(lines []string) string {
				var out []string
				for _, line := range lines {
					if strings.Contains(line, "FLAGS (") && strings.Contains(line, " FETCH (") {
						line = flagsOut(line)
					}
					if line != "" {
						out = append(out, line)
					}
				}
				return canonical(strings.Join(out, ""))
			}
			compared++
			// Dovecot takes 1.1 for the part 1 of a part that has none, and decodes what
			// is in a message for BINARY; both is its right.
			if strings.HasSuffix(item, "[1.1]") && (i >= odd || strings.Contains(strip(want), "CONTENT-TRANSFER-ENCODING: BINARY")) {
				continue
			}
			// It may say the UID of what it cannot decode.
			if strings.HasPrefix(wantStatus, "NO [UNKNOWN-CTE]") && strings.HasPrefix(status, "NO [UNKNOWN-CTE]") {
				continue
			}
			if strip(got) != strip(want) || status[:2] != wantStatus[:2] {
				t.Errorf("message %d, %s:\n%s %s\nDovecot says of the same octets:\n%s %s", i+1, item, strip(got), status, strip(want), wantStatus)
			}
		}
	}
	if compared < 2000 {
		t.Errorf("only %d items were compared", compared)
	}
	// The verdicts, and what must not be seen.
	for i, want := range []string{"X-Postseal-Encryption: aes-256-gcm", "X-Postseal-Status: signed/verified", "X-Postseal-Status: signed/verified",
		"X-Postseal-Status: encrypted+signed/verified", "X-Postseal-Problem:", "X-Postseal-Status: signed/failed"} {
		if body := literalOf(t, through.one(fmt.Sprintf("FETCH %d BODY.PEEK[]", i+1))); !strings.Contains(body, want) {
			t.Errorf("message %d has no %q:\n%s", i+1, want, body)
		}
	}
	if body := literalOf(t, through.one("FETCH 7 BODY.PEEK[]")); body != noteMessage {
		t.Errorf("forged fields are there:\n%s", body)
	}
}

// canonical writes short literals as quoted strings, what is not there as empty
// (Dovecot gives an empty string for parts that do not exist, where RFC 3501 has
// NIL), and names in capitals.
func canonical(text string) string {
	var out strings.Builder
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		l, ok := literalAt([]byte(line))
		if !ok || l.size > 200 || int64(len(rest)) < l.size {
			out.WriteString(line + "\n")
			text = rest
			continue
		}
		out.WriteString(line[:strings.LastIndexByte(line, '{')])
		out.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(rest[:l.size]) + `"`)
		text = rest[l.size:]
	}
	return strings.NewReplacer("] \"\"", "] NIL", "> \"\"", "> NIL", "] ~\"\"", "] NIL", "> ~\"\"", "> NIL", "] ~\"", "] \"", "> ~\"", "> \"").Replace(strings.ToUpper(out.String()))
}

// flagsOut removes FLAGS from a response that has other items, and a response
// that has nothing else as a whole.
func flagsOut(line string) string {
	before, rest, ok := strings.Cut(line, "FLAGS (")
	if !ok {
		return line
	}
	_, after, _ := strings.Cut(rest, ")")
	line = strings.TrimSuffix(before, " ") + strings.TrimPrefix(after, " ")
	if strings.HasSuffix(strings.TrimRight(line, "\r\n"), "(") || strings.HasSuffix(strings.TrimRight(line, "\r\n"), "()") {
		return ""
	}
	if strings.HasSuffix(before, " ") && after != ")\r\n" {
		line = before + strings.TrimPrefix(after, " ")
	}
	return line
}

// TestDovecotPlain has the same conversation with and without the proxy, about a
// mailbox without S/MIME.
func TestDovecotPlain(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	proxied := serve(t, &Proxy{Open: func(string) (*render.Options, error) { return w.options(), nil }}, upstream)
	direct := login(t, upstream, "")
	for _, mailbox := range []string{"one", "two"} {
		direct.ok("CREATE " + mailbox)
		for i := range 30 {
			m := strings.Replace([]string{noteMessage, mixedMessage, emptyMessage}[i%3], "Subject:", fmt.Sprintf("X-Number: %d\r\nSubject:", i), 1)
			direct.ok(fmt.Sprintf(`APPEND %s "02-Jan-2026 10:00:00 +0000" {%d}`, mailbox, len(m)), m+"\r\n")
		}
	}
	through := login(t, proxied, "one")
	direct.ok("SELECT two")
	for _, command := range []string{
		"FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE BODYSTRUCTURE INTERNALDATE)", "UID FETCH 1:* (BODY.PEEK[])", "FETCH 1:10 ALL", "FETCH 1:10 FAST", "FETCH 1:10 FULL",
		"UID FETCH 5:7 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] FLAGS)", "SEARCH ALL", "UID SEARCH SUBJECT Lunch", "FETCH 2 BODY[]", "STORE 3 +FLAGS (\\Flagged)", "FETCH 1:* FLAGS",
		"STATUS INBOX (MESSAGES UIDNEXT UNSEEN)", "LIST \"\" *", "NOOP", "FETCH 99 BODY[]", "FETCH 1:* (UID) (CHANGEDSINCE 1)", "FETCH nonsense", "FETCH 1 NONSENSE",
		"UID FETCH 1:3 (UID FLAGS BODY.PEEK[HEADER] BODY.PEEK[TEXT]<0.5>)", "UID FETCH 4 BINARY.PEEK[1]",
	} {
		got, status := through.do(command)
		want, wantStatus := direct.do(command)
		cut := func(s string) string { s, _, _ = strings.Cut(s, "("); return strings.TrimSpace(s) } // times
		if !slices.Equal(got, want) || cut(status) != cut(wantStatus) {
			t.Errorf("%s:\n%.500q %s\nwithout the proxy:\n%.500q %s", command, got, status, want, wantStatus)
		}
	}
}
