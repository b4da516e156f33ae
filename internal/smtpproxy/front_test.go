package smtpproxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/mailtest"
)

// filtered returns what a textFilter makes of octets that come in pieces, and what
// follows the text; ended tells whether it has ended.
func filtered(text string, piece int) (out, rest string, ended bool) {
	var f textFilter
	for len(text) > 0 && !ended {
		n := min(piece, len(text))
		var o, r []byte
		o, r, ended = f.filter([]byte(text[:n]))
		out, text = out+string(o), text[n:]
		rest = string(r) + text
	}
	return out, rest, ended
}

// TestText: the end of a text is CRLF.CRLF and nothing else, and what does not
// belong there is made harmless.
func TestText(t *testing.T) {
	for text, want := range map[string]string{
		".\r\n":                           ".\r\n|",
		"a\r\n.\r\nNOOP\r\n":              "a\r\n.\r\n|NOOP\r\n",
		"..\r\n...\r\n.a\r\n.\r\n":        "..\r\n...\r\na\r\n.\r\n|",
		"a\n.\nMAIL\r\n.\r\n":             "a\r\n..\r\nMAIL\r\n.\r\n|",
		"a\n.\r\nMAIL\r\n.\r\n":           "a\r\n..\r\nMAIL\r\n.\r\n|",
		"a\r\n.\nMAIL\r\n.\r\n":           "a\r\n\r\nMAIL\r\n.\r\n|",
		"a\r.\rMAIL\r\n.\r\n":             "a\r\n..\r\nMAIL\r\n.\r\n|",
		"a\r\n.\rMAIL\r\n.\r\n":           "a\r\n\r\nMAIL\r\n.\r\n|",
		"a\r.\r\nMAIL\r\n.\r\n":           "a\r\n..\r\nMAIL\r\n.\r\n|",
		"a\r\r\n.\r\nb":                   "a\r\n\r\n.\r\n|b", // go-smtp does not see this end
		"a\r\n.\r\r\n.\r\nb":              "a\r\n\r\n\r\n.\r\n|b",
		"\x00\r\n.\r\n":                   "\x00\r\n.\r\n|",
		"a\r\n..\n\r\n.\r\n":              "a\r\n..\r\n\r\n.\r\n|",
		"a\n\n..\r\n.\r\n":                "a\r\n\r\n...\r\n.\r\n|",
		strings.Repeat("x\n", 3) + "\r\n": "",
	} {
		for _, piece := range []int{1, 2, 3, 1 << 20} {
			out, rest, ended := filtered(text, piece)
			got := ""
			if ended {
				got = out + "|" + rest
			}
			if got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", text, piece, got, want)
			}
		}
	}
}

// FuzzText: a text ends where the first CRLF.CRLF is, and what becomes of it has
// one end, and lines that end in CRLF.
func FuzzText(f *testing.F) {
	f.Add("a\r\n.\r\nMAIL FROM:<x@y>\r\n", 1)
	f.Add(".\n.\r.\r\r\n.\r\n\r\n.\r\n", 3)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		out, rest, ended := filtered(text, max(piece, 1))
		at := strings.Index("\r\n"+text, "\r\n.\r\n")
		if ended != (at >= 0) || ended && rest != text[at+3:] {
			t.Fatalf("%q ends: %v, then %q", text, ended, rest)
		}
		if !ended {
			return
		}
		if n := strings.Index("\r\n"+out, "\r\n.\r\n"); n != len(out)-3 {
			t.Fatalf("%q becomes %q, which ends at %d", text, out, n)
		}
		if bare := strings.ReplaceAll(out, "\r\n", ""); strings.ContainsAny(bare, "\r\n") {
			t.Fatalf("%q becomes %q", text, out)
		}
		if clean := strings.ReplaceAll(text[:at+3], "\r\n", ""); !strings.ContainsAny(clean, "\r\n") && out != text[:at+3] {
			// What is as it should be stays as it is, but for dots that need not
			// have been doubled.
			if unstuffed(out) != unstuffed(text[:at+3]) {
				t.Fatalf("%q becomes %q", text, out)
			}
		}
	})
}

func unstuffed(text string) string { return strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n") }

// TestSmuggling has the endings of messages by which one message became two: what
// the server gets is one.
func TestSmuggling(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	for _, chunking := range []bool{true, false} {
		up := mailtest.NewServer(t, nil)
		up.Hide = "CHUNKING"
		if chunking {
			up.Hide = ""
		}
		addr := serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Front(t))
		sent := 0
		for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r.\n", "\n\n.\n\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\r\n", "\r\n. \r\n"} {
			smuggled := "From: a@b\r\n\r\nfirst" + end + "MAIL FROM:<admin@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nsecond\r\n"
			c := dial(t, addr)
			c.say("EHLO client.test", 250)
			c.say("MAIL FROM:<alice@example.org>", 250)
			c.say("RCPT TO:<bob@example.org>", 250)
			c.say("DATA", 354)
			c.send(smuggled + ".\r\n")
			c.expect(250)
			// In a chunk nothing ends.
			c.say("MAIL FROM:<alice@example.org>", 250)
			c.say("RCPT TO:<bob@example.org>", 250)
			c.send(fmt.Sprintf("BDAT %d LAST\r\n%s.\r\n", len(smuggled)+3, smuggled))
			c.expect(250)
			c.say("QUIT", 221)
			sent += 2
			got := up.Got()
			if len(got) != sent {
				t.Fatalf("%q: %d messages became %d", end, sent, len(got))
			}
			for _, m := range got[sent-2:] {
				if bare := strings.ReplaceAll(m.Data, "\r\n", ""); m.From != "alice@example.org" || strings.ContainsAny(bare, "\r\n") || !strings.Contains(m.Data, "second") {
					t.Errorf("%q: from %s: %q", end, m.From, m.Data)
				}
			}
		}
	}
}

// TestLines has lines without end, and messages of one line.
func TestLines(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, func(s *smtp.Server) { s.MaxLineLength = 0 })
	addr := serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr)
	c := dial(t, addr)
	c.say("EHLO client.test", 250)
	c.say("NOOP "+strings.Repeat("x", maxLine-len("NOOP \r\n")), 250)
	c.send(strings.Repeat("x", maxLine+1))
	c.expect(500)
	if rest, _ := io.ReadAll(c.br); len(rest) > 0 {
		t.Errorf("%q", rest)
	}
	c = dial(t, addr)
	c.say("EHLO client.test", 250)
	c.mail("alice@example.org", "A: b\r\n\r\n"+strings.Repeat("x", 3<<20)+"\r\n", 250, "bob@example.org")
	// A command that is no chunk does not lift the limit.
	for _, line := range []string{"BDAT 4000000000 FIRST", "BDAT -1", "BDAT", "BDAT 99999999999999"} {
		c = dial(t, addr)
		c.say("EHLO client.test", 250)
		c.send(line + "\r\nMAIL FROM:<alice@example.org>\r\n")
		c.reply()
		if rest, _ := io.ReadAll(c.br); strings.Contains(string(rest), "250") {
			t.Errorf("%s: what follows is taken for a command: %q", line, rest)
		}
	}
	// Nor does a response of AUTH that looks like one.
	c = dial(t, addr)
	c.say("EHLO client.test", 250)
	c.say("AUTH LOGIN", 334)
	c.say("BDAT 4000000000", 454)
	c.send(strings.Repeat("x", maxLine+1))
	c.expect(500)
}

// TestChunkCut ends connections in the middle of a chunk: half a message is none.
func TestChunkCut(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	addr := serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr)
	for _, text := range []string{"BDAT 100 LAST\r\nFrom: a@b\r\n\r\nhalf", "BDAT 20\r\nFrom: a@b\r\n\r\n", "BDAT 5\r\nFrom:BDAT 1 LAST\r\n", "DATA\r\nFrom: a@b\r\n\r\nhalf\r\n.", "DATA\r\nFrom: a@b\r\n\r\nhalf\r\n"} {
		c := dial(t, addr)
		c.say("EHLO client.test", 250)
		c.say("MAIL FROM:<alice@example.org>", 250)
		c.say("RCPT TO:<bob@example.org>", 250)
		c.send(text)
		if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(c.br)
		if strings.Contains(string(rest), "queued") {
			t.Errorf("%q: %q", text, rest)
		}
	}
	if got := up.Got(); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// TestReplies are whole, and every line of them has the enhanced status code.
func TestReplies(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	up.Refuse = func(_ int, to string) error {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no\nsuch\nuser"}
	}
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr))
	c.say("EHLO client.test", 250)
	c.say("MAIL FROM:<alice@example.org>", 250)
	if text := c.say("RCPT TO:<bob@example.org>", 550); text != "550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n" {
		t.Errorf("%q", text)
	}
}

// TestOffers are those of the upstream.
func TestOffers(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	for _, hide := range []string{"", "8BITMIME", "CHUNKING", "PIPELINING", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES", "AUTH"} {
		up := mailtest.NewServer(t, nil)
		up.Hide = hide
		c := dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t)), up.Front(t)))
		text := c.say("EHLO client.test", 250)
		for _, keyword := range []string{"8BITMIME", "CHUNKING", "DSN", "SMTPUTF8", "AUTH"} {
			if strings.Contains(text, keyword) == (keyword == hide) {
				t.Errorf("without %s:\n%s", hide, text)
			}
		}
		if !strings.Contains(text, "PIPELINING") || !strings.Contains(text, "ENHANCEDSTATUSCODES") { // those are our own
			t.Errorf("%s", text)
		}
		c.mail("alice@example.org", note, 250, "bob@example.org", "dave@elsewhere.test")
		if n := len(up.Got()); n != 2 {
			t.Errorf("without %s: %d messages", hide, n)
		}
		// 8-bit text is encoded where it is signed, and refused where it cannot go.
		code := 250
		if hide == "8BITMIME" {
			code = 554
		}
		c = dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Front(t)))
		c.say("EHLO client.test", 250)
		c.mail("alice@example.org", note+"\xe4\r\n", code, "bob@example.org")
	}
}

// TestAddresses are written so that nothing in them becomes a parameter.
func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"":                       "<>",
		"bob@example.org":        "<bob@example.org>",
		"a b@example.org":        `<"a b"@example.org>`,
		"a> SIZE=1 <b@x.test":    `<"a> SIZE=1 <b"@x.test>`,
		`a"b\c@x.test`:           `<"a\"b\\c"@x.test>`,
		"a..b@x.test":            `<"a..b"@x.test>`,
		"a@b@x.test":             `<"a@b"@x.test>`,
		"bob@[127.0.0.1]":        "<bob@[127.0.0.1]>",
		"bob@[IPv6:::1]":         "<bob@[IPv6:::1]>",
		"bob@x.test> NOTIFY=ALL": "",
		"bob@":                   "",
		"@x.test":                "",
		"b\r\nob@x.test":         "",
		"b\rob@x.test":           "",
		"bob@x\x00":              "",
		"bób@x.test":             "",
	} {
		if got, ok := path(address, false); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", address, got, ok, want)
		}
	}
	if got, ok := path("bób@bücher.example", true); !ok || got != "<bób@bücher.example>" {
		t.Errorf("%q", got)
	}
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr))
	c.say("EHLO client.test", 250)
	c.say(`MAIL FROM:<"a> SIZE=99 b"@example.org>`, 250)
	c.say(`RCPT TO:<"x y"@example.org>`, 250)
	c.say(`RCPT TO:<"x y"@example.org>`, 250)
	c.say("RCPT TO:<b\rob@example.org>", 553)
	c.say("RCPT TO:<bób@example.org>", 553)
	c.say("DATA", 354)
	c.send(note + ".\r\n")
	c.expect(250)
	if got := up.Got(); got[0].From != "a> SIZE=99 b@example.org" || !slices.Equal(got[0].To, []string{"x y@example.org"}) {
		t.Errorf("%+v", got[0])
	}
}

// TestSlow has clients that say nothing, or an octet now and then.
func TestSlow(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	p := proxyOf(t, w, mailtest.Rules(t))
	p.Idle = 300 * time.Millisecond
	addr := serve(t, p, up.Addr)
	for name, start := range map[string]string{"nothing": "", "a command": "NOO", "a message": "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nFrom: a"} {
		c := dial(t, addr)
		c.say("EHLO client.test", 250)
		c.send(start)
		begin := time.Now()
		stop := make(chan struct{})
		go func() { // an octet is not enough to stay
			defer close(stop)
			for name == "a command" && time.Since(begin) < 2*time.Second {
				if _, err := c.conn.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
		rest, _ := io.ReadAll(c.br)
		if took := time.Since(begin); took > 3*time.Second || !bytes.Contains(rest, []byte("421")) {
			t.Errorf("%s: after %v %q", name, took, rest)
		}
		<-stop
	}
	if len(up.Got()) > 0 {
		t.Error("half a message was sent")
	}
}
