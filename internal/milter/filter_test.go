package milter

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/smime"
)

// panicked is set when go-milter logs that something below it has panicked.
var panicked atomic.Bool

type watch struct{}

func (watch) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		panicked.Store(true)
	}
	return len(p), nil
}

func TestMain(m *testing.M) {
	log.SetOutput(watch{})
	goleak.VerifyTestMain(m)
}

// ask gives a message to a filter as a mail server does, and returns what it
// answers at the end, or before.
func ask(t testing.TB, s *gomilter.ClientSession, login, from, message string, to ...string) ([]gomilter.ModifyAction, *gomilter.Action) {
	t.Helper()
	step := func(a *gomilter.Action, err error) *gomilter.Action {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if a.Code == gomilter.ActContinue {
			return nil
		}
		return a
	}
	if err := s.Macros(gomilter.CodeMail, "{auth_authen}", login); err != nil {
		t.Fatal(err)
	}
	if a := step(s.Mail(from, nil)); a != nil {
		return nil, a
	}
	for _, address := range to {
		if a := step(s.Rcpt(address, nil)); a != nil {
			return nil, a
		}
	}
	header, rest, _ := strings.Cut(message, "\r\n\r\n")
	for line := range strings.SplitSeq(header, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		if a := step(s.HeaderField(name, value)); a != nil {
			return nil, a
		}
	}
	if a := step(s.HeaderEnd()); a != nil {
		return nil, a
	}
	actions, a, err := s.BodyReadFrom(strings.NewReader(rest))
	if err != nil {
		t.Fatal(err)
	}
	return actions, a
}

func begin(t testing.TB, addr, host string) *gomilter.ClientSession {
	t.Helper()
	c := gomilter.NewClientWithOptions("tcp", addr, gomilter.ClientOptions{ReadTimeout: 20 * time.Second, WriteTimeout: 20 * time.Second,
		ActionMask: gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody})
	s, err := c.Session()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if host != "" {
		if _, err = s.Conn("client.test", gomilter.FamilyInet, 25, host); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// apply does to a message what a filter asks for.
func apply(t testing.TB, message string, actions []gomilter.ModifyAction) string {
	t.Helper()
	header, rest, _ := strings.Cut(message, "\r\n\r\n")
	fields := strings.Split(header, "\r\n")
	var replaced strings.Builder
	for _, a := range actions {
		switch a.Code {
		case gomilter.ActAddHeader:
			fields = append(fields, a.HeaderName+": "+strings.ReplaceAll(a.HeaderValue, "\n", "\r\n"))
		case gomilter.ActChangeHeader:
			n := uint32(0)
			for i, f := range fields {
				if name, _, _ := strings.Cut(f, ":"); strings.EqualFold(name, a.HeaderName) {
					if n++; n == a.HeaderIndex {
						if fields[i] = a.HeaderName + ": " + strings.ReplaceAll(a.HeaderValue, "\n", "\r\n"); a.HeaderValue == "" {
							fields = append(fields[:i:i], fields[i+1:]...)
						}
						break
					}
				}
			}
		case gomilter.ActReplBody:
			replaced.Write(a.Body)
		default:
			t.Errorf("action %c", a.Code)
		}
	}
	if replaced.Len() > 0 {
		if strings.Contains(replaced.String(), "\r") {
			t.Error("a CR in what Postfix wants without")
		}
		rest = strings.ReplaceAll(replaced.String(), "\n", "\r\n")
	}
	return strings.Join(fields, "\r\n") + "\r\n\r\n" + rest
}

// TestFilter filters what is ours, several messages on one connection.
func TestFilter(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	f := filterOf(w, mailtest.Everything(t, policy.Rule{Recipient: "secret.test", Encrypt: mailtest.Level(policy.EncryptRequire)}))
	f.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	f.Sealer.MaxMessage, f.MaxRecipients = 1<<20, 3
	addr := serve(t, f)
	for _, tc := range []struct {
		name, host, login, from string
		filtered                bool
	}{
		{"logged in", "198.51.100.1", "alice", "alice@example.org", true},
		{"a trusted host", "192.0.2.1", "", "alice@example.org", true},
		{"nobody", "198.51.100.1", "", "alice@example.org", false},
		{"no address", "", "", "alice@example.org", false},
	} {
		s := begin(t, addr, tc.host)
		for range 3 {
			actions, a := ask(t, s, tc.login, tc.from, note, "bob@example.org")
			if a.Code != gomilter.ActAccept || (len(actions) > 0) != tc.filtered {
				t.Errorf("%s: %c, %d changes", tc.name, a.Code, len(actions))
			}
			if !tc.filtered {
				continue
			}
			got := apply(t, note, actions)
			if m, err := w.Open(t, got, "bob@example.org"); err != nil || m.Status != smime.StatusEncryptedSignedVerified {
				t.Errorf("%s: %v\n%s", tc.name, err, got)
			}
		}
	}
	// Refusals, after each of which the next message is as any other.
	s := begin(t, addr, "198.51.100.1")
	long := "A: " + strings.Repeat("x", 60000) + "\r\n"
	for _, tc := range []struct {
		name, login, message string
		to                   []string
		code                 int
		text                 string
	}{
		{"no certificate", "alice", note, []string{"x@secret.test"}, 550, "5.7.5 encryption is required for x@secret.test"},
		{"an account without keys", "mallory", note, []string{"x@secret.test"}, 550, "5.7.5"},
		{"a tag", "alice", strings.Replace(note, "Lunch", "[encrypt] Lunch", 1), []string{"dave@elsewhere.test"}, 550, "5.7.5"},
		{"a tag that is none", "alice", "X-Postseal: encrpyt\r\n" + note, []string{"bob@example.org"}, 554, "5.6.0"},
		{"a long header", "alice", strings.Repeat(long, 20) + note, []string{"bob@example.org"}, 554, "5.6.0"},
		{"too large", "alice", note + strings.Repeat("0123456789\r\n", 1<<17), []string{"bob@example.org"}, 552, "5.3.4"},
		{"too many", "alice", note, []string{"a@x.test", "b@x.test", "c@x.test", "d@x.test"}, 452, "4.5.3"},
		{"percent signs", "alice", note, []string{"100%s@secret.test"}, 550, "100_s@secret.test"},
	} {
		_, a := ask(t, s, tc.login, "alice@example.org", tc.message, tc.to...)
		if a.Code != gomilter.ActReplyCode || a.SMTPCode != tc.code || !strings.Contains(a.SMTPText, tc.text) {
			t.Errorf("%s: %c %d %s", tc.name, a.Code, a.SMTPCode, a.SMTPText)
		}
		if err := s.Abort(); err != nil {
			t.Fatal(err)
		}
		actions, a := ask(t, s, "alice", "alice@example.org", note, "bob@example.org", "bob@example.org")
		if m, err := w.Open(t, apply(t, note, actions), "bob@example.org"); a.Code != gomilter.ActAccept || err != nil || !m.Encrypted {
			t.Errorf("after %s: %c %v", tc.name, a.Code, err)
		}
	}
}

// TestHeaderChanges takes what differs between two headers, and no more.
func TestHeaderChanges(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	f := filterOf(w, mailtest.Everything(t))
	message := "Received: a\r\nReceived: b\r\nFrom: alice@example.org\r\nTo: bob@example.org\r\nX-Postseal: sign\r\nX: 1\r\nx-postseal: encrypt\r\nX:\r\n 2\r\nX-Empty: \r\n" +
		"Content-Type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\nSubject: [encrypt]  \xc3\xbc\r\n\r\nb\xc3\xbc\r\n"
	message = strings.ReplaceAll(message, "X:\r\n 2\r\n", "X: 2\r\n")
	message = strings.ReplaceAll(message, "Content-Type: text/plain;\r\n charset=utf-8", "Content-Type: text/plain; charset=utf-8")
	actions, a := ask(t, begin(t, serve(t, f), "192.0.2.1"), "alice", "alice@example.org", message, "bob@example.org")
	got := apply(t, message, actions)
	header, _, _ := strings.Cut(got, "\r\n\r\n")
	if strings.Contains(strings.ToLower(header), "x-postseal") || strings.Contains(header, "[encrypt]") || strings.Contains(header, "text/plain") ||
		!strings.HasPrefix(header, "Received: a\r\nReceived: b\r\n") || !strings.Contains(header, "X: 1\r\n") || !strings.Contains(header, "X: 2\r\n") {
		t.Errorf("%c\n%s", a.Code, got)
	}
	if m, err := w.Open(t, got, "bob@example.org"); err != nil || m.Status != smime.StatusEncryptedSignedVerified {
		t.Errorf("%v\n%s", err, got)
	}
	for _, a := range actions {
		if a.Code == gomilter.ActChangeHeader && (a.HeaderName == "X" || a.HeaderName == "Received" || a.HeaderName == "From") {
			t.Errorf("%+v", a)
		}
	}
}

// TestDiskFull puts mail off when it cannot be held.
func TestDiskFull(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	f := filterOf(w, mailtest.Everything(t))
	f.Sealer.SpoolDir = "/nonexistent"
	_, a := ask(t, begin(t, serve(t, f), "192.0.2.1"), "alice", "alice@example.org", note+strings.Repeat("0123456789\r\n", 2<<17), "bob@example.org")
	if a.Code != gomilter.ActReplyCode || a.SMTPCode != 451 {
		t.Errorf("%c %d %s", a.Code, a.SMTPCode, a.SMTPText)
	}
}

// packet is one of the protocol.
func packet(code byte, data string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1)), append([]byte{code}, data...)...)
}

// FuzzFilter sends a filter packets in any order. It neither panics nor stays, and
// changes nothing for who has not logged in.
func FuzzFilter(f *testing.F) {
	w := mailtest.NewWorld(f, "alice", "bob")
	options := packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")
	mail := [][]byte{options, packet('C', "client\x004\x00\x19192.0.2.1\x00"), packet('D', "M{auth_type}\x00PLAIN\x00"), packet('M', "<alice@example.org>\x00"), packet('R', "<bob@example.org>\x00"),
		packet('L', "From\x00alice@example.org\x00"), packet('L', "To\x00bob@example.org\x00"), packet('N', ""), packet('B', "text\r\n"), packet('E', "")}
	f.Add(bytes.Join(mail, nil))
	f.Add(bytes.Join(append([][]byte{packet('E', ""), packet('L', "x\x00"), packet('B', "")}, mail...), nil))
	f.Add(bytes.Join([][]byte{packet('C', ""), packet('C', "x\x004"), packet('D', ""), packet('M', ""), packet('R', ""), packet('A', ""), packet('Q', "")}, nil))
	f.Add([]byte("\xff\xff\xff\xffM"))
	filter := filterOf(w, mailtest.Everything(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("{auth_authen}")) {
			return // it may log in
		}
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			filter.ServeConn(t.Context(), server)
		}()
		answers := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(client)
			answers <- all
		}()
		_ = client.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = client.Write(data)
		_ = server.Close()
		_ = client.Close()
		<-done
		all := <-answers
		if panicked.Load() {
			t.Fatal("a panic")
		}
		for len(all) > 4 {
			n := min(int(binary.BigEndian.Uint32(all))+4, len(all))
			if strings.IndexByte("hmbi+-", all[4]) >= 0 {
				t.Fatalf("a change: %q", all[:n])
			}
			all = all[n:]
		}
	})
}
