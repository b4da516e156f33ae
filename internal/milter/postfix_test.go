package milter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/smime"
)

const note = "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: Lunch\r\n\r\nat noon\r\n.dot\r\n"

// serve starts a filter and returns its address.
func serve(t testing.TB, f *Filter) string {
	t.Helper()
	return mailtest.Serve(t, mailtest.Listen(t), f.ServeConn)
}

func filterOf(w *mailtest.World, r *policy.Rules) *Filter {
	return &Filter{
		Sealer: &outgoing.Sealer{Rules: r, Tags: policy.Tags{Encrypt: "[encrypt]", Field: "X-Postseal"}},
		Keys: func(login string) outgoing.Keys {
			if login == "alice" {
				return w
			}
			return nil
		},
		Owner: func(address string) string {
			if address == "alice@example.org" {
				return "alice"
			}
			return ""
		},
	}
}

// postfix starts a Postfix that asks a filter, and gives its mail to a server.
func postfix(t testing.TB, filter string, next *mailtest.Server) *peers.Postfix {
	t.Helper()
	host := mailtest.NewHost(t)
	return peers.StartPostfixTo(t, host.Cert, host.Key, next.Addr, fmt.Sprintf(`smtpd_milters = inet:%s
non_smtpd_milters = inet:%s
milter_default_action = tempfail
smtpd_authorized_xclient_hosts = 127.0.0.1
`, filter, filter))
}

// wait waits for a message from a sender to be there.
func wait(t testing.TB, up *mailtest.Server, n int, p *peers.Postfix) []mailtest.Received {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got := up.Got(); len(got) >= n {
			return got
		}
	}
	t.Fatalf("%d messages, want %d:\n%s", len(up.Got()), n, p.Log())
	return nil
}

// TestPostfix has a real Postfix ask the filter.
func TestPostfix(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob", "erin")
	up := mailtest.NewServer(t, nil)
	r := mailtest.Everything(t, policy.Rule{Recipient: "secret.test", Encrypt: mailtest.Level(policy.EncryptRequire)},
		policy.Rule{Recipient: "bob@example.org", Encrypt: mailtest.Level(policy.EncryptRequire)})
	p := postfix(t, serve(t, filterOf(w, r)), up)
	send := func(login, from, message string, to ...string) error {
		t.Helper()
		c := smtp.NewClient(connect(t, p.Addr, login))
		defer func() { _ = c.Close() }()
		err := c.SendMail(from, to, strings.NewReader(message))
		if err == nil {
			err = c.Quit()
		}
		return err
	}
	sent := 0
	take := func(who string, status smime.Status) mailtest.Received {
		t.Helper()
		sent++
		got := wait(t, up, sent, p)[sent-1]
		if status == "" {
			return got
		}
		m, err := w.Open(t, got.Data, who)
		if err != nil || m.Status != status {
			t.Errorf("%v\n%s", err, got.Data)
		}
		return got
	}
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, p.Log())
		}
	}
	code := func(err error, code int, text string) {
		t.Helper()
		if se, ok := errors.AsType[*smtp.SMTPError](err); !ok || se.Code != code || !strings.Contains(se.Message, text) {
			t.Errorf("%v, want %d %s\n%s", err, code, text, p.Log())
		}
	}
	// One recipient, and two who can get the same.
	fine(send("alice", "alice@example.org", note, "bob@example.org"))
	if got := take("bob@example.org", smime.StatusEncryptedSignedVerified); strings.Contains(got.Data, "noon") || !strings.Contains(got.Data, "Subject: Lunch\r\n") {
		t.Errorf("%s", got.Data)
	}
	both := strings.Replace(note, "To: bob@example.org", "To: bob@example.org, erin@example.org", 1)
	fine(send("alice", "alice@example.org", both, "bob@example.org", "erin@example.org"))
	got := take("bob@example.org", smime.StatusEncryptedSignedVerified)
	if _, err := w.Open(t, got.Data, "erin@example.org"); err != nil || len(got.To) != 2 {
		t.Errorf("Erin: %v, %v", err, got.To)
	}
	// Who cannot be encrypted to is signed to; who has to be is refused at RCPT.
	fine(send("alice", "alice@example.org", note, "dave@elsewhere.test"))
	take("dave@elsewhere.test", smime.StatusSignedVerified)
	code(send("alice", "alice@example.org", note, "x@secret.test"), 550, "no certificate is known for x@secret.test")
	// Different forms, and a hidden recipient, are refused.
	code(send("alice", "alice@example.org", note, "bob@example.org", "dave@elsewhere.test"), 550, "bob@example.org and dave@elsewhere.test need this message in different forms")
	code(send("alice", "alice@example.org", note, "bob@example.org", "erin@example.org"), 550, "erin@example.org separately")
	// A large message, with long lines and 8-bit text.
	large := strings.Replace(note, "Subject: Lunch", "Subject: L\xc3\xbcnch\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit", 1) +
		strings.Repeat(strings.Repeat("f\xc3\xbcnf ", 30)+"\r\n", 5000)
	fine(send("alice", "alice@example.org", large, "bob@example.org"))
	if m, err := w.Open(t, take("bob@example.org", smime.StatusEncryptedSignedVerified).Data, "bob@example.org"); err != nil || m.Layers == nil {
		t.Error(err)
	}
	// Tags go, and their wish is done.
	fine(send("alice", "alice@example.org", strings.Replace(note, "Subject: Lunch", "X-Postseal: encrypt\r\nSubject: [encrypt] Lunch", 1), "erin@example.org"))
	if got = take("erin@example.org", smime.StatusEncryptedSignedVerified); strings.Contains(got.Data, "[encrypt]") || strings.Contains(got.Data, "X-Postseal") || strings.Count(got.Data, "Subject:") != 1 {
		t.Errorf("%s", got.Data)
	}
	// Mail of others is not touched, whatever it says about itself.
	fine(send("", "alice@example.org", note, "bob@example.org"))
	if got = take("", ""); body(got.Data) != body(note) || strings.Contains(got.Data, "pkcs7") {
		t.Errorf("%s", got.Data)
	}
	// What is protected already passes with its body as it is.
	before := up.Got()[0].Data
	fine(send("alice", "alice@example.org", before, "bob@example.org"))
	if got = take("", ""); body(got.Data) != body(before) {
		t.Errorf("%s", got.Data)
	}
	// A key that is locked, and a source that is down, put mail off.
	code(send("alice", "carol@example.org", strings.Replace(note, "alice@", "carol@", 1), "dave@elsewhere.test"), 451, "private key")
	w.Down = true
	code(send("alice", "alice@example.org", note, "bob@example.org"), 451, "cannot be found out now")
	if n := len(up.Got()); n != sent {
		t.Errorf("%d messages, want %d", n, sent)
	}
}

func body(message string) string { return message[strings.Index(message, "\r\n\r\n"):] }

// connect connects to Postfix, whose greeting comes next. It takes the word of
// this host for who has logged in.
func connect(t testing.TB, addr, login string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if login == "" {
		return conn
	}
	br := bufio.NewReader(conn)
	for _, line := range []string{"EHLO client.test\r\n", "XCLIENT LOGIN=" + login + "\r\n"} {
		for text := "-"; len(text) < 4 || text[3] == '-'; {
			if text, err = br.ReadString('\n'); err != nil || text[0] != '2' {
				t.Fatalf("%q %v", text, err)
			}
		}
		if _, err = io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// TestPostfixCommand has mail from the command line of the host, which is trusted:
// the account is that of the sender's address.
func TestPostfixCommand(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	f := filterOf(w, mailtest.Everything(t))
	f.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	p := postfix(t, serve(t, f), up)
	program := peers.NeedProgram(t, "postfix", "sendmail")
	for i, from := range []string{"alice@example.org", "mallory@example.org"} {
		cmd := exec.Command(program, "-C", p.Config, "-f", from, "bob@example.org")
		cmd.Env = append(os.Environ(), "MAIL_CONFIG="+p.Config)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(strings.Replace(note, "alice@example.org", from, 1), "\r\n", "\n"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, p.Log())
		}
		got := wait(t, up, i+1, p)[i]
		m, err := w.Open(t, got.Data, "bob@example.org")
		switch {
		case i == 0 && (err != nil || m.Status != smime.StatusEncryptedSignedVerified):
			t.Errorf("%v\n%s", err, got.Data)
		case i == 1 && strings.Contains(got.Data, "pkcs7"):
			t.Errorf("mail of nobody's was touched:\n%s", got.Data)
		}
	}
}
